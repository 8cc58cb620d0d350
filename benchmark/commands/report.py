"""Make the report of a run again: `python -m benchmark report RUN [--plugin FILE] [--out FILE]`.

It is one HTML file, `report.html` in the run's folder, and is made only if a record or the report's code has changed.
"""

from collections.abc import Sequence
from pathlib import Path

import datasets
import methods
from benchmark import archive, choose, plugins, references
from benchmark.commandline import Parser
from benchmark.commandline import path as path_of
from benchmark.places import writable_file
from benchmark.report import NAME, Known, write
from benchmark.screen import consoles, guarded, say
from datasets import protocols


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = Parser(prog="python -m benchmark report", description=__doc__.partition(":")[0] + ".")
    parser.add_argument(
        "run", type=path_of, metavar="RUN", help="a run folder, or a packed run such as results/golden/*.tar.xz"
    )
    parser.add_argument(
        "--plugin", type=path_of, action="append", default=[], metavar="FILE", help="defines rows of the run"
    )
    parser.add_argument(
        "--out",
        type=path_of,
        metavar="FILE",
        help="write it there (default: RUN/report.html, or ./report.html of a packed run)",
    )

    def report() -> int:
        options = parser.parse_args(argv)
        plugins.load(options.plugin, methods.ROWS, datasets.COLLECTIONS)
        rows = choose.join(methods.ROWS, references.ROWS)
        known = Known.of(rows, protocols.LABEL_RULES, datasets.SOURCES, protocols.classify)
        if options.out is not None:
            writable_file(options.out, "--out", NAME)
        file = options.out or (Path(NAME) if options.run.is_file() else options.run / NAME)
        with archive.opened(options.run) as folder:
            made = write(folder, known, file)
        say(consoles()[0], f"Written to {file}" if made else f"{file} is up to date")
        return 0

    return guarded("benchmark.report", report)
