"""The nodules of a run without their voxels: what cohort.csv and run.json say of them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from benchmark.contracts import InputError, Provenance
from benchmark.nodules import NoduleTable, read_nodules
from benchmark.runfile import RunFile


@dataclass(frozen=True, eq=False)
class Listed:
    """What cohort.csv and run.json say of the nodules; see `origin.Nodules`.

    Attributes:
        collection: Title.
        source: Where the voxels come from.
        note: What they are.
        nodules: Their number.
        patient_ids: Of each nodule; empty where cohort.csv is missing or damaged.
        given_labels: 0 where the collection gives the class, -1 where a malignancy score does.
        provenance: What made the cohort.
    """

    collection: str
    source: str
    note: str
    nodules: int
    patient_ids: tuple[str, ...]
    given_labels: Int[np.ndarray, " nodules"]
    provenance: Provenance

    def __len__(self) -> int:
        return self.nodules


def table_of(folder: Path, file: RunFile) -> tuple[NoduleTable | None, str]:
    """Return what cohort.csv says of the nodules, or None and what is wrong with it."""
    try:
        table = read_nodules(folder)
    except InputError as error:
        return None, str(error).replace(f"{folder}{os.sep}", "")  # the page is the same wherever the run lies
    if len(table) != file.identity.nodules:
        return None, f"{len(table):,} nodules, where the run has {file.identity.nodules:,}"
    return table, ""


def listed(file: RunFile, table: NoduleTable | None, notes: Mapping[str, str]) -> Listed:
    """Return what a run folder says of its nodules as a whole.

    Args:
        file: What run.json holds.
        table: What cohort.csv holds; None where it cannot be read.
        notes: What the voxels of each source are.
    """
    identity = file.identity
    scored = np.full(identity.nodules, True) if table is None else np.isfinite(table.malignancy)
    return Listed(
        collection=identity.collection,
        source=identity.source,
        note=notes.get(identity.source, f"Voxels of {identity.collection}, source {identity.source}."),
        nodules=identity.nodules,
        patient_ids=() if table is None else table.patient_ids,
        given_labels=np.where(scored, -1, 0),
        provenance=file.metadata.provenance,
    )
