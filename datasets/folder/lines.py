"""Lines: a CSV file as lines of cells by column, each of which can say in a sentence where it is wrong."""

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from benchmark.contracts import InputError
from benchmark.files import is_cell

Point = tuple[float, float, float]

MISSING = ("nan", "none", "null", "na", "n/a", "<na>", "#n/a")  # as pandas and spreadsheets write it


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

    def identity(self, column: str) -> str:
        """Return a cell that tells one from others: not empty, no word for a missing value, nothing unprintable."""
        name = self.needed(column)
        if name.casefold() in MISSING:
            self.refuse(f"{column} is {name!r}, which stands for a missing value: fill it in, or leave the line out")
        if any(unicodedata.category(letter) == "Cc" for letter in self.cells[column]):
            self.refuse(f"{column} is {self.cells[column]!r}, which holds a control character: write it without")
        if not is_cell(name):
            self.refuse(f"{column} is {name!r}, which a spreadsheet takes for a formula: name it otherwise")
        return name

    def numbers(self, column: str, *, several: bool = True) -> tuple[float, ...]:
        """Return the numbers that a cell joins by `|`; where there may be several, an error says how to join them."""
        text = self.text(column)
        found = _finite(text.split("|")) if text else ()
        if found is None:
            words = [word for word in re.split(r"[][()|;,/\s]+", text) if word]
            if several and len(words) > 1 and _finite(words):
                joined = "|".join(words)
                self.refuse(f"{column} is {text!r}: join numbers by |, as {joined}, and write decimals with a point")
            self.refuse(f"{column} is {text!r}: write numbers with a decimal point, or leave it empty")
        return found

    def number(self, column: str, low: float, high: float) -> float:
        """Return a number above `low` and up to `high`; NaN for an empty cell."""
        match self.numbers(column, several=False):
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
    number, first = next(((n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()), (0, ""))
    if not first:
        raise InputError(f"{path} is empty: write a line of column names, and below it a line for each nodule")
    delimiter = ";" if ";" in first and "," not in first else ","  # as spreadsheets of many countries write it
    if first.count("\t") > first.count(delimiter):
        raise InputError(f"{path}, line {number}: its separator must be , or ;, and tabs were found: save it as CSV")
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


def _finite(words: list[str]) -> tuple[float, ...] | None:
    """Return the numbers that words stand for; None where one of them is none."""
    try:
        found = tuple(map(float, words))
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) else None


def _cells(path: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> Iterator[Line]:
    """Yield each line's cells by column."""
    for number, cells in rows:
        if len(cells) != len(header):
            raise InputError(f"{path}, line {number}: it has {len(cells)} cells for {len(header)} columns: correct it")
        yield Line(path, number, dict(zip(header, cells, strict=True)))
