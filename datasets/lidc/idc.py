"""LIDC-IDRI's real CT, fetched from the Imaging Data Commons' public bucket: only the slices that crops need.

The work folder keeps what is done: `parts` the crops of each series, `ledger` the hash of each slice at its first
reading, `heads` and `slices` what was fetched of series that are not done, and `prepare.json` the last report.
"""

import heapq
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from benchmark.contracts import InputError, Json, Made, NoduleInfo, Preparation
from benchmark.files import write_atomically
from datasets.code import code_hash, json_hash
from datasets.idc import index
from datasets.idc.bucket import Bucket, Passing
from datasets.idc.fetch import Order, fetch
from datasets.idc.index import Series
from datasets.lidc import report, series
from datasets.lidc.collections import DICOM_CODE, Lidc, by_scan
from datasets.lidc.nodules import Nodule
from datasets.lidc.readings import Scan, database_hash
from datasets.lidc.report import Download
from datasets.lidc.series import Doubt, Job
from datasets.work import AHEAD, is_full

SERIES_AHEAD = 8  # fetched at once, or waiting to be cropped
CROP_BYTES = 32**3 * 2
MEGA = 1e6

_THIS = sys.modules[__name__]


@dataclass(frozen=True)
class Part:
    """The nodules of one series, and where it lies.

    Attributes:
        job: What is to be done with its slices, of which none is known yet.
        series: Where they are in the bucket.
        done: Whether the outcome was final before.
    """

    job: Job
    series: Series
    done: bool

    def __len__(self) -> int:
        return len(self.job)


@dataclass(frozen=True)
class Ready:
    """A series whose slices lie on the disk.

    Attributes:
        job: What is to be done with them.
        slices: Their folder, where it is dropped when the series is cropped; None keeps it.
        notes: The file that remembers their heads until then.
    """

    job: Job
    slices: Path | None
    notes: Path


class Idc(Lidc):
    """Crops of the LIDC-IDRI scans, whose slices come from the Imaging Data Commons.

    Attributes:
        bucket: Where they come from.
        work: The folder that keeps what is done.
        root: Where slices go.
    """

    source = "idc"
    note = (
        "CT: crops of the LIDC-IDRI scans themselves, in Hounsfield units, fetched from the Imaging Data Commons' "
        "public bucket."
    )
    unit = "MB"

    def __init__(self, work: Path, bucket: Bucket, keep: Path | None = None) -> None:
        """Note where all is; nothing is asked for yet, and nothing written.

        Args:
            work: The folder that keeps what is done; made when it is needed.
            bucket: Where slices come from.
            keep: A folder for slices to stay in, which `--source dicom` can read; None drops them.
        """
        self.work, self.bucket, self._keep = work, bucket, keep
        self.root = keep or work / "slices"
        self._began = time.monotonic()

    def fingerprint(self) -> Json:
        """Return the hashes of the database, of the code that crops, and of the index."""
        return [self._made_by, code_hash(_THIS)]

    def parts(self, nodules: Sequence[NoduleInfo]) -> list[Part]:
        """Return the nodules scan by scan."""
        return [self._part(found) for found in by_scan(self._lidc[nodule.id] for nodule in nodules)]

    def size(self, part: Part) -> float:
        """Return the megabytes to fetch for a part."""
        return 0.0 if part.done else part.series.traffic / MEGA

    def outlook(self, nodules: Sequence[NoduleInfo]) -> str:
        """Return what traffic and disk making the nodules will take."""
        parts = self.parts(nodules)
        todo = [part for part in parts if not part.done]
        slices, crops = sum(part.series.needed for part in todo), sum(map(len, parts))
        held = heapq.nlargest(len(todo) if self._keep else SERIES_AHEAD + AHEAD, (p.series.kept for p in todo))
        done = f"; {len(parts) - len(todo)} series are done already and not fetched again" * (len(todo) < len(parts))
        stay = f" {sum(held) / MEGA:,.0f} MB for slices{'' if self._keep else ', for a while'}" if todo else ""
        return (
            f"{sum(map(self.size, todo)):,.0f} MB to fetch from {self.bucket.endpoint}: {slices:,} slices of "
            f"{len(todo):,} series, and the first 4 KB of their others{done}. On disk:{stay} and "
            f"{2 * crops * CROP_BYTES / MEGA:,.0f} MB for crops."
        )

    def now(self) -> str:
        """Return how fast bytes come."""
        return f"{self.bucket.received / MEGA / max(time.monotonic() - self._began, 1e-3):.1f} MB/s"

    def ready(self, parts: Sequence[Part]) -> Iterator[Ready]:
        """Fetch series by series, some ahead of the one that is wanted.

        Raises:
            InputError: The store cannot be read, or the folder for slices not written to.
        """
        if todo := [part for part in parts if not part.done]:
            _try_writing(self.root)
            self.bucket.probe(todo[0].series.folder)
        self._began = time.monotonic()
        requests = ThreadPoolExecutor(self.bucket.connections, "request")
        orders = ThreadPoolExecutor(SERIES_AHEAD, "series")
        begun: deque[Future[Ready]] = deque()
        try:
            for part in parts:
                begun.append(orders.submit(self._ready if part.done else partial(self._fetched, requests), part))
                if len(begun) > SERIES_AHEAD:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            self.bucket.close()
            for pool in (orders, requests):
                pool.shutdown(cancel_futures=True)

    @staticmethod
    def make(part: Ready) -> Made:
        """Crop a scan's nodules, or read the crops that were made before; drop what is no longer needed for it."""
        volumes, outcome = series.crop(part.job)
        if not outcome.doubt:
            part.notes.unlink(missing_ok=True)
            if part.slices is not None:
                shutil.rmtree(part.slices, ignore_errors=True)
        return Made(volumes, outcome.left_out)

    def preparation(self, parts: Sequence[Part], left_out: Mapping[str, str]) -> Preparation:
        """Write the report of what came of it, and return it in numbers.

        Raises:
            InputError: Nodules were left out because the store failed on the way: they would be there another time.
        """
        jobs = [part.job for part in parts]
        outcomes = report.outcomes(jobs)
        slices = {uid: outcome.slices[0] for uid, outcome in outcomes.items() if outcome.slices[0]}
        download, scans = Download(self.bucket.endpoint, self.work, slices), [job.scan for job in jobs]
        came = report.report(download, outcomes, scans, self._lidc.values())
        if failed := [one for one in outcomes.values() if one.doubt and one.doubt.passing]:
            names = [name for one in failed for name in one.left_out]
            raise InputError(
                f"{len(names)} nodules of {len(failed)} series could not be fetched (the first, {names[0]}: "
                f"{failed[0].left_out[names[0]]}); {came.report} lists them: run the same command again, which asks "
                "for these series alone"
            )
        return came

    @cached_property
    def _made_by(self) -> str:
        """What decides a series' crops beside its slices."""
        return json_hash([database_hash(), code_hash(*DICOM_CODE)])

    def _part(self, nodules: Sequence[Nodule]) -> Part:
        uid = nodules[0].scan.series_uid
        entry = index.load()[uid]
        key = json_hash([self._made_by, [nodule.id for nodule in nodules], entry.folder])
        file = self.work / "parts" / f"{uid}-{key[:16]}.npz"
        kept = series.load(file)
        job = Job(tuple(nodules), (), self.root, file, self.work / "ledger" / f"{uid}.json")
        return Part(job, entry, kept is not None and not kept[1].doubt)

    def _fetched(self, requests: Executor, part: Part) -> Ready:
        """Fetch a series."""
        ready, scan = self._ready(part), part.job.scan
        order = Order(scan.series_uid, part.series, self.root, _place(scan), ready.notes)
        came = fetch(order, self.bucket, requests, partial(series.choose, part.job.nodules))
        doubt = None
        if came.doubts:
            first = min(came.doubts, key=lambda one: not isinstance(one, Passing))
            doubt = Doubt(str(first), isinstance(first, Passing))
        slices, faults = tuple(came.slices), tuple(came.faults)
        return replace(ready, job=replace(part.job, slices=slices, faults=faults, lost=came.lost, doubt=doubt))

    def _ready(self, part: Part) -> Ready:
        """Return what is done, or begun."""
        scan = part.job.scan
        slices = None if self._keep else self.root / _place(scan)
        return Ready(part.job, slices, self.work / "heads" / f"{scan.series_uid}.jsonl")


def _place(scan: Scan) -> str:
    return f"{scan.patient_id}/{scan.series_uid}"


def _try_writing(folder: Path) -> None:
    """Write to a folder before the work begins.

    Raises:
        InputError: It cannot be written to.
    """
    try:
        write_atomically(folder / ".trial", "")
        (folder / ".trial").unlink(missing_ok=True)
    except OSError as error:
        if is_full(error):
            raise
        raise InputError(
            f"slices cannot be written to {folder} ({error.strerror}): give another folder, with --keep-dicom or --work"
        ) from error
