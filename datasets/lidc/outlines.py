"""Outlines: what a nodule's readers agree is nodule, in the frame of its crop. The same for every source of voxels."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool

from benchmark.contracts import InputError
from datasets import crops
from datasets.lidc import nodules as lidc
from datasets.lidc import readings
from datasets.lidc.geometry import crop_of, grid_of
from datasets.lidc.nodules import Nodule
from datasets.lidc.phantom import masks

Outline = Bool[np.ndarray, "32 32 32"]


def outlines(nodule_ids: Sequence[str]) -> Iterator[Outline]:
    """Yield the consensus outline of each nodule, in the order of the ids: 32 KB each, so that no caller need keep all.

    Of the phantom and of real CT alike: both are cut by the readings' own geometry.

    Args:
        nodule_ids: As cohorts have them: patient and first reading.

    Raises:
        InputError: LIDC-IDRI has no such nodule, or the database is missing or damaged.
    """
    patients = {name.rpartition("-r")[0] for name in nodule_ids}
    scans = [scan for scan in readings.load() if scan.patient_id in patients]
    known = {nodule.id: nodule for scan in scans for nodule in lidc.cluster(scan)}
    if strangers := [name for name in nodule_ids if name not in known]:
        raise InputError(
            f"there is no nodule {strangers[0]!r} in LIDC-IDRI, so it has no outline: ask for its own nodules"
        )
    yield from (outline(known[name]) for name in nodule_ids)


def outline(nodule: Nodule) -> Outline:
    """Return which voxels of the crop lie within the outline of at least half of the readers.

    The consensus is made on the scan's grid (`masks.consensus`) and brought to the crop as Hounsfield units are
    (`crops.resample`); a voxel is inside if half of it is. The phantom is rendered from the same consensus, but lobes
    and spicules that it adds, as the ratings say, are beyond this outline.
    """
    whole, crop = grid_of(nodule.scan), crop_of(nodule)
    box = crops.box_of(crop, whole)
    inside = crops.resample(masks.consensus(nodule, box).astype(np.float64), whole.part(box), crop)
    return np.asarray(inside >= 0.5)
