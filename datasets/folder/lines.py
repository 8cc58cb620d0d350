"""Lines: a CSV file as lines of cells by column, each of which can say in a sentence where it is wrong."""

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from benchmark.contracts import InputError

Point = tuple[float, float, float]


class Line:
    """A line's cells by column."""

    def __init__(self, path: Path, line: int, cells: dict[str, str]) -> None:
        self.path, self.line, self.cells = path, line, cells

    def refuse(self, sentence: str) -> NoReturn:
        """Raise an error that names the line."""
        raise InputError(f"{self.path}, line {self.line}: {sentence}")

    def text(self, column: str) -> str:
        """Return a cell without blanks around it; empty where there is no such column."""
        return self.cells.get(column, "").strip()

    def needed(self, column: str) -> str:
        """Return a cell that must not be empty."""
        return self.text(column) or self.refuse(f"{column} is empty: fill it in, or leave the line out")

    def numbers(self, column: str) -> tuple[float, ...]:
        """Return the numbers that a cell joins by `|`."""
        words = self.text(column).split("|") if self.text(column) else []
        try:
            found = tuple(map(float, words))
        except ValueError:
            found = (math.nan,)
        if not all(map(math.isfinite, found)):
            self.refuse(f"{column} is {self.text(column)!r}: write numbers with a decimal point, or leave it empty")
        return found

    def number(self, column: str, low: float, high: float) -> float:
        """Return a number above `low` and up to `high`; NaN for an empty cell."""
        match self.numbers(column):
            case ():
                return math.nan
            case (value,) if low < value <= high:
                return value
        self.refuse(f"{column} is {self.text(column)!r}: write one number above {low:g} and up to {high:g}")

    def point(self, column: str) -> Point | None:
        """Return three numbers, or None for an empty cell."""
        match self.numbers(column):
            case ():
                return None
            case (z, y, x):
                return z, y, x
        self.refuse(f"{column} is {self.text(column)!r}: write three numbers as slice|row|column")


def lines(path: Path) -> tuple[list[str], Iterator[Line]]:
    """Return the column names, and the lines below."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"there is no {path}: a collection is a folder with a table of that name") from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): make it a readable file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): save it as CSV in UTF-8") from error
    first = text.partition("\n")[0]
    delimiter = ";" if ";" in first and "," not in first else ","  # as spreadsheets of many countries write it
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}: save it as plain CSV") from error
    header = [name.strip() for name in rows[0][1]] if rows else []
    named = [name for name in header if name]
    if twice := [name for name in named if named.count(name) > 1]:
        raise InputError(f"{path} has two columns {twice[0]!r}: leave one out")
    return header, _cells(path, header, rows[1:])


def _cells(path: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> Iterator[Line]:
    """Yield each line's cells by column."""
    for number, cells in rows:
        if len(cells) != len(header):
            raise InputError(f"{path}, line {number}: it has {len(cells)} cells for {len(header)} columns: correct it")
        yield Line(path, number, dict(zip(header, cells, strict=True)))
