"""Check a run against accepted and published numbers: `python -m benchmark.check RUN [--accept REASON]`.

Exit status: 0 within what folds and seeds allow, 1 a regression, 2 bad input or nothing to compare with.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmark.check import golden, report
from benchmark.check.equivalence import agreements, load_margins
from benchmark.check.measured import Measured, read
from benchmark.check.verdict import judge
from benchmark.commandline import Parser
from benchmark.commandline import path as path_of
from benchmark.contracts import InputError
from benchmark.published import load
from benchmark.screen import consoles, guarded, say

LIDC = "LIDC"  # the collection that the published numbers speak of
RESULTS = Path(__file__).resolve().parents[2] / "results"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = Parser(prog="python -m benchmark.check", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("run", type=path_of, metavar="RUN", help="a run folder, such as results/runs/...")
    parser.add_argument("--accept", metavar="REASON", help="make this run the golden one; say why")
    parser.add_argument(
        "--results", type=path_of, default=RESULTS, metavar="FOLDER", help="holds golden/, published/ and margins.toml"
    )

    def check() -> int:
        options = parser.parse_args(argv)
        run = read(options.run)
        path = options.results / "golden" / f"{run.name}.toml"
        if options.accept is not None:
            return _accept(run, path, options.accept)
        return _check(run, path, options.results)

    return guarded("benchmark.check", check)


def _accept(run: Measured, path: Path, reason: str) -> int:
    golden.accept(run, path, reason)
    out, _ = consoles(report.WIDTH)
    rows = {key.row for key in run.cells}
    say(out, f"Accepted {len(run.cells)} scores of {len(rows)} rows: {path}")
    if all(cell.seeds == 1 for cell in run.cells.values()):
        out.print(
            "One seed a fold: a run with --seeds 2 or more tells how much a seed moves, and finds smaller faults."
        )
    return 0


def _check(run: Measured, path: Path, results: Path) -> int:
    out, _ = consoles(report.WIDTH)
    margins = load_margins(results / "margins.toml")
    published = sorted((results / "published").glob("*.toml")) if run.identity.collection == LIDC else []
    for file in published:
        paper = load(file)
        report.print_agreement(out, paper, run, list(agreements(paper, run, margins)))
    if not path.exists():
        raise InputError(
            f"cannot compare {run.folder}: there are no golden numbers {path}; "
            'a run that you trust becomes them by --accept "reason"'
        )
    accepted = golden.load(path)
    verdict = judge(accepted, run)
    report.print_verdict(out, accepted, run, verdict)
    return 0 if verdict.passes else 1
