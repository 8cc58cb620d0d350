"""A run against accepted numbers: whether they can be compared, and what is not as accepted."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmark.check.golden import Golden
from benchmark.check.measured import MEAN, Measured
from benchmark.check.regression import Comparison, compare
from benchmark.contracts import InputError

_CHOSEN = ("folds", "recipe", "encoder", "text_tower", "settings")  # what the command line or a preset sets
_GIVEN = ("cohort", "nodules", "fold_assignment")  # what follows from the source, the label rule and our code


@dataclass(frozen=True)
class Verdict:
    """What a run's comparison with accepted numbers found.

    Attributes:
        comparisons: Every score that both have; none where the cohort is another.
        faults: What else is not as accepted, a sentence each.
        new: Rows that the accepted numbers lack, which nothing was compared with.
    """

    comparisons: list[Comparison]
    faults: list[str]
    new: list[str]

    @property
    def regressions(self) -> list[Comparison]:
        """Scores outside what folds and seeds allow."""
        return [comparison for comparison in self.comparisons if comparison.is_regression]

    @property
    def passes(self) -> bool:
        """Whether nothing is amiss."""
        return not self.regressions and not self.faults


def judge(golden: Golden, run: Measured) -> Verdict:
    """Compare a run with accepted numbers.

    Raises:
        InputError: The run was made with other settings, so nothing can be said.
    """
    found = run.identity.plain()
    for key in _CHOSEN:
        if golden.identity.get(key) != found[key]:
            raise InputError(
                f"cannot compare {run.folder} with {golden.path}: another {key.replace('_', ' ')} "
                f"({_differing(golden.identity.get(key), found[key])}); run the preset as it stands, "
                "or accept this run with --accept REASON"
            )
    others = [key for key in _GIVEN if golden.identity.get(key) != found[key]]
    if others:
        what = "another cohort" if "cohort" in others else "another assignment of nodules to folds"
        key = others[0]
        return Verdict([], [f"{what}: {_differing(golden.identity.get(key), found[key])}"], [])
    faults = [*_missing(golden, run), *_other_tests(golden, run)]
    new = sorted({row for row, _, _ in run.cells} - {row for row, _, _ in golden.cells})
    return Verdict(compare(golden.cells, run.cells, run.nodules, run.references), faults, new)


def _missing(golden: Golden, run: Measured) -> Iterator[str]:
    """Say which accepted scores the run lacks, once a row and reason."""
    gone: dict[str, list[str]] = {}
    for row, section, _ in golden.cells:
        if section != MEAN and not any(key[:2] == (row, section) for key in run.cells):
            gone.setdefault(row, [])
            if section not in gone[row]:
                gone[row].append(section)
    for row, sections in gone.items():
        label_sets = {run.sections[section].protocol.label_set for section in sections if section in run.sections}
        why = [reason for (key, label_set), reason in run.failed.items() if key == row and label_set in label_sets]
        yield f"row {row} is missing on {', '.join(sections)}" + "".join(f" ({reason})" for reason in why)


def _other_tests(golden: Golden, run: Measured) -> Iterator[str]:
    for (row, label_set), digest in run.tests.items():
        if golden.tests.get(label_set, digest) != digest:
            yield f"row {row} was tested on other nodules or labels than accepted on label set {label_set}"


def _differing(accepted: object, found: object) -> str:
    """Say how two values differ, naming only the parts that do, and long digests by their beginning."""
    if isinstance(accepted, dict) and isinstance(found, dict):
        parts = [key for key in {**accepted, **found} if accepted.get(key) != found.get(key)]
        return ", ".join(f"{key} {accepted.get(key)} accepted, {found.get(key)} here" for key in parts)
    return f"{str(accepted)[:12]} accepted, {str(found)[:12]} here"
