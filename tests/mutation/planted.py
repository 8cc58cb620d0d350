"""Mutants planted by hand: each undoes one promise of the project, and the named tests must notice."""

from dataclasses import dataclass
from pathlib import Path

from forks import Refused, Trial


@dataclass(frozen=True)
class Planted:
    """A text that stands exactly once in a file, and what stands there instead."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def trial(self, root: Path) -> Trial:
        """Return the run of its tests on the tree with the text replaced.

        Raises:
            Refused: The old text is not found exactly once.
        """
        path = root / self.file
        source = path.read_text("utf-8") if path.is_file() else ""
        if (count := source.count(self.old)) != 1:
            raise Refused(
                f"the planted mutant {self.name!r}: its old text stands {count} times in {self.file}, not once"
            )
        return Trial(self.name, self.tests, self.file, source.replace(self.old, self.new))


PLANTED = (
    Planted(
        "no momentum",
        "benchmark/trainer.py",
        "momentum=recipe.momentum,\n        nesterov=recipe.nesterov,",
        "momentum=0.0,",
        ("tests/benchmark/test_trainer.py",),
    ),
    Planted(
        "no Nadeau-Bengio correction",
        "benchmark/statistics.py",
        "1 / len(differences) + test_over_train",
        "1 / len(differences)",
        ("tests/benchmark/test_statistics.py",),
    ),
    Planted(
        "no Holm",
        "benchmark/statistics.py",
        "min(1.0, (len(known) - rank) * p)",
        "p",
        ("tests/benchmark/test_statistics.py",),
    ),
)
