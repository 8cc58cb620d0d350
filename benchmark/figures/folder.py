"""What a run's folder `figures` holds: pictures by name, and `shares.csv`, the numbers behind them."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields

import msgspec

from benchmark.files import footed, in_csv, unfooted
from benchmark.records import FitSpec

FOLDER, SHARES = "figures", "shares.csv"
PICTURES = ("tsne", "attention", "shares")
FILES = (SHARES, *(f"{name}.{kind}" for name in PICTURES for kind in ("svg", "png")))


@dataclass(frozen=True)
class Line:
    """One share of one fit, with its 95 % interval under resampling of patients.

    Attributes:
        label_set: Of the fit; like the three below.
        method: Key of its row.
        fold: Tested.
        seed: Of its training.
        weights: SHA-256 of the weights that were looked into, as the fit's record has it.
        title: Of the row.
        nodules: How many the share is a mean over.
        left_out: How many have none.
        share: Which: a field of `attention.Means`, or `alike` or `alike_by_chance` (`features.Spread`).
        value: From 0 to 1; gains may be below.
        low: Lower end of the interval; that of a level of chance is the level.
        high: Upper end.
    """

    label_set: str
    method: str
    fold: int
    seed: int
    weights: str
    title: str
    nodules: int
    left_out: int
    share: str
    value: float
    low: float
    high: float

    @property
    def spec(self) -> FitSpec:
        """Which fit it is of."""
        return FitSpec(self.label_set, self.method, self.fold, self.seed)


_COLUMNS = [field.name for field in fields(Line)]


_COMMENT = "# {}"


def csv_text(lines: Sequence[Line], note: str) -> str:
    """Return shares as CSV, below a comment that says what they rest on; the same shares give the same bytes.

    The last line holds the hash of all above it.
    """
    out = io.StringIO()
    out.write(f"# {in_csv(note)}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for line in lines:
        writer.writerow(map(_cell, vars(line).values()))
    return footed(out.getvalue().encode(), _COMMENT).decode()


def _cell(value: object) -> str:
    return f"{value + 0.0:.6f}" if isinstance(value, float) else in_csv(str(value))


def parse(content: bytes) -> tuple[list[Line], str]:
    """Return what `csv_text` wrote: the shares and their note.

    Raises:
        ValueError: It did not write this.
    """
    first, _, rest = unfooted(content, _COMMENT).decode("utf-8").partition("\n")
    try:
        names, *rows = list(csv.reader(io.StringIO(rest, newline=""), strict=True)) or [[]]
        if names != _COLUMNS or not first.startswith("# "):
            raise ValueError("it has other columns")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return msgspec.convert(found, list[Line], strict=False), first[2:]
    except (csv.Error, msgspec.ValidationError) as error:
        raise ValueError(str(error)) from error
