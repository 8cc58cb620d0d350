"""Whatever happened to a file that is read back, it is noticed: what is read is what was written, or is not used."""

import lzma
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

import datasets
import methods
from benchmark import archive, checkpoint, kept, nodules, references, weights
from benchmark.contracts import Batch, InputError, Provenance
from benchmark.extras import Extras
from benchmark.figures.folder import SHARES, csv_text
from benchmark.figures.folder import Line as Share
from benchmark.records import FitRecord, FitSpec, Unusable, seal
from benchmark.report import Known, inside, page
from benchmark.report.gather import gather
from benchmark.report.parts import Banner
from benchmark.run import Run
from benchmark.runfile import RunMetadata
from benchmark.runner import Setup, run_fit
from benchmark.step import Step
from benchmark.timings import FILE, FitTime, Timings
from ct import sphere, write
from damage import Kept, damages
from datasets import store
from datasets.dicom.headers import Slice
from datasets.idc.bucket import Object
from datasets.idc.heads import Notes
from datasets.lidc import series, survey
from datasets.lidc.ledger import Ledger
from datasets.protocols import LABEL_RULES
from fakes import IDENTITY, LINEAR, PRESET, A, fold_data, make_cohort
from runs import write_run

SPEC, OTHER = FitSpec("three", "linear", 0, 0), FitSpec("three", "linear", 0, 1)
METADATA = RunMetadata({"torch": "2.9"}, "cpu", "abc", Provenance(None, "f", None))
KINDS = (
    *("record", "weights", "weights at a rerun", "checkpoint", "run.json", "cohort.csv", "prepared cohort"),
    *("crops of a series", "index of headers", "heads of objects", "ledger", "timings.json", "shares.csv"),
    *("packed run", "packed run as a plain tar", "report.html"),
)
PARTLY = ("prepared cohort", "crops of a series", "heads of objects", "packed run as a plain tar")
"""Of these some bytes say nothing of the content, or a part can be lost and is asked for again."""

LARGE, SMALL = 20_000, 500


def interrupted(step: Callable, steps: int) -> Callable:
    """Return a step that is interrupted once so many were taken."""
    left = iter(range(steps))

    def take(self: Step, batch: Batch) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        step(self, batch)

    return take


@pytest.fixture(scope="module")
def kinds(tmp_path_factory) -> dict[str, Kept]:
    folder = tmp_path_factory.mktemp("kept")
    found = dict([*of_fits(folder), *of_scans(folder), *of_reports(folder)])
    assert set(found) == set(KINDS)
    return found


def of_fits(folder: Path) -> Iterator[tuple[str, Kept]]:
    """Yield what a run's folder holds, and a packed run."""
    run = Run(folder / "run", IDENTITY)
    run.start("a command", METADATA, [A])
    volumes = np.random.default_rng(0).integers(-1000, 400, (4, 32, 32, 32)).astype(np.int16)
    cohort = make_cohort(4, volumes=volumes, n_readers=np.full(4, 4))
    cohort = replace(cohort, content_hash=store.content_hash(cohort))
    changed = replace(cohort, malignancy=cohort.malignancy[::-1].copy())
    changed = replace(changed, content_hash=store.content_hash(changed))
    for name, one in (("a.npz", cohort), ("b.npz", changed)):
        store.write(one, folder / name)
    of_this = fold_data(cohort, cohort_file=folder / "a.npz", open=store.load)
    table, other_table = (store.csv_of(one, "published", np.arange(4)) for one in (cohort, changed))
    run.keep("cohort.csv", table)
    data, setup = fold_data(make_cohort()), Setup(PRESET, torch.device("cpu"), "key", Extras(True, checkpoint_s=0.0))
    halves = {}
    for spec in (SPEC, OTHER):  # each interrupted in its second epoch, then made
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Step, "__call__", interrupted(Step.__call__, 3))
            run_fit(run, spec, LINEAR, data, setup)
        halves[spec] = run.checkpoint_path(spec).read_bytes()
        run_fit(run, spec, LINEAR, data, setup)
    record, there, foreign = run.read(SPEC), run.weights_path(SPEC), run.weights_path(OTHER).read_bytes()
    half = folder / "one.checkpoint"
    half.write_bytes(halves[SPEC])
    about = checkpoint._head(halves[SPEC].partition(b"\n")[2]).about
    elsewhere = Run(folder / "elsewhere", IDENTITY)
    elsewhere.start("another command", METADATA)
    of_another = (elsewhere.folder / "run.json").read_bytes()[:-1]

    def rerun() -> object:
        if why := kept.damaged(run, {SPEC: record}):
            raise Unusable(why[SPEC])
        return record

    def same_cohort(found) -> bool:
        return found.provenance == cohort.provenance and found.content_hash == store.content_hash(cohort)

    yield "record", Kept(run.path(SPEC), run.path(OTHER).read_bytes(), lambda: run.read(SPEC, "key", data.digest))
    yield "weights", Kept(there, foreign, lambda: weights.read(run, record))
    yield "weights at a rerun", Kept(there, foreign, rerun)
    yield "checkpoint", Kept(half, halves[OTHER], lambda: checkpoint.Checkpoints(half, about, 60.0)._found)
    yield "run.json", Kept(run.folder / "run.json", of_another, lambda: Run.open(run.folder))
    yield "cohort.csv", Kept(run.folder / "cohort.csv", other_table, lambda: nodules.read_nodules(run.folder))
    yield "prepared cohort", Kept(folder / "a.npz", (folder / "b.npz").read_bytes(), of_this.cohort, same_cohort)
    yield from of_packed(folder, run)


def of_packed(folder: Path, run: Run) -> Iterator[tuple[str, Kept]]:
    """Yield a packed run, as it was packed and as `xz -d` leaves it."""
    file, larger = folder / "run.tar.xz", folder / "larger.tar.xz"
    archive.pack(run.folder, file)
    shutil.copytree(run.folder, folder / "larger")
    for fold in range(1, 9):
        shutil.copy(run.path(SPEC), folder / "larger" / "fits" / FitSpec("three", "linear", fold, 0).path())
    archive.pack(folder / "larger", larger)

    def reader(path: Path) -> Callable[[], object]:
        def read() -> object:
            with archive.opened(path) as unpacked:
                return {one.relative_to(unpacked): one.read_bytes() for one in unpacked.rglob("*") if one.is_file()}

        return read

    whole = reader(file)()
    yield "packed run", Kept(file, larger.read_bytes(), reader(file), lambda found: found == whole, is_bound=False)
    plain, others = (lzma.decompress(one.read_bytes()) for one in (file, larger))
    tar = folder / "run.tar"
    tar.write_bytes(plain)
    yield "packed run as a plain tar", Kept(tar, others, reader(tar), lambda found: found == whole, is_bound=False)


def of_scans(folder: Path) -> Iterator[tuple[str, Kept]]:
    """Yield what is kept of a download of CT, and how long fits took."""
    scan = sphere()
    write(scan, folder / "ct")
    write(sphere(series="1.2.4"), folder / "ct2")
    found, beside = survey.find(folder / "ct", folder / "work"), survey.find(folder / "ct2", folder / "work2")
    (first,), (second,) = (found.jobs([scan.nodules], code) for code in ("code", "other code"))
    volumes, outcome = series.crop(first)
    series.crop(second)
    (index,), (other,) = ((work / "index").iterdir() for work in (found.work, beside.work))
    hashes = Ledger(first.ledger).hashes
    notes, others = folder / "notes.jsonl", folder / "others.jsonl"
    heads = {Object(head.path, 9, "tag"): head for head in found.slices["1.2.3"][:9]}
    for file, place in ((notes, ""), (others, "other/")):
        with Notes(file) as noted:
            for listed, head in heads.items():
                noted.note(replace(listed, key=place + listed.key), head)
    strange = Ledger(folder / "1.2.4.json")
    strange.hashes = {"1.2.4.1": "a" * 64}
    strange.write()
    files = first.part, second.part.read_bytes()

    def same_part(found) -> bool:
        return np.array_equal(found[0], volumes) and found[1] == outcome

    yield "crops of a series", Kept(*files, lambda: series.load(first.part), same_part)
    yield "index of headers", Kept(index, other.read_bytes(), lambda: survey._remembered(index))
    yield from of_notes(notes, others.read_bytes(), heads)
    yield (
        "ledger",
        Kept(
            first.ledger, strange.path.read_bytes(), lambda: Ledger(first.ledger).hashes, lambda found: found == hashes
        ),
    )
    for place, of in (("times", ("phantom", "published")), ("others", ("dicom", "published"))):
        timed = Timings(folder / place, "cpu", ("quick", PRESET), of, 1)
        timed.add({("three", "linear"): FitTime(5.0, "profile", "2026-11-26T10:00:00Z")})

    def times() -> object:
        now = Timings(folder / "times", "cpu", ("quick", PRESET), ("phantom", "published"), 1)
        if now.fault:
            raise Unusable(now.fault)
        return now.known([SPEC]) or None

    yield "timings.json", Kept(folder / "times" / FILE, (folder / "others" / FILE).read_bytes(), times)


def of_notes(notes: Path, other: bytes, heads: dict[Object, Slice]) -> Iterator[tuple[str, Kept]]:
    """Yield what is noted of a store's objects: each is known as it was noted, or not."""

    def same(found: Notes) -> bool:
        return all(found.of(listed) in (None, head) for listed, head in heads.items())

    yield "heads of objects", Kept(notes, other, lambda: Notes(notes), same)


def of_reports(folder: Path) -> Iterator[tuple[str, Kept]]:
    """Yield a report and the numbers behind a report's figures."""
    run = write_run(folder / "reported", {"ce": 0.6}, tested=10)
    spec = FitSpec("three", "ce", 0, 0)
    record = run.read(spec)
    record = replace(record, metadata=replace(record.metadata, weights="a" * 64))
    known = Known.of(methods.ROWS | references.ROWS, LABEL_RULES, datasets.SOURCES)
    file, made_from = run.folder / "report.html", page._made_from(run.folder, known)
    page.write(run.folder, known)
    gathered = replace(gather(run.folder, known), found={spec: record})
    shares = [Share("three", "ce", 0, 0, "a" * 64, "CE", 40, 2, name, 0.25, 0.2, 0.3) for name in ("inside", "alike")]
    numbers = folder / SHARES
    numbers.write_text(csv_text(shares, "A phantom."))
    of_others = csv_text([replace(one, weights="b" * 64) for one in shares], "A phantom.").encode()

    def parts() -> object:
        content = {SHARES: numbers.read_bytes()}
        shown = list(inside._numbers(replace(gathered, figures=content)))
        if len(shown) == 1:
            raise Unusable(shown[0].text)
        return None if isinstance(shown[0], Banner) else shown

    another = page.write(write_run(folder / "another", {"ce": 0.7}, tested=10).folder, known)
    assert another and page._is_made_from(file, made_from)
    other = (folder / "another" / "report.html").read_bytes()
    yield "report.html", Kept(file, other, lambda: page._is_made_from(file, made_from) or None)
    yield "shares.csv", Kept(numbers, of_others, parts)


@pytest.mark.parametrize("name", KINDS)
def test_no_damage_is_taken_for_what_was_written(kinds, name, many, figures, request):
    one, number = kinds[name], KINDS.index(name)
    wanted = request.config.getoption("--damages") or (LARGE if many.is_large else SMALL)
    whole, without_effect = one.path.read_bytes(), 0
    assert one.read() is not None
    share = len(range(number, wanted, len(KINDS)))
    try:
        for tried, content in enumerate(islice(damages(one, np.random.default_rng(number)), share), start=1):
            one.path.write_bytes(content)
            try:
                found = one.read()
            except (Unusable, InputError) as error:
                assert str(error) and "\n" not in str(error)
                continue
            if found is None:
                continue
            assert one.same(found), f"damage {tried} was not noticed"
            without_effect += 1
    finally:
        one.path.write_bytes(whole)
    assert one.read() is not None
    assert not without_effect or name in PARTLY
    told = figures.setdefault(f"damaged files of {len(KINDS)} kinds", {"kinds": [], "tried": 0, "taken_for_good": 0})
    told["kinds"].append(name)
    told["tried"] += share


def test_a_record_sealed_anew_over_nonsense_is_refused_all_the_same():
    for nonsense in (b"[" * 100_000, b'{"labels":[1e400]}', b'{"labels":[99999999999999999999],"proba":[]}', b"null"):
        with pytest.raises(Unusable):
            FitRecord.from_bytes(seal(nonsense))
