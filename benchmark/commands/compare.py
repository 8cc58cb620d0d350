"""Compare two finished runs: `python -m benchmark compare RUN_A RUN_B`.

What differs in settings, and for every row and dataset that both have accuracy and macro F1, with the interval of the
difference where the runs test the same nodules in the same folds. Exit status: 0, or 2 for bad input.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import methods
from benchmark import archive, references
from benchmark.check.measured import read
from benchmark.commandline import Parser
from benchmark.commandline import path as path_of
from benchmark.compare.differences import Side
from benchmark.compare.report import print_comparison
from benchmark.run import Run
from benchmark.screen import consoles, guarded


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = Parser(prog="python -m benchmark compare", description=__doc__.partition(":")[0] + ".")
    parser.add_argument(
        "a", type=path_of, metavar="RUN_A", help="a run folder, such as results/runs/..., or a packed run"
    )
    parser.add_argument("b", type=path_of, metavar="RUN_B", help="the run that is compared with it")

    def compare() -> int:
        options = parser.parse_args(argv)
        a, b = _side(options.a), _side(options.b)
        titles = {key: row.title for key, row in (methods.ROWS | references.ROWS).items()}
        print_comparison(consoles()[0], a, b, titles)
        return 0

    return guarded("benchmark.compare", compare)


def _side(run: Path) -> Side:
    """Read a run, a packed one too."""
    with archive.opened(run) as folder:
        return Side(replace(read(folder), folder=run), Run.open(folder).metadata())
