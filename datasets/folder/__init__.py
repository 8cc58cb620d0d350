"""Folder: anybody's own nodules, as a table `nodules.csv` beside crops or scans."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int16

from benchmark.contracts import Collection, Json, Made, NoduleInfo
from benchmark.files import sha256
from datasets import crops
from datasets.code import code_hash
from datasets.dicom import archive, elements, files, headers, images, members, stack
from datasets.folder import formats, lines, table, voxels
from datasets.folder.table import Row

_CODE = (
    *(sys.modules[__name__], lines, table, formats, voxels, crops),
    *(files, members, archive, elements, headers, images, stack),
)


class Folder(Collection):
    """The nodules of a folder's `nodules.csv`.

    Attributes:
        root: The folder.
    """

    in_processes: ClassVar[bool] = True

    def __init__(self, root: Path) -> None:
        """Read the table.

        Raises:
            InputError: It is missing, or something in it cannot be used.
        """
        self.root = root.resolve()
        name = re.sub(r"[^A-Za-z0-9]+", "-", self.root.name).strip("-") or "nodules"
        self.title, self.source = name, f"folder-{name}"
        self.note = f"{name}: nodules of the user's own; their voxels and labels were not checked."
        self.attribute_names, rows = table.read(self.root)
        self._rows = {row.nodule.id: row for row in rows}

    def nodules(self) -> list[NoduleInfo]:
        """Return the table's nodules, those of a patient together, patients in the order of their first row."""
        of_patient: dict[str, list[NoduleInfo]] = {}
        for row in self._rows.values():
            of_patient.setdefault(row.nodule.patient_id, []).append(row.nodule)
        return [nodule for nodules in of_patient.values() for nodule in nodules]

    def volume(self, nodule: NoduleInfo) -> Int16[np.ndarray, "32 32 32"]:
        """Return a nodule's crop.

        Raises:
            InputError: Its file cannot be used.
        """
        return voxels.crop(self._rows[nodule.id])

    def fingerprint(self) -> Json:
        """Return the hash of the table and of the code, and names, sizes and times of change of the crops' files."""
        stamps: list[Json] = [[str(path.relative_to(self.root)), *_stamps(path)] for path in self._files()]
        return [sha256((self.root / table.NAME).read_bytes()), code_hash(*_CODE), stamps]

    def parts(self, nodules: Sequence[NoduleInfo]) -> list[list[Row]]:
        """Return the nodules' rows, one at a time."""
        return [[self._rows[nodule.id]] for nodule in nodules]

    @staticmethod
    def make(part: Sequence[Row]) -> Made:
        """Make the crops of some rows.

        Raises:
            InputError: A file cannot be used.
        """
        return Made(np.stack([voxels.crop(row) for row in part]))

    def _files(self) -> list[Path]:
        return sorted({row.file for row in self._rows.values()})


def _stamps(path: Path) -> list[str]:
    """Return what tells whether a file, or a folder's content, has changed."""
    return sorted(unit.key for unit in archive.units(path)[0])
