"""Table: the rows of a folder's `nodules.csv`, each checked, each complaint with its line."""

import difflib
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from benchmark.contracts import InputError, NoduleInfo
from datasets.folder.formats import KINDS, is_kind
from datasets.folder.lines import Line, Point, lines
from datasets.lidc.readings import ATTRIBUTES
from datasets.protocols import LABEL_SETS

NAME = "nodules.csv"
REQUIRED = ("nodule_id", "patient_id", "file")
CLASSED = ("label", "malignancy")  # one of them at least
MAX_DIAMETER_MM = 120.0
SPACING_MM = (0.05, 20.0)
STRATUM = "stratum_"


@dataclass(frozen=True)
class Row:
    """One nodule of the table.

    Attributes:
        table: The table's file.
        line: Its line there.
        file: Its voxels: a file, or a folder of DICOM slices.
        nodule: What the row says of the nodule.
        spacing_mm: Between slices, rows and columns, if given.
        centre: Index (slice, row, column) in the file, if given.
    """

    table: Path
    line: int
    file: Path
    nodule: NoduleInfo
    spacing_mm: Point | None
    centre: Point | None

    def refuse(self, sentence: str) -> InputError:
        """Return an error that names the line and the file of the voxels."""
        return InputError(f"{self.table}, line {self.line}: {self.file.name} {sentence}")


def read(root: Path) -> tuple[tuple[str, ...], list[Row]]:
    """Return the names of the rated attributes, if there are any, and the rows.

    Raises:
        InputError: There is no table, or something in it cannot be used.
    """
    path = root / NAME
    header, table = lines(path)
    _check_columns(path, header)
    attributes = _attributes(path, header)
    rows: list[Row] = []
    line_of: dict[str, int] = {}
    spelling: dict[str, tuple[str, int]] = {}
    owner: dict[Path, tuple[str, int]] = {}
    for line in table:
        row = _row(root, line, attributes)
        name, patient = row.nodule.id, row.nodule.patient_id
        if name in line_of:
            line.refuse(f"the nodule_id {name!r} stands in line {line_of[name]} already: give each nodule its own")
        line_of[name] = row.line
        known, where = spelling.setdefault(_folded(patient), (patient, row.line))
        if known != patient:
            show = ascii if _composed(known) == _composed(patient) else repr  # those look alike
            line.refuse(
                f"the patient {show(patient)} is spelled {show(known)} in line {where}: spell the same patient the "
                "same way, or it may be trained and tested on, and give different patients clearly different names"
            )
        whose, where = owner.setdefault(row.file, (patient, row.line))
        if whose != patient:
            line.refuse(
                f"the file {line.cells['file']} is of the patient {whose!r} in line {where}: correct one of the two "
                "lines, or a patient who is trained on may be tested on"
            )
        rows.append(row)
    if not rows:
        raise InputError(f"{path} holds no nodule: give it a row for each, below the line of column names")
    return tuple(attributes), rows


def _check_columns(path: Path, header: list[str]) -> None:
    """Refuse a table that lacks a column."""
    missing = [(name,) for name in REQUIRED if name not in header]
    either = [] if set(CLASSED) & set(header) else [CLASSED]
    if not (wanted := [*missing, *either]):
        return
    others = {name.casefold(): name for name in header if name and name not in (*REQUIRED, *CLASSED)}
    near = [(name, difflib.get_close_matches(name, others, n=1)) for names in wanted for name in names]
    meant = " and ".join(f"{name!r} by {others[found[0]]!r}" for name, found in near if found)
    names, there = ", ".join(map(" or ".join, wanted)), ", ".join(filter(None, header))
    what = f"did you mean {meant}?" if meant else "add it"
    raise InputError(f"{path} lacks the column {names}: its columns are {there or 'none'}; {what}")


def _composed(patient: str) -> str:
    """Return a patient's name in one form of Unicode."""
    return unicodedata.normalize("NFKC", patient)


def _folded(patient: str) -> str:
    """Return what the spellings of one patient share: the letters in any case and form of Unicode, without blanks."""
    letters = _composed(_composed(patient).casefold())
    return "".join(one for one in letters if not one.isspace() and unicodedata.category(one) != "Cf")


def _attributes(path: Path, header: list[str]) -> dict[str, str]:
    """Return the column of each of LIDC's attributes; nothing where there is none of them."""
    columns = {name: name.replace(" ", "_") for name in ATTRIBUTES}
    named = [(name, column + suffix) for name, column in columns.items() for suffix in ("_mean", "")]
    found = {name: column for name, column in named if column in header}
    if found and len(found) < len(ATTRIBUTES):
        missing = ", ".join(column for name, column in columns.items() if name not in found)
        raise InputError(f"{path} rates {', '.join(found)} but not {missing}: give all eight attributes or none")
    return found


def _row(root: Path, line: Line, attributes: dict[str, str]) -> Row:
    """Return what a line says."""
    label, malignancy = line.text("label"), line.numbers("malignancy")
    classes = LABEL_SETS["three"]
    if label and label not in classes:
        near = difflib.get_close_matches(label.lower(), classes, n=1)
        other = ": write one of the three, or leave it empty and give the readers' scores as malignancy"
        meant = f"; did you mean {near[0]!r}?" if near else other
        line.refuse(f"the label {label!r} is none of {', '.join(classes)}{meant}")
    if bool(label) == bool(malignancy):
        what = "both label and malignancy: leave one of them" if label else "neither label nor malignancy: fill one in,"
        line.refuse(f"it has {what} {'empty' if label else 'or leave the line out'}")
    if not all(1 <= score <= 5 for score in malignancy):
        line.refuse(f"malignancy is {line.text('malignancy')!r}: the readers' scores must lie from 1 to 5")
    ratings = {name: line.numbers(column, several=False) for name, column in attributes.items()}
    for name, found in ratings.items():
        if len(found) != 1:
            line.refuse(f"{attributes[name]} is {line.text(attributes[name])!r}: write one number in each attribute")
    spacing = line.point("spacing_mm")
    low, high = SPACING_MM
    if spacing and not all(low <= step <= high for step in spacing):
        line.refuse(f"spacing_mm is {line.text('spacing_mm')!r}: write millimetres from {low:g} to {high:g}")
    nodule = NoduleInfo(
        id=line.identity("nodule_id"),
        patient_id=line.identity("patient_id") and line.cells["patient_id"],  # blanks and all, to be compared
        scan_id=line.text("scan_id"),
        malignancy=malignancy,
        label=label,
        ratings=tuple(found[0] for found in ratings.values()),
        diameter_mm=line.number("diameter_mm", 0.0, MAX_DIAMETER_MM),
        slice_thickness_mm=line.number("slice_thickness_mm", 0.0, SPACING_MM[1]),
        strata={
            column.removeprefix(STRATUM): line.text(column)
            for column in line.cells
            if column.startswith(STRATUM) and column != STRATUM
        },
    )
    return Row(line.path, line.line, _file(root, line), nodule, spacing, line.point("centre"))


def _file(root: Path, line: Line) -> Path:
    """Return where a line's voxels are."""
    name = line.needed("file")
    slashed = name.replace("\\", "/")
    try:
        path, other = (root / name).resolve(), (root / slashed).resolve()
        inside, there = path.is_relative_to(root) and path != root, path.exists()
        meant = not there and other.is_relative_to(root) and other != root and other.exists()
    except (OSError, ValueError):  # too long, or with a null byte
        line.refuse(f"{name[:80]!r} cannot be the name of a file: correct it")
    if not inside:
        line.refuse(f"{name!r} points outside the folder: put the file into it")
    if meant:
        line.refuse(f"there is no {name!r} in the folder, but there is {slashed!r}: use / between folders")
    if not there:
        line.refuse(f"there is no {name!r} in the folder: correct the name, or leave the line out")
    if not is_kind(path):
        line.refuse(f"{name!r} is of no known kind: give {KINDS}")
    return path
