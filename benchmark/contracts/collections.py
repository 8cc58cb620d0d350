"""Where nodules come from: a collection, what it says of each nodule, and the cohort that is prepared from it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int, Int16

from benchmark.contracts.errors import InputError
from benchmark.contracts.tasks import Json

Volumes = Int16[np.ndarray, "nodules 32 32 32"]


@dataclass(frozen=True)
class NoduleInfo:
    """What a collection says of one nodule, beside its voxels.

    Attributes:
        id: Unique in the collection, stable between machines.
        patient_id: The unit that folds keep together.
        scan_id: The scan it was seen in (LIDC: the series instance UID).
        reading_ids: Ids of its readings, ascending, where there are such.
        malignancy: Each reader's malignancy score, 1..5; empty where a class is given instead.
        label: `"benign"`, `"unsure"` or `"malignant"` where there are no scores, else empty.
        ratings: Mean rating of each of the collection's attributes.
        trusted: Which of them can be relied on; empty means all.
        diameter_mm: Equivalent diameter.
        slice_thickness_mm: Of the scan.
        strata: Free columns to group results by.
    """

    id: str
    patient_id: str
    scan_id: str = ""
    reading_ids: tuple[int, ...] = ()
    malignancy: tuple[float, ...] = ()
    label: str = ""
    ratings: tuple[float, ...] = ()
    trusted: tuple[bool, ...] = ()
    diameter_mm: float = nan
    slice_thickness_mm: float = nan
    strata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """What came of a part of a collection.

    Attributes:
        volumes: A crop for each nodule that was made, in the part's order, in Hounsfield units.
        left_out: Why others were not made, by nodule id.
    """

    volumes: Volumes
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Preparation:
    """What came of a download.

    Attributes:
        known: Nodules in the collection.
        made: Nodules that the cohort holds.
        left_out: Why a nodule whose scan is there was not made, by nodule id.
        series: Number of series found, missing, incomplete, damaged and foreign.
        unusable_files: Number of files that could not be used.
        report: File that lists all of it.
        again: Ids of left out nodules that another preparation may make; while there are any, it is made again.
    """

    known: int
    made: int
    left_out: dict[str, str]
    series: dict[str, int]
    unusable_files: int
    report: str
    again: tuple[str, ...] = ()


class Collection:
    """A set of nodules with their voxels. `datasets.register(key, MyCollection)` adds one.

    A collection of one's own defines `nodules` and `volume`; the other methods have defaults.

    Attributes:
        title: As tables print it: `"LIDC"` makes LIDC-A, LIDC-B and LIDC-C.
        source: Names prepared files and run folders: letters, digits, hyphens.
        note: What the voxels are, in one sentence for the head of every table.
        attribute_names: The rated attributes, as prompts write them; none where there are no ratings.
        in_processes: Whether parts may be made in other processes, which must be able to import the class.
        unit: What progress is counted in.
    """

    title: str
    source: str
    note: str
    attribute_names: tuple[str, ...] = ()
    in_processes: ClassVar[bool] = False
    unit: ClassVar[str] = "nodules"

    def nodules(self) -> Sequence[NoduleInfo]:
        """Return every nodule, in a fixed order; the nodules of a patient stand together."""
        raise NotImplementedError

    def patients(self) -> Sequence[str]:
        """Return every patient, in a fixed order, over which a sample is spread; some may have no nodule."""
        return list(dict.fromkeys(nodule.patient_id for nodule in self.nodules()))

    def volume(self, nodule: NoduleInfo) -> Int16[np.ndarray, "32 32 32"]:
        """Return a nodule's crop in Hounsfield units, axes (slice, row, column)."""
        raise NotImplementedError

    def fingerprint(self) -> Json:
        """Return all that decides what the cohort holds; a changed fingerprint prepares it anew.

        The default knows the nodules alone: define it where voxels or the code that makes them may change.
        """
        return [repr(nodule) for nodule in self.nodules()]

    def parts(self, nodules: Sequence[NoduleInfo]) -> Sequence[Any]:
        """Cut chosen nodules into units of work, in order; each has a length and, once ready, is taken by `make`."""
        return [[nodule] for nodule in nodules]

    def size(self, part: Any) -> float:
        """Return how much of `unit` a part is."""
        return float(len(part))

    def outlook(self, nodules: Sequence[NoduleInfo]) -> str:
        """Say what making the nodules will take of the network and the disk; nothing where it is not worth a line."""
        return ""

    def ready(self, parts: Sequence[Any]) -> Iterable[Any]:
        """Give the parts to `make`, in order, each when all is there that it is made of."""
        return parts

    def now(self) -> str:
        """Say what a person may want to know while parts are made, beside how many are."""
        return ""

    def make(self, part: Any) -> Made:
        """Make a part's crops.

        Raises:
            InputError: `volume` raises, with the nodule and what it said.
        """
        volumes = []
        for nodule in part:
            try:
                volumes.append(self.volume(nodule))
            except InputError:
                raise
            except Exception as error:  # whatever a collection of one's own raises
                said = f"{type(error).__name__}: {error}"
                raise InputError(f"the collection {self.title} cannot make the nodule {nodule.id}: {said}") from error
        return Made(np.stack(volumes))

    def preparation(self, parts: Sequence[Any], left_out: Mapping[str, str]) -> Preparation | None:
        """Return what came of a download, given why nodules were left out; None where there is none."""
        return None


@dataclass(frozen=True)
class Provenance:
    """What made a cohort.

    Attributes:
        sample: Nodules asked for, where the cohort is a sample of whole patients; None where it holds all.
        fingerprint: Hash of all that decides its content.
        preparation: What came of a download, if it was made from one.
        drawn_from: Nodules that there were to take a sample from; 0 where it is no sample, or older than this field.
    """

    sample: int | None
    fingerprint: str
    preparation: Preparation | None
    drawn_from: int = 0


@dataclass(frozen=True)
class Cohort:
    """All nodules of one source, a row each, in a fixed order. Labels and folds are made from it, not kept in it.

    Attributes:
        collection: Title of the collection.
        source: Where the voxels come from.
        note: What they are, in one sentence.
        volumes: Crops in Hounsfield units, axes (nodule, slice, row, column); of a prepared cohort a read-only map of
            its file, which may be larger than memory: take the rows that are needed, when they are.
        nodule_ids: Unique, stable between machines.
        scan_ids: Series instance UIDs, or empty.
        patient_ids: The unit that folds keep together.
        reading_ids: Ids of the nodule's readings, ascending.
        n_readers: How many readers scored it; 0 where unknown.
        reader_malignancy: Each reader's malignancy score, NaN beyond the nodule's readers.
        malignancy: Mean malignancy over the readers, 1..5; NaN where a class was given instead.
        given_labels: Index into benign, unsure, malignant where a class was given; else -1.
        ratings: Mean attribute ratings over the readers, columns as `attribute_names`.
        trusted: Which of the ratings can be relied on.
        attribute_names: As prompts write them, in the paper's order.
        diameter_mm: Mean equivalent diameter over the readers; NaN where unknown.
        slice_thickness_mm: Of the scan; NaN where unknown.
        strata: Free columns to group results by, a text for every nodule.
        content_hash: SHA-256 over all of the above.
        provenance: What made it.
    """

    collection: str
    source: str
    note: str
    volumes: Int16[np.ndarray, "nodules slices rows columns"]
    nodule_ids: tuple[str, ...]
    scan_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    reading_ids: tuple[tuple[int, ...], ...]
    n_readers: Int[np.ndarray, " nodules"]
    reader_malignancy: Float[np.ndarray, "nodules readers"]
    malignancy: Float[np.ndarray, " nodules"]
    given_labels: Int[np.ndarray, " nodules"]
    ratings: Float[np.ndarray, "nodules attributes"]
    trusted: Bool[np.ndarray, "nodules attributes"]
    attribute_names: tuple[str, ...]
    diameter_mm: Float[np.ndarray, " nodules"]
    slice_thickness_mm: Float[np.ndarray, " nodules"]
    strata: dict[str, tuple[str, ...]]
    content_hash: str
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.nodule_ids)
