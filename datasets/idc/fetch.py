"""Fetch: the slices that are needed of a series, from the bucket to the disk.

Nothing is believed at once. A listing must be as long as the index says; a head must belong to the series and to no
other object; a body must have its listed size and MD5, and the head that was read before. What does not is looked at
again, in a new round that asks only for what is still in doubt, and for whole objects, whose MD5 tells. What is whole
on the disk is never asked for again.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.files import replacing
from datasets.dicom import headers
from datasets.dicom.files import Fault, File, Refused
from datasets.dicom.headers import Slice
from datasets.idc import heads
from datasets.idc.bucket import Bucket, Lacking, Object, Passing
from datasets.idc.heads import Notes
from datasets.idc.index import Series

ROUNDS = 3

Head = Slice | Refused
"""What an object says of itself, or why it says nothing."""

Choose = Callable[[Sequence[Slice]], tuple[Sequence[Slice], Sequence[Slice]]]
"""Tells by the heads of a series which slices are needed, and which must be wrong if one of those is not there."""


@dataclass(frozen=True)
class Order:
    """A series to fetch.

    Attributes:
        uid: Series instance UID.
        series: Where it is, as the index of the Imaging Data Commons says.
        root: What the places of its slices are relative to.
        place: Where below the root they go.
        notes: The file that remembers the heads.
    """

    uid: str
    series: Series
    root: Path
    place: str
    notes: Path

    def path(self, one: Object) -> str:
        """Return where an object goes, relative to the root, whatever it is called."""
        return f"{self.place}/{re.sub(r'[^A-Za-z0-9._-]|^[.]', '_', one.name) or '_'}"


@dataclass
class Fetched:
    """What came of a series.

    Attributes:
        slices: All that the heads tell of, needed or not.
        faults: Objects that are no slices of it.
        lost: Why needed slices are not on the disk, by label.
        doubts: What was still in doubt after the last round.
    """

    slices: list[Slice] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    doubts: list[Refused] = field(default_factory=list)


def fetch(order: Order, bucket: Bucket, pool: Executor, choose: Choose) -> Fetched:
    """Bring the slices that are needed of a series to the disk.

    Args:
        order: The series.
        bucket: Where it is.
        pool: Makes the requests, as many at once as it has threads.
        choose: Tells which slices these are.

    Raises:
        InputError: The store does not answer any more.
        OSError: The disk is full, or refuses.
    """
    for torn in (order.root / order.place).glob(".*.tmp"):  # of a process that died
        torn.unlink(missing_ok=True)
    with Notes(order.notes) as notes:
        search = _Search(order, bucket, pool, choose, notes)
        for number in range(ROUNDS):
            if number:
                bucket.pause(number)
            found = search.round()
            if not found.doubts:
                break
    return found


class _Search:
    """What is known of a series, round by round."""

    def __init__(self, order: Order, bucket: Bucket, pool: Executor, choose: Choose, notes: Notes) -> None:
        self._order, self._bucket, self._pool, self._choose, self._notes = order, bucket, pool, choose, notes
        self._certain: dict[Object, Head] = {}  # by what objects say of themselves as a whole
        self._doubted: set[Object] = set()

    def round(self) -> Fetched:
        """Ask for all that is not known, or in doubt, or not on the disk."""
        result = Fetched()
        try:
            listed = self._pool.submit(self._bucket.list, self._order.series.folder).result()
        except Refused as refused:
            return Fetched(doubts=[refused])
        if len(listed) < (count := self._order.series.slices):
            result.doubts.append(Lacking(f"the store lists {len(listed)} of {count} slices of the series"))
        object_of = self._sort(listed, result)
        if not result.slices:
            return result
        needed, suspects = self._choose(result.slices)
        for one in {object_of[head.label] for head in suspects} - self._certain.keys():
            result.doubts.append(Lacking("a slice is not where one is missing"))
            self._doubted.add(one)
        wanted = [(object_of[head.label], head) for head in needed]
        for (_, head), lost in zip(wanted, self._pool.map(self._bring, wanted), strict=True):
            if lost is not None:
                result.lost[head.label] = str(lost)
                result.doubts.append(lost)
        return result

    def _sort(self, listed: Sequence[Object], result: Fetched) -> dict[str, Object]:
        """Read the heads of objects; tell slices, what is none, and doubts apart; return the object of each slice."""
        told = dict(zip(listed, self._pool.map(self._head, listed), strict=True))
        times = Counter(head.sop_uid for head in told.values() if isinstance(head, Slice))
        own = [head for head in told.values() if isinstance(head, Slice) and head.series_uid == self._order.uid]
        stranger = not own  # a folder of something else is not read as a whole
        object_of = {}
        for one, head in told.items():
            wrong = self._wrong(head, times)
            if wrong and one not in self._certain:
                if not isinstance(head, Passing | Lacking) and not stranger:
                    self._doubted.add(one)
                result.doubts.append(head if isinstance(head, Refused) else Lacking(wrong))
            elif isinstance(head, Slice) and head.series_uid == self._order.uid:
                result.slices.append(head)
                object_of[head.label] = one
                if self._notes.of(one) != head:
                    self._notes.note(one, head)
            else:
                result.faults.append(Fault(self._order.path(one), wrong))
        result.slices.sort(key=lambda head: head.path)
        return object_of

    def _wrong(self, head: Head, times: Counter[str]) -> str:
        """Return why a head is not to be believed at once, or nothing."""
        if isinstance(head, Refused):
            return str(head)
        if head.series_uid != self._order.uid:
            return f"it belongs to another series ({head.series_uid})"
        return head.problem or ("another object is the same SOP instance" if times[head.sop_uid] > 1 else "")

    def _head(self, one: Object) -> Head:
        """Return what an object says of itself, by its beginning or, if that was in doubt, by all of it."""
        try:
            if one in self._certain:
                return self._certain[one]
            if one in self._doubted:
                return self._all_of(one, self._bucket.whole(one))
            return self._notes.of(one) or heads.read(self._bucket, one, self._order.path(one))
        except Refused as refused:
            if one.size <= heads.FIRST_BYTES and not isinstance(refused, Passing | Lacking):
                self._certain[one] = refused  # it was whole
            return refused

    def _all_of(self, one: Object, data: bytes) -> Head:
        """Return, and remember, what a whole object says of itself."""
        file = File(self._order.path(one), "", len(data), heads.stamp(one), io.BytesIO(data).read)
        try:
            self._certain[one] = headers.read_header(file)
        except Refused as refused:
            self._certain[one] = refused
        return self._certain[one]

    def _bring(self, wanted: tuple[Object, Slice]) -> Refused | None:
        """Bring one slice to the disk if it is not there; return what is in the way."""
        one, head = wanted
        path = self._order.root / head.path
        if _is_whole(path, one):
            return None
        try:
            data = self._bucket.whole(one)
        except Refused as refused:
            return refused
        if self._all_of(one, data) != head:
            return Lacking("its head is not the one that was read before")
        with replacing(path) as file:
            file.write(data)
        return None


def _is_whole(path: Path, one: Object) -> bool:
    """Return whether an object lies on the disk already."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    return len(data) == one.size and one.holds(data)
