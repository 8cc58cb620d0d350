"""Stack: the one CT series of a folder as a volume that is read slice by slice."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from datasets.crops import Box, Grid
from datasets.dicom import archive, headers
from datasets.dicom.files import Fault, Foreign, Refused
from datasets.dicom.headers import Slice
from datasets.dicom.images import read_images

GAP = 1.5  # times the usual distance of slices: one is missing
SAME_MM = 0.01


@dataclass(frozen=True)
class Stack:
    """A series whose slices lie one above the other.

    Attributes:
        root: What the slices' places are relative to.
        slices: Ascending with z.
        grid: Where their voxels lie.
    """

    root: Path
    slices: tuple[Slice, ...]
    grid: Grid

    def read(self, box: Box) -> Float32[np.ndarray, "slices rows columns"]:
        """Return a part in Hounsfield units, of which only the slices needed are read.

        Raises:
            Refused: One of them cannot be read.
        """
        wanted = {one: number for number, one in enumerate(self.slices[box[0]])}
        hu = np.empty([side.stop - side.start for side in box], dtype=np.float32)
        for one, image in read_images(self.root, wanted):
            if isinstance(image, str):
                raise Refused(f"has a slice {one.label} that cannot be used ({image}): replace it")
            hu[wanted[one]] = image[box[1:]]
        return hu


def find(root: Path) -> Stack:
    """Find the CT slices below a folder; scout views, and files that never were a slice, are passed over.

    Raises:
        Refused: They are no whole series: none, of several series, unlike each other, at one height, or with a gap; or
            a file that may be one of them cannot be used, since without the last one a series is short and has no gap.
    """
    units, faults = archive.units(root)
    found: list[Slice] = []
    for file in chain(faults, (file for unit in units for file in archive.read(root, unit))):
        if isinstance(file, Fault):
            raise Refused(_unusable(file.name, file.reason))
        try:
            found.append(headers.read_header(file))
        except Foreign:
            continue
        except Refused as refused:
            raise Refused(_unusable(file.label, str(refused))) from refused
    slices = sorted((one for one in found if not one.localizer), key=lambda one: one.position_mm[2])
    if len(slices) < 2:
        raise Refused(f"holds {len(slices)} CT slices in DICOM: give it a whole series")
    first = slices[0]
    for one in slices:
        if one.problem:
            raise Refused(f"has a slice {one.label} that cannot be used ({one.problem}): replace it")
        if one.series_uid != first.series_uid:
            raise Refused("holds more than one series: leave one of them there")
        moved = np.abs(np.subtract(one.position_mm[:2], first.position_mm[:2])).max()
        if one.shape != first.shape or one.spacing_mm != first.spacing_mm or moved > SAME_MM:
            raise Refused(f"has slices of unlike size, spacing or place, as {first.label} and {one.label}: sort them")
    z = np.array([one.position_mm[2] for one in slices])
    steps = np.diff(z)
    if steps.min() < SAME_MM:
        raise Refused(f"has two slices at z {z[steps.argmin()]:g} mm: leave one out")
    if steps.max() > GAP * np.median(steps):
        at = steps.argmax()
        raise Refused(f"lacks slices between z {z[at]:g} and {z[at + 1]:g} mm: complete the series")
    in_plane = (step * np.arange(count) for step, count in zip(first.spacing_mm, first.shape, strict=True))
    return Stack(root, tuple(slices), Grid(z, *in_plane))


def _unusable(name: str, reason: str) -> str:
    return f"has a file {name} that cannot be used ({reason}): replace it, or take it away"
