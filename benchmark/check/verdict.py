"""A run against accepted numbers: whether they can be compared, and what is not as accepted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from benchmark.check.golden import Golden
from benchmark.check.measured import MEAN, Measured
from benchmark.check.regression import Comparison, compare
from benchmark.contracts import InputError, Json
from benchmark.runfile import another, short
from benchmark.scores import ScoreKey

_CHOSEN = ("folds", "recipe", "encoder", "text_tower", "settings")  # what the command line or a preset sets
_LATER: dict[str, dict[str, Json]] = {"recipe": {"ema": 0.0}}  # settings that numbers accepted before do not name
_GIVEN = ("cohort", "nodules", "fold_assignment")  # what follows from the source, the label rule and our code


@dataclass(frozen=True)
class Verdict:
    """What a run's comparison with accepted numbers found.

    Attributes:
        comparisons: Every score that both have; none where the cohort is another.
        faults: What else is not as accepted, a sentence each.
        absent: Rows and sections that the accepted numbers have and the run does not, which were not compared.
        new: Those that the run has and the accepted numbers do not.
        left: Other accepted scores that were not compared, by the reason.
    """

    comparisons: list[Comparison]
    faults: list[str]
    absent: list[str]
    new: list[str]
    left: dict[str, list[str]] = field(default_factory=dict)

    @property
    def regressions(self) -> list[Comparison]:
        """Scores outside what folds and seeds allow."""
        return [comparison for comparison in self.comparisons if comparison.is_regression]

    @property
    def passes(self) -> bool:
        """Whether nothing is amiss."""
        return not self.regressions and not self.faults

    def of_a_complete_run(self) -> "Verdict":
        """Return what is to be said where the run had to have all that was accepted: what is absent is a fault."""
        return replace(self, faults=[*self.faults, *(f"not in this run: {what}" for what in self.absent)], absent=[])


def judge(golden: Golden, run: Measured) -> Verdict:
    """Compare a run with accepted numbers.

    Raises:
        InputError: The run was made with other settings, or has no accepted score, so nothing can be said.
    """
    found = run.identity.plain(run.weights)
    for key in _CHOSEN:
        accepted, here = _of_both(_completed(key, golden.identity.get(key)), found[key])
        if accepted != here:
            raise InputError(
                f"cannot compare {run.folder} with {golden.path}: {another(key)} "
                f"({_differing(accepted, here)}); run the preset as it stands, or accept this run with --accept REASON"
            )
    others = [key for key in _GIVEN if golden.identity.get(key) != found[key]]
    if others:
        what = "another cohort" if "cohort" in others else "another assignment of nodules to folds"
        key = others[0]
        return Verdict([], [f"{what}: {_differing(golden.identity.get(key), found[key])}"], [], [])
    faults = [*_missing(golden, run), *_other_tests(golden, run)]
    comparisons = compare(golden.cells, run.cells, run.nodules, run.references)
    if not comparisons and not faults:
        raise InputError(
            f"cannot compare {run.folder} with {golden.path}: they have no score in common; "
            "run rows and datasets that were accepted, or accept this run with --accept REASON"
        )
    new = _named(_rows(run.cells) - _rows(golden.cells), _sections(run.cells) - _sections(golden.cells))
    return Verdict(comparisons, faults, absent(golden, run), new, _left(golden, run, comparisons))


def _completed(key: str, accepted: Json) -> Json:
    """Add to accepted numbers the settings that were made later, as all runs had them until then."""
    return _LATER.get(key, {}) | accepted if isinstance(accepted, dict) else accepted


def _of_both(accepted: Json, found: Json) -> tuple[Json, Json]:
    """Leave the text tower's weights out where only one has them: that other had no row that reads text."""
    both = [value for value in (accepted, found) if isinstance(value, dict)]
    if len(both) == 2 and sum("weights" in value for value in both) == 1:
        accepted, found = ({k: v for k, v in value.items() if k != "weights"} for value in both)
    return accepted, found


def absent(golden: Golden, run: Measured) -> list[str]:
    """Name the rows and sections that the accepted numbers have and the run was not asked for."""
    return _named(_rows(golden.cells) - run.rows, _sections(golden.cells) - set(run.sections))


def _rows(cells: Iterable[ScoreKey]) -> set[str]:
    return {key.row for key in cells}


def _sections(cells: Iterable[ScoreKey]) -> set[str]:
    return {key.section for key in cells} - {MEAN}


def _named(rows: Iterable[str], sections: Iterable[str]) -> list[str]:
    """Return rows and sections as a phrase each, where there are any."""
    named = {"row": sorted(rows), "section": sorted(sections)}
    return [f"{kind}{'s' * (len(names) > 1)} {', '.join(names)}" for kind, names in named.items() if names]


def _missing(golden: Golden, run: Measured) -> Iterator[str]:
    """Say which accepted scores of its own rows and sections the run lacks, once a row and reason."""
    scored = {(key.row, key.section) for key in run.cells}
    gone: dict[str, list[str]] = {}
    for row, section in dict.fromkeys((key.row, key.section) for key in golden.cells):
        if row in run.rows and section in run.sections and (row, section) not in scored:
            gone.setdefault(row, []).append(section)
    for row, sections in gone.items():
        label_sets = {run.sections[section].protocol.label_set for section in sections}
        why = [reason for (key, label_set), reason in run.failed.items() if key == row and label_set in label_sets]
        yield f"row {row} is missing on {', '.join(sections)}" + "".join(f" ({reason})" for reason in why)


def _left(golden: Golden, run: Measured, compared: Iterable[Comparison]) -> dict[str, list[str]]:
    """Name the accepted scores that were not compared though the run has their row and section, and say why."""
    found: dict[str, list[str]] = {}
    scored, done = {(key.row, key.section) for key in run.cells}, {one.key for one in compared}
    for key in golden.cells:
        if key in done or key.row not in run.rows:
            continue
        if key in run.cells:
            why = "undefined in every fold, here or there"
        elif key.section == MEAN:
            why = "a mean over label sets, which this run lacks"
        elif (key.row, key.section) in scored:
            why = "this run has no such score"
        else:  # its section was not asked for, or is missing, which is a fault
            continue
        found.setdefault(why, []).append(" ".join(key))
    return found


def _other_tests(golden: Golden, run: Measured) -> Iterator[str]:
    for (row, label_set), digest in run.tests.items():
        if golden.tests.get(label_set, digest) != digest:
            yield f"row {row} was tested on other nodules or labels than accepted on label set {label_set}"


def _differing(accepted: object, found: object) -> str:
    """Say how two values differ, naming only the parts that do, and hashes by their beginning."""
    if isinstance(accepted, dict) and isinstance(found, dict):
        parts = [key for key in {**accepted, **found} if accepted.get(key) != found.get(key)]
        return ", ".join(f"{key} {accepted.get(key)} accepted, {found.get(key)} here" for key in parts)
    return f"{short(str(accepted))} accepted, {short(str(found))} here"
