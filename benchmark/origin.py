"""What a run says about itself at the head of every table, and the files that it leaves."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from benchmark import habits
from benchmark.contracts import Json, Provenance, Row, TextWeights
from benchmark.files import sha256, write_atomically
from benchmark.identity import Identity
from benchmark.records import Found
from benchmark.render import csv_text, latex, markdown
from benchmark.tables import Table


@runtime_checkable
class Nodules(Protocol):
    """What is said of nodules without their voxels: a `Cohort`, or what a run folder says of one."""

    @property
    def collection(self) -> str:
        """Title of their collection."""

    @property
    def source(self) -> str:
        """Where their voxels come from."""

    @property
    def note(self) -> str:
        """What the voxels are."""

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """Their patients."""

    @property
    def given_labels(self) -> Int[np.ndarray, " nodules"]:
        """Below zero where no class is given."""

    @property
    def provenance(self) -> Provenance:
        """What made them."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Origin:
    """What every number of a run rests on.

    Attributes:
        cohort: The nodules.
        identity: What all fits of the run share.
        rule_note: How a class is made from the mean malignancy.
        found: The records that the tables are made of.
        rows: What stands in the tables, by key.
        text_weights: What a file gave the text tower; None for random weights.
    """

    cohort: Nodules
    identity: Identity
    rule_note: str
    found: Found
    rows: Mapping[str, Row]
    text_weights: TextWeights | None = None

    @property
    def reads_text(self) -> bool:
        """Whether a row uses the text tower."""
        return any(row.reads_text for row in self.rows.values())

    @property
    def tower(self) -> str:
        """What the text tower is, in short."""
        if self.identity.text_tower.name == "random":
            return "random weights"
        return self.text_weights.title if self.text_weights else "not read"

    @property
    def _is_phantom(self) -> bool:
        return self.identity.source == "phantom"

    @property
    def seeds(self) -> tuple[int, int]:
        """The fewest and the most trainings that a method has on a fold."""
        trained = [s for s, record in self.found.items() if record is not None and record.kind != "reference"]
        counts = Counter((spec.label_set, spec.method, spec.fold) for spec in trained).values()
        return min(counts, default=1), max(counts, default=1)

    def notes(self) -> list[str]:
        """Say what the numbers are, for the head of every table: what they are no evidence of comes first."""
        return [*self.warnings(), *self.facts()]

    def warnings(self) -> list[str]:
        """Say what must not be missed: where the numbers are no evidence about CT, about CLIP, or about anything."""
        said = [habits.BANNER] * self.identity.splits_patients
        said += [self.cohort.note] * self._is_phantom
        said += sample_notes(self.cohort.provenance, self.identity)
        if self.reads_text and self.identity.text_tower.name == "random":
            said.append(
                "Text tower: random weights. Rows that read text show what their losses do, "
                "not what CLIP knows of language."
            )
        return said

    def facts(self) -> list[str]:
        """Say what was run on what."""
        recipe, cohort = self.identity.recipe, self.cohort
        notes = [] if self._is_phantom else [cohort.note]
        came, drawn_from = cohort.provenance.preparation, cohort.provenance.drawn_from
        if came is not None and came.known != drawn_from:
            kind = "The whole collection" if len(cohort) == came.known else "A partial cohort"
            notes.append(f"{kind}: {len(cohort):,} of the {came.known:,} nodules of {cohort.collection}.")
        channels = "-".join(map(str, self.identity.encoder.channels))
        epochs = f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)}"
        notes.append(
            f"Preset {self.identity.preset}: resnet18 with stages {channels}, {epochs}, the last "
            "epoch tested; no epoch or seed was chosen by a test fold."
        )
        if recipe.ema:
            notes.append(f"Predictions use weights averaged over the training steps (decay {recipe.ema:g} a step).")
        if changed := self.identity.settings:
            settings = ", ".join(f"{name} = {value}" for name, value in changed.items())
            notes.append(f"Changed by hand: {settings}.")
        if self.reads_text and self.identity.text_tower.name != "random" and self.text_weights:
            notes.append(f"Text tower: {self.text_weights.title}, frozen.")
        text, image = self.identity.text_tower.features, self.identity.encoder.width
        if self.reads_text and text != image:
            notes.append(
                f"The text tower's {text} features meet the encoder's {image} through a random projection "
                f"(seed {self.identity.text_tower.seed}) that nothing trains."
            )
        rule = f"label rule {self.identity.label_rule!r}: {self.rule_note}"
        if (cohort.given_labels >= 0).all():
            rule = "classes as the collection gives them"
        patients = f" of {len(set(cohort.patient_ids)):,} patients" if cohort.patient_ids else ""
        notes.append(f"{len(cohort):,} nodules{patients}; {rule}; cohort {self.identity.cohort[:12]}.")
        fewest, most = self.seeds
        of_seeds = f" of {fewest} to {most} seeds each" if fewest < most else f" of {most} seeds each" * (most > 1)
        kind = "patient-disjoint folds" if not self.identity.splits_patients else "folds that ignore patients"
        notes.append(
            f"Percent, mean ± sample standard deviation (ddof=1) over {self.identity.folds} {kind}{of_seeds}; bold: "
            "best of the methods."
        )
        return notes

    def tag(self) -> str:
        """Return the shortest honest description, for places without room for the notes."""
        tower = f", text tower: {self.tower}" if self.reads_text else ""
        folds = ", folds ignore patients" * self.identity.splits_patients
        return f"{self.cohort.source}, preset {self.identity.preset}{tower}{folds}"

    def columns(self) -> dict[str, str]:
        """Return the same in short, for each line of a CSV."""
        return {
            "source": self.cohort.source,
            "preset": self.identity.preset,
            "text_tower": self.tower,
            "label_rule": self.identity.label_rule,
            "cohort": self.identity.cohort,
            **({"note": habits.BANNER} if self.identity.splits_patients else {}),
        }


def sample_notes(provenance: Provenance, identity: Identity) -> list[str]:
    """Say how large a sample is and what its figures are worth; nothing where a cohort is no sample."""
    if provenance.sample is None:
        return []
    among = f" of {provenance.drawn_from:,}" if provenance.drawn_from else ""
    said = [
        f"A sample of whole patients, spread evenly: {identity.nodules:,}{among} nodules. Its figures are noisier than "
        "those of all nodules, and are not to be compared with them."
    ]
    if identity.recipe.epochs == 1:
        said.append("A small sample and one epoch, for testing the machinery: these numbers mean nothing.")
    return said


def folder_name(preset: str, source: str, label_rule: str, settings: Mapping[str, Json]) -> str:
    """Return the name of a run's folder where none is given; settings changed by hand make a folder of their own.

    >>> folder_name("quick", "phantom", "published", {"clip_lung.alpha": 0.5})
    'quick-phantom-published-clip_lung.alpha=0.5'
    """
    changed = "".join(f"-{name}={value}" for name, value in settings.items())
    if not re.fullmatch(r"[\w.=-]{,100}", changed):
        changed = f"-{sha256(changed)[:12]}"
    return f"{preset}-{source}-{label_rule}{changed}"


def write_tables(folder: Path, tables: Mapping[str, Table], origin: Origin) -> None:
    """Write each table, by its file's name, as Markdown, CSV and LaTeX."""
    for name, table in tables.items():
        write_atomically(folder / f"{name}.md", markdown(table, origin.notes()))
        write_atomically(folder / f"{name}.tex", latex(table, origin.notes()))
        write_atomically(folder / f"{name}.csv", csv_text(table, origin.columns()))
