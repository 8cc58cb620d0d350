"""An audit as a page for a researcher (Markdown), and as data (JSON)."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal
from statistics import stdev

from tabulate import tabulate

from benchmark.audit.alterations import Mend
from benchmark.audit.paper import Audit
from benchmark.audit.summary import class_sizes, grouped, odds, sentences
from benchmark.audit.testsets import PROOF
from benchmark.audit.verdicts import Misfit, Verdict

_HOW_TO_READ = """\
A recall is c/n, an F1 score 2c/(n + m), an accuracy sum(c)/sum(n), for whole numbers of nodules n, of decisions m for
the class, and of correct decisions c. A printed number stands for all values that round to it, and a value exactly half
way for both its neighbours; where a verdict rests on such a value, that is said. All class sizes up to {limit:,}
nodules in all are tried, and for each whether any confusion matrix prints the row: exact integers, no sampling.

- *Sizes alone*: how many choices of class sizes fit the row by itself. Many mean little, since large test sets fit most
  rows. None at all is a strong statement.
- *Test set found*: class sizes that fit so many rows that chance explains it no longer. *Expected by chance* is the
  number of test sets, no larger, that would fit as many arbitrary rows; found means below {proof:g}. Classes of the
  same name in different data sets are taken to be the same nodules.
- *Arbitrary rows that fit*: the share of all rows whose every number lies within five units of the last digit of this
  row's. "At most" beside a mend or another rounding: about that share of arbitrary rows, or less, is mended as cheaply.
- *Altered digit caught*: the share of all replacements of one last digit with which the row would no longer fit. This
  is the audit's power against a misprint.
- *A mean over folds* is tried only with folds of the class sizes found. Recalls and accuracy are then still tied by
  whole numbers, and {tie_power} of the altered last digits in the rows that fit would break that tie. The means of F1
  scores are not tied by anything tested here. For folds of other or unequal sizes the audit has no power at all.
- That a row fits does not prove that it was measured so. That it does not fit names no reason: a misprint, a mean over
  folds, another test set and another way of counting are all possible.
- Not audited: {unaudited}.
"""


def as_data(audit: Audit) -> dict[str, object]:
    """Return the audit as JSON-able data, without the numbers that it audits."""
    found = {name: _plain(value) for name, value in asdict(audit).items() if name != "published"}
    return {"paper": audit.published.name, **found}


def _plain(value: object) -> object:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case Decimal():
            return str(value)
        case _:
            return value


def markdown(audit: Audit) -> str:
    """Return the whole page."""
    published = audit.published
    fits = [verdict.fit for verdict in audit.verdicts if verdict.fit]
    tie_power = f"{sum(fit.tie_power for fit in fits) / len(fits):.0%}" if fits else "none"
    blocks = [
        f"# Audit of {published.title} ({published.venue})",
        f"Written by `python -m benchmark.audit` from `{published.name}.toml` alone; do not edit.",
        "## Summary",
        "\n".join(f"- {sentence}" for sentence in sentences(audit)),
        "## Test sets found",
        _test_sets(audit),
        *(block for key in audit.most_at_once for block in _protocol(audit, key)),
        "## How to read this",
        _HOW_TO_READ.format(limit=audit.limit, proof=PROOF, tie_power=tie_power, unaudited=_unaudited(audit)),
    ]
    return "\n\n".join(blocks)


def _unaudited(audit: Audit) -> str:
    reasons = {
        row.reason: [other for other in audit.unaudited if other.reason == row.reason] for row in audit.unaudited
    }
    return "; ".join(f"{grouped(audit, rows)} ({reason})" for reason, rows in reasons.items()) or "none"


def _table(lines: list[list[str]], headers: list[str]) -> str:
    return str(tabulate(lines, headers, tablefmt="github", disable_numparse=True))


def _test_sets(audit: Audit) -> str:
    if not audit.test_sets:
        return "None: no class sizes fit so many rows that chance is no explanation."
    lines = []
    for number, found in enumerate(audit.test_sets, 1):
        others = [sizes for sizes in found.same_rows if not _is_multiple(sizes, found.sizes)]
        also = f"{len(found.same_rows) - len(others)} multiples, {len(others)} others"
        if others:
            also += f" from {'/'.join(map(str, others[0]))} up"
        lines.append(
            [
                str(number),
                class_sizes(found),
                str(sum(found.sizes)),
                str(len(found.members)),
                f"{max(found.expected, 1e-300):.0e}",
                also,
            ]
        )
    return _table(
        lines, ["", "class sizes", "nodules", "rows", "expected by chance", "other sizes that fit these rows"]
    )


def _is_multiple(sizes: Sequence[int], of: Sequence[int]) -> bool:
    factor, rest = divmod(sizes[0], of[0])
    return rest == 0 and all(size == factor * unit for size, unit in zip(sizes, of, strict=True))


def _protocol(audit: Audit, key: str) -> Iterator[str]:
    """Yield one protocol's heading, table and remarks."""
    protocol, verdicts = audit.published.protocols[key], [v for v in audit.verdicts if v.protocol == key]
    called = " or ".join(protocol.untested)
    yield f"## {protocol.title} ({', '.join(dict.fromkeys(v.place for v in verdicts))})"
    yield (
        f"Matrices: a line for each true class, parted by /; decisions {', '.join(protocol.classes)}"
        + (f", and {called} last." if called else ".")
    )
    headers = ["row", "verdict", "a matrix", "sizes alone", "arbitrary rows that fit", "altered digit caught"]
    yield _table(
        [_line(audit, verdict, bool(called)) for verdict in verdicts],
        headers + [f"errors called {called}"] * bool(called),
    )
    remarks = [f"- {remark}" for verdict in verdicts for remark in _remarks(audit, verdict)]
    if remarks:
        yield "\n".join(remarks)


def _line(audit: Audit, verdict: Verdict, outside: bool) -> list[str]:
    alone = f"{verdict.alone:,}"
    if outside:
        alone += f", {verdict.alone_restricted:,} without such errors"
    name, fit = audit.published.methods[verdict.method], verdict.fit
    if fit is None:
        where = "found" if verdict.alone else "at all"
        return [name, f"fits no test set {where}", "", alone, "", ""] + ["not decided"] * outside
    matrix = " / ".join(" ".join(map(str, line)) for line in fit.matrix)
    cells = [name, f"fits test set {fit.test_set}", matrix, alone, odds(fit.chance), f"{fit.power:.0%}"]
    return cells + [_range(fit.outside)] * outside


def _range(outside: tuple[int, int]) -> str:
    low, high = outside
    return "none" if high == 0 else str(low) if low == high else f"{low} to {high}"


def _remarks(audit: Audit, verdict: Verdict) -> Iterator[str]:
    """Yield what is to be said of a row beyond its line in the table."""
    name, called = audit.published.methods[verdict.method], audit.published.protocols[verdict.protocol].untested
    if verdict.fit and len(verdict.fit.rules) < 2:
        rules = " or ".join(rule.replace("_", " ") for rule in verdict.fit.rules) or "a mixture of rules"
        yield f"{name}: rests on a value exactly half way, rounded by {rules}."
    if verdict.altered_alone is not None:
        unless = f" unless nodules were called {' or '.join(called)}" if called else ""
        yield (
            f"{name}: fits no class sizes at all{unless}, and with one last digit altered would for "
            f"{verdict.altered_alone:.0%} of the alterations."
        )
    mendable = tuple(misfit for misfit in verdict.misfits if misfit.mend or misfit.cut)
    for misfit in mendable or verdict.misfits:
        yield f"{name} and test set {misfit.test_set}: {_mending(audit, verdict, misfit)}"


def _mending(audit: Audit, verdict: Verdict, misfit: Misfit) -> str:
    published = audit.published
    if misfit.mend:
        parts = [f"mended by {_change(audit, verdict, misfit.mend)} (at most {odds(misfit.mend_chance)})"]
        if misfit.outside:
            called = " or ".join(published.protocols[verdict.protocol].untested)
            parts.append(f"the errors called {called} are then {_range(misfit.outside)}")
    else:
        parts = ["mended by no change of one number, nor of two by up to 20 units each"]
    if misfit.cut:
        how = "all digits are cut off" if misfit.cut == "cut" else "some digits are cut off and others rounded"
        parts.append(f"fits if {how} (at most {odds(misfit.cut_chance)})")
    if published.folds > 1:
        means = f"{misfit.folds.answer} as a mean over {published.folds} such test sets"
        if misfit.folds.matrices:
            accuracies = misfit.folds.accuracies
            std = published.by_key[verdict.protocol, verdict.method, "accuracy"].std
            means += f", for example with accuracies {', '.join(f'{a:.1f}' for a in accuracies)}"
            means += f", whose standard deviation is {stdev(accuracies):.1f}" + (f" (printed: ± {std})" if std else "")
        parts.append(means)
    return "; ".join(parts) + "."


def _change(audit: Audit, verdict: Verdict, change: Mend) -> str:
    classes = audit.published.protocols[verdict.protocol].classes
    names = ["accuracy", *(f"recall {name}" for name in classes), *(f"F1 {name}" for name in classes)]
    decimals = audit.published.by_key[verdict.protocol, verdict.method, "accuracy"].decimals
    changes = (
        f"changing {names[place]} from {old / 10**decimals:.{decimals}f} to {new / 10**decimals:.{decimals}f}"
        for place, old, new in change.changes
    )
    return " and ".join(changes) + (f", or in {change.ways - 1} other ways as small" if change.ways > 1 else "")
