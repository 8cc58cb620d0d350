"""What a run says about itself, and the files it leaves: the notes at the head of every table, and the tables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmark.console import print_table
from benchmark.contracts import Cohort
from benchmark.records import write_atomically
from benchmark.render import csv_text, latex, markdown
from benchmark.tables import Table


@dataclass(frozen=True)
class Provenance:
    """What every number of a run rests on.

    Attributes:
        cohort: The nodules.
        identity: What all fits of the run share (see `records.Run`).
        source_note: What the voxels are, in one sentence.
        rule_note: How a class is made from the mean malignancy.
        is_sample: Whether the cohort is a sample that only tests the machinery.
        seeds: Trainings per fold.
        reads_text: Whether a row uses the text tower.
    """

    cohort: Cohort
    identity: dict[str, Any]
    source_note: str
    rule_note: str
    is_sample: bool
    seeds: int
    reads_text: bool

    def notes(self) -> list[str]:
        """Say what the numbers are, for the head of every table."""
        recipe, tower = self.identity["recipe"], self.identity["text_tower"]
        notes = [self.source_note]
        if (of_all := self.cohort.provenance.get("preparation")) is not None:
            whole = of_all["nodules"]["in the database"]
            kind = "The whole collection" if len(self.cohort) == whole else "A partial cohort"
            notes.append(f"{kind}: {len(self.cohort):,} of the {whole:,} nodules of LIDC-IDRI.")
        if self.is_sample:
            notes.append("A small sample for testing the machinery: these numbers mean nothing.")
        channels = "-".join(map(str, self.identity["encoder"]["channels"]))
        epochs = f"{recipe['epochs']} epoch{'s' * (recipe['epochs'] > 1)}"
        notes.append(
            f"Preset {self.identity['preset']}: resnet18 with stages {channels}, {epochs}, the last "
            "epoch tested; no epoch or seed was chosen by a test fold."
        )
        if self.reads_text and tower["name"] == "random":
            notes.append(
                "Text tower: random weights. Rows that read text show what their losses do, "
                "not what CLIP knows of language."
            )
        elif self.reads_text:
            notes.append("Text tower: OpenAI's CLIP ViT-B/16, frozen.")
        notes.append(
            f"{len(self.cohort):,} nodules of {len(set(self.cohort.patient_ids)):,} patients; label rule "
            f"{self.identity['label_rule']!r}: {self.rule_note}; cohort {self.identity['cohort'][:12]}."
        )
        of_seeds = f" of {self.seeds} seeds each" if self.seeds > 1 else ""
        notes.append(
            f"Percent, mean ± sample standard deviation (ddof=1) over {self.identity['folds']} patient-disjoint "
            f"folds{of_seeds}; bold: best of the methods."
        )
        return notes

    def tag(self) -> str:
        """Return the shortest honest description, for places without room for the notes."""
        tower = f", {self.identity['text_tower']['name']} text tower" if self.reads_text else ""
        return f"{self.cohort.source}, preset {self.identity['preset']}{tower}"

    def facts(self) -> dict[str, str]:
        """Return the same in short, for each line of a CSV."""
        return {
            "source": self.cohort.source,
            "preset": self.identity["preset"],
            "text_tower": self.identity["text_tower"]["name"],
            "label_rule": self.identity["label_rule"],
            "cohort": self.identity["cohort"],
        }


def write_table(folder: Path, name: str, table: Table, origin: Provenance, out: Console) -> None:
    """Write one table as Markdown, CSV and LaTeX, and print it."""
    write_atomically(folder / f"{name}.md", markdown(table, origin.notes()))
    write_atomically(folder / f"{name}.tex", latex(table, origin.notes()))
    write_atomically(folder / f"{name}.csv", csv_text(table, origin.facts()))
    print_table(out, table, origin.tag())
