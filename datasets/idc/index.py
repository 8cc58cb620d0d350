"""Index: where each CT series of LIDC-IDRI lies in the bucket, how large it is, and what its crops need of it."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from datasets.idc.heads import FIRST_BYTES

FILE = Path(__file__).with_name("series.csv")


@dataclass(frozen=True)
class Series:
    """A series in the bucket.

    Attributes:
        folder: Its folder there.
        slices: Its objects.
        size: Their bytes.
        needed: How many of them the crops of its nodules need.
    """

    folder: str
    slices: int
    size: int
    needed: int

    @property
    def traffic(self) -> int:
        """Bytes to fetch: the head of every slice, and the slices that are needed."""
        return self.slices * FIRST_BYTES + self.kept

    @property
    def kept(self) -> int:
        """Bytes of the slices that are needed."""
        return round(self.size * self.needed / self.slices) if self.slices else 0


@cache
def load() -> dict[str, Series]:
    """Return all series, by series instance UID."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {row["series_uid"]: _series(row) for row in rows}


def _series(row: dict[str, str]) -> Series:
    return Series(row["folder"], int(row["slices"]), int(row["bytes"]), int(row["slices_for_crops"]))
