"""The audit in sentences."""

from collections.abc import Iterable, Iterator, Sequence

from benchmark.audit.claims import Unaudited
from benchmark.audit.paper import Audit
from benchmark.audit.remarks import Coincidence, Evenness
from benchmark.audit.testsets import FoundSet
from benchmark.audit.verdicts import Verdict
from benchmark.published import Published


def sentences(audit: Audit) -> Iterator[str]:
    """Yield the findings, the most important first."""
    verdicts = audit.verdicts
    yield (
        f"{len(verdicts)} of the {len(verdicts) + len(audit.unaudited)} printed results (a method on a data set) give "
        "accuracy, recall and F1 of every class, enough to be audited."
    )
    for number, found in enumerate(audit.test_sets, 1):
        members = [v for v in verdicts if v.fit and v.fit.test_set == number]
        yield (
            f"Test set {number}, {sum(found.sizes)} nodules ({class_sizes(found)}): {len(members)} of {len(verdicts)} "
            f"rows fit it, each by one confusion matrix of whole nodules ({grouped(audit, members)}). By chance one "
            f"would expect {max(found.expected, 1e-300):.0e} such test sets."
        )
    odd = [verdict for verdict in verdicts if not verdict.fit]
    if audit.test_sets and odd:
        yield (
            f"No test set found fits the other {len(odd)} ({grouped(audit, odd)}). What would mend each is said below."
        )
    yield from _impossibilities(audit)
    yield from _power(audit)
    yield from _decisions(audit)
    if audit.published.folds > 1 and audit.test_sets:
        yield _folds(audit)
    if audit.evenness:
        yield _evenness(audit.evenness, audit.published.folds)
    for coincidence in audit.coincidences:
        yield _coincidence(coincidence, audit.published)


def class_sizes(found: FoundSet) -> str:
    """Return "223 benign, 101 malignant"."""
    return ", ".join(f"{size} {name}" for size, name in zip(found.sizes, found.classes, strict=True))


def odds(share: float) -> str:
    """Return a small share as "1 in 7,300", two digits exact."""
    if share == 0:
        return "none"
    return f"{share:.0%}" if share > 0.1 else f"1 in {int(float(f'{1 / share:.2g}')):,}"


def grouped(audit: Audit, rows: Iterable[Verdict | Unaudited]) -> str:
    """Return rows by protocol: "LIDC-A: CE Loss, NSB; LIDC-C: CLIP"."""
    methods: dict[str, list[str]] = {}
    for row in rows:
        title = audit.published.protocols[row.protocol].title
        methods.setdefault(title, []).append(audit.published.methods[row.method])
    return "; ".join(f"{title}: {', '.join(names)}" for title, names in methods.items()) or "none"


def _methods(audit: Audit, verdicts: Sequence[Verdict]) -> str:
    return ", ".join(audit.published.methods[verdict.method] for verdict in verdicts) or "no row"


def _impossibilities(audit: Audit) -> Iterator[str]:
    """Say what no choice of class sizes up to the limit can do."""
    nothing = [verdict for verdict in audit.verdicts if not verdict.alone]
    if nothing:
        yield (
            f"No test set of up to {audit.limit:,} nodules, whatever its class sizes, fits any of these rows: "
            f"{grouped(audit, nothing)}."
        )
    crowded = []
    for key, most in audit.most_at_once.items():
        rows = sum(verdict.protocol == key for verdict in audit.verdicts)
        if most < rows:
            crowded.append(f"{most} of the {rows} rows of {audit.published.protocols[key].title}")
    if crowded:
        yield (
            f"No test set of up to {audit.limit:,} nodules fits more than {', '.join(crowded)} at once: the rows of a "
            "table are not all single confusion matrices of the same test set."
        )


def _power(audit: Audit) -> Iterator[str]:
    """Say how much a fit is worth."""
    fits = [verdict.fit for verdict in audit.verdicts if verdict.fit]
    if fits:
        chances, powers = [fit.chance for fit in fits], [fit.power for fit in fits]
        chance = _span(odds(min(chances)), odds(max(chances)))
        caught = _span(f"{min(powers):.0%}", f"{max(powers):.0%}")
        yield (
            f"Power: a row with arbitrary last digits would fit its test set with a chance of {chance}; one altered "
            f"last digit is caught in {caught} of all cases."
        )


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _decisions(audit: Audit) -> Iterator[str]:
    """Say for protocols with untested classes whether wrong decisions include those."""
    for key, protocol in audit.published.protocols.items():
        rows = [verdict for verdict in audit.verdicts if verdict.protocol == key]
        if not protocol.untested or not rows:
            continue
        fits = [(verdict, verdict.fit.outside) for verdict in rows if verdict.fit]
        called = " or ".join(protocol.untested)
        never = [verdict for verdict, (_, most) in fits if most == 0]
        some = [verdict for verdict, (least, _) in fits if least > 0]
        yield (
            f"Wrong decisions on {protocol.title}, at the sizes found: {_methods(audit, never)} called none {called}, "
            f"as if deciding between {' and '.join(protocol.classes)} only; {_methods(audit, some)} called some "
            f"{called}; {len(rows) - len(never) - len(some)} of the {len(rows)} rows are not decided."
        )
        impossible = [verdict for verdict in rows if not verdict.alone_restricted]
        if impossible:
            yield (
                f"If no nodule was called {called}, {_methods(audit, impossible)} fit no test set of up to "
                f"{audit.limit:,} nodules on {protocol.title}, whatever its class sizes."
            )


def _folds(audit: Audit) -> str:
    published = audit.published
    totals = " and ".join(f"{published.folds * sum(found.sizes):,}" for found in audit.test_sets)
    sentence = (
        f"The paper reports means over {published.folds} folds of {published.nodules:,} nodules; {published.folds} "
        f"test sets of the sizes found would hold {totals}."
    )
    odd = [
        (verdict, {misfit.folds.answer for misfit in verdict.misfits}) for verdict in audit.verdicts if not verdict.fit
    ]
    if not odd:
        return sentence
    able = [verdict for verdict, answers in odd if "possible" in answers]
    never = [verdict for verdict, answers in odd if answers <= {"impossible"}]
    return sentence + (
        f" Of the {len(odd)} rows that fit none, {len(able)} can be a mean over {published.folds} test sets of one of "
        f"these sizes ({grouped(audit, able)}), {len(never)} cannot ({grouped(audit, never)})"
        + (f", and {rest} are undecided." if (rest := len(odd) - len(able) - len(never)) else ".")
    )


def _evenness(rows: Sequence[Evenness], folds: int) -> str:
    printed, sampling = [row.printed for row in rows], [row.sampling for row in rows]
    # Rows share their nodules. Twice the mean of p-values is a p-value however they depend on each other.
    deviation = min(1.0, 2 * sum(row.as_deviation for row in rows) / len(rows))
    error = min(1.0, 2 * sum(row.as_standard_error for row in rows) / len(rows))
    return (
        f"The accuracies of the rows that fit carry ± {min(printed)} to {max(printed)}. Between {folds} folds of such "
        f"sizes, sampling alone makes a standard deviation of {min(sampling):.1f} to {max(sampling):.1f} points. That "
        f"all are so small has a chance of at most {deviation:.2g} if ± is the standard deviation over the folds, and "
        f"of at most {error:.2g} if it is the standard error of the mean (nodules independent, rows not)."
    )


def _coincidence(found: Coincidence, published: Published) -> str:
    one, other = (published.methods[key] for key in found.methods)
    places = ", ".join(sorted({cell.place for pair in found.shared for cell in pair}))
    sentence = f"{one} and {other} print the same {len(found.shared)} values ({places})"
    if not found.differing:
        return sentence + " and the same deviations."
    pairs = (
        f"{published.protocols[a.protocol].title} {a.metric} {a.value} ± {a.std} in {a.place}, ± {b.std} in {b.place}"
        for a, b in found.differing
    )
    return f"{sentence}, but not the same deviations: {'; '.join(pairs)}."
