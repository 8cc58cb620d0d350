"""Numbers that a paper printed, kept as data: results/published/*.toml, explained in the README there.

A cell is one printed number with its deviation, addressed by protocol, method and metric. Numbers stay decimal, exactly
as printed, so that 62.0 keeps its decimal; nothing here is a float.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.tomlfile import Key, TomlFile

_STD = "_std"
_PER_CLASS = ("recall", "f1")


@dataclass(frozen=True)
class PublishedProtocol:
    """A data set as the paper describes it.

    Attributes:
        key: As in our own protocols, e.g. `"B"`.
        title: As printed.
        classes: In the test set. A class of the same name in another protocol is the same nodules.
        untested: Trained on but absent from the test set; a wrong decision may be one of these.
    """

    key: str
    title: str
    classes: tuple[str, ...]
    untested: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One printed number.

    Attributes:
        protocol: Key of the protocol.
        method: Key of the method; keys of `methods.ROWS` are the same row.
        metric: `accuracy`, `recall_benign`, `f1_benign`, ...
        value: In percent, as printed.
        std: What follows the plus-minus sign, or None.
        decimals: Printed decimals of both.
        place: Where in the paper, e.g. `"Table 1"`.
    """

    protocol: str
    method: str
    metric: str
    value: Decimal
    std: Decimal | None
    decimals: int
    place: str


@dataclass(frozen=True)
class Published:
    """All numbers of one paper.

    Attributes:
        name: The file's name without its ending.
        title: Of the paper.
        authors: Last names.
        venue: Where and when it appeared.
        nodules: How many the paper says it has, all protocols together.
        folds: How many folds the paper says it averages over; 1 for a single test set.
        protocols: By key.
        methods: Printed name of each method, by key.
        cells: In the order of the file.
    """

    name: str
    title: str
    authors: str
    venue: str
    nodules: int
    folds: int
    protocols: Mapping[str, PublishedProtocol]
    methods: Mapping[str, str]
    cells: tuple[Cell, ...]

    @cached_property
    def by_key(self) -> Mapping[tuple[str, str, str], Cell]:
        """The cells by (protocol, method, metric)."""
        return {(cell.protocol, cell.method, cell.metric): cell for cell in self.cells}


def load(path: Path) -> Published:
    """Read and check a published file.

    Raises:
        InputError: The file, the line, the key, and what is wrong there.
    """
    file = TomlFile(path)
    file.only((), {"paper", "protocols", "methods", "tables"})
    paper = file.mapping(("paper",), {"title": str, "authors": str, "venue": str, "nodules": int, "folds": int})
    for count in ("nodules", "folds"):
        if paper[count] < 1:
            file.fail(("paper", count), f"must be at least 1, not {paper[count]}")
    protocols = {key: _protocol(file, key) for key in file.mapping(("protocols",))}
    methods = file.mapping(("methods",))
    for method, name in methods.items():
        if not isinstance(name, str):
            file.fail(("methods", method), "must be the method's printed name, in quotes")
    cells: dict[tuple[str, str, str], Cell] = {}
    for number in range(len(file.sequence(("tables",)))):
        for key, cell in _cells(file, number, protocols, methods):
            address = (cell.protocol, cell.method, cell.metric)
            if address in cells:
                file.fail(
                    key,
                    f"{cell.protocol}.{cell.metric} of {cell.method} is already given in {cells[address].place}; "
                    "a number printed twice needs a method key of its own",
                )
            cells[address] = cell
    return Published(path.stem, **paper, protocols=protocols, methods=methods, cells=tuple(cells.values()))


def _protocol(file: TomlFile, key: str) -> PublishedProtocol:
    here: Key = ("protocols", key)
    fields = {"title": str, "classes": list}
    if "untested" in file.mapping(here):
        fields["untested"] = list
    title = file.mapping(here, fields)["title"]
    classes = file.words((*here, "classes"))
    untested = file.words((*here, "untested")) if "untested" in fields else ()
    if len(classes) < 2:
        file.fail((*here, "classes"), "must name at least two classes")
    if both := set(classes) & set(untested):
        file.fail((*here, "untested"), f"{min(both)} is also among the classes of the test set")
    return PublishedProtocol(key, title, classes, untested)


def _cells(
    file: TomlFile, number: int, protocols: Mapping[str, PublishedProtocol], methods: Mapping[str, str]
) -> Iterator[tuple[Key, Cell]]:
    """Yield the cells of one table, each with the key of its row."""
    here: Key = ("tables", number)
    table = file.mapping(here, {"place": str, "decimals": int, "columns": list, "rows": dict})
    columns = file.words((*here, "columns"))
    _check_columns(file, (*here, "columns"), columns, protocols)
    if not 0 <= table["decimals"] <= 3:
        file.fail((*here, "decimals"), f"must be 0 to 3, not {table['decimals']}")
    for method in file.mapping((*here, "rows")):
        key: Key = (*here, "rows", method)
        row = file.sequence(key)
        if method not in methods:
            file.fail(key, "is no method of the table [methods]; add it there")
        if len(row) != len(columns):
            file.fail(key, f"has {len(row)} numbers for {len(columns)} columns")
        numbers = {
            column: _percentage(file, key, column, number, table["decimals"])
            for column, number in zip(columns, row, strict=True)
        }
        for column, value in numbers.items():
            protocol, _, metric = column.partition(".")
            if not metric.endswith(_STD):
                std = numbers.get(column + _STD)
                yield key, Cell(protocol, method, metric, value, std, table["decimals"], table["place"])


def _check_columns(
    file: TomlFile, key: Key, columns: tuple[str, ...], protocols: Mapping[str, PublishedProtocol]
) -> None:
    for column in columns:
        protocol, dot, metric = column.partition(".")
        if not dot or protocol not in protocols or not metric.isidentifier():
            file.fail(key, f"{column!r} is not PROTOCOL.metric with a protocol of {', '.join(protocols)}")
        if metric.endswith(_STD) and column.removesuffix(_STD) not in columns:
            file.fail(key, f"{column} has no column {column.removesuffix(_STD)}")
        kind, _, name = metric.removesuffix(_STD).partition("_")
        if kind in _PER_CLASS and name not in protocols[protocol].classes:
            file.fail(key, f"{column}: {name!r} is no class of protocol {protocol}")
    for protocol, described in protocols.items():
        for kind in _PER_CLASS:
            wanted = [f"{protocol}.{kind}_{name}" for name in described.classes]
            missing = [column for column in wanted if column not in columns]
            if missing and len(missing) < len(wanted):
                file.fail(
                    key, f"{missing[0]} is missing; give {kind} for every class of protocol {protocol} or for none"
                )


def _percentage(file: TomlFile, key: Key, column: str, number: Any, decimals: int) -> Decimal:
    if type(number) not in (int, Decimal) or not Decimal(number).is_finite():
        file.fail(key, f"{column} is {number!r}, not a number")
    value = Decimal(number)
    if not 0 <= value <= 100:
        file.fail(key, f"{column} is {number}, not a percentage between 0 and 100")
    printed = -int(value.as_tuple().exponent)
    if printed != decimals:
        file.fail(
            key, f"{column} is {number}, with {printed} decimals where the table has {decimals}; write it as printed"
        )
    return value
