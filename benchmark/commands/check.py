"""Check a run against accepted and published numbers: `python -m benchmark.check RUN [--complete | --accept REASON]`.

Exit status: 0 within what folds and seeds allow, 1 a regression, 2 bad input or nothing to compare with.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import methods
from benchmark import archive, references
from benchmark.check import golden, report
from benchmark.check.equivalence import agreements, load_margins
from benchmark.check.measured import Measured, read
from benchmark.check.verdict import absent, judge
from benchmark.commandline import Parser
from benchmark.commandline import path as path_of
from benchmark.contracts import InputError
from benchmark.identity import as_set, fit_key
from benchmark.published import load
from benchmark.screen import consoles, guarded, say

LIDC = "LIDC"  # the collection that the published numbers speak of
RESULTS = Path(__file__).resolve().parents[2] / "results"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = Parser(prog="python -m benchmark.check", description=__doc__.partition(":")[0] + ".")
    parser.add_argument(
        "run", type=path_of, metavar="RUN", help="a run folder, such as results/runs/..., or a packed run"
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--accept", metavar="REASON", help="make this run the golden one; say why")
    either.add_argument(
        "--complete",
        action="store_true",
        help="rows or datasets that the accepted numbers have and the run lacks are a regression",
    )
    either.add_argument("--pack", type=path_of, metavar="FILE.tar.xz", help="write the run's records into one file")
    parser.add_argument(
        "--results", type=path_of, default=RESULTS, metavar="FOLDER", help="holds golden/, published/ and margins.toml"
    )

    def check() -> int:
        options = parser.parse_args(argv)
        try:
            if options.pack is not None:
                number = archive.pack(options.run, options.pack)
                say(consoles(report.WIDTH)[0], f"Packed {number} records: {options.pack}")
                return 0
            with archive.opened(options.run) as folder:
                run = replace(read(folder), folder=options.run)
            if run.identity.splits_patients:
                raise InputError(
                    f"the folds of {options.run} ignore patients, so its numbers are no result, to be checked or "
                    "accepted: give the run that it stands beside"
                )
            _warn(run)
            path = options.results / "golden" / f"{run.name}.toml"
            if options.accept is not None:
                return _accept(run, path, options.accept)
            return _check(run, path, options.results, options.complete)
        except OSError as error:
            place, why = error.filename or options.run, error.strerror or error
            raise InputError(f"{place}: {why}; see to it, or give another folder") from error

    return guarded("benchmark.check", check)


def _warn(run: Measured) -> None:
    """Say which records other code than this checkout's made; of a plugin's rows nobody here can tell."""
    stale = {}
    for key, row in (methods.ROWS | references.ROWS).items():
        if key in run.keys:
            here = fit_key(run.identity, as_set(row, run.identity.settings), weights=run.weights)
            stale[key] = run.keys[key].total() - run.keys[key][here]
    if rows := ", ".join(f"{key} ({number})" for key, number in stale.items() if number):
        out, _ = consoles(report.WIDTH)
        out.print(
            f"Rows with records that other code than this checkout's made, whose numbers are theirs: {rows}.",
            style="bold yellow",
        )


def _accept(run: Measured, path: Path, reason: str) -> int:
    dropped: list[str] = []
    with suppress(InputError):  # there are none yet, or damaged ones
        dropped = absent(golden.load(path), run)
    golden.accept(run, path, reason)
    out, _ = consoles(report.WIDTH)
    rows = {key.row for key in run.cells}
    say(out, f"Accepted {len(run.cells)} scores of {len(rows)} rows: {path}")
    if dropped:
        say(out, f"No longer accepted, since not in this run: {'; '.join(dropped)}")
    if all(cell.seeds == 1 for cell in run.cells.values()):
        out.print(
            "One seed a fold: a run with --seeds 2 or more tells how much a seed moves, and finds smaller faults."
        )
    return 0


def _check(run: Measured, path: Path, results: Path, complete: bool) -> int:
    out, _ = consoles(report.WIDTH)
    published = sorted((results / "published").glob("*.toml")) if run.identity.collection == LIDC else []
    margins = load_margins(results / "margins.toml") if published else {}
    for file in published:
        paper = load(file)
        report.print_agreement(out, paper, run, list(agreements(paper, run, margins)))
    if not path.exists() and run.is_sample:
        raise InputError(
            f"cannot compare {run.folder}: it rests on a sample of {run.identity.nodules:,} nodules, which is not "
            f"compared with accepted numbers of the whole cohort, and there are none of such a sample in {path}; "
            'a run that you trust gives them by --accept "reason"'
        )
    if not path.exists():
        raise InputError(
            f"cannot compare {run.folder}: there are no golden numbers {path}; "
            'a run that you trust becomes them by --accept "reason"'
        )
    accepted = golden.load(path)
    verdict = judge(accepted, run)
    if complete:
        verdict = verdict.of_a_complete_run()
    report.print_verdict(out, accepted, run, verdict)
    return 0 if verdict.passes else 1
