"""Audit published numbers: can they be what they claim? `python -m benchmark.audit [FILE...] [--json]`."""

import json
from collections.abc import Sequence
from pathlib import Path

from benchmark.audit.paper import audit
from benchmark.audit.report import as_data, markdown
from benchmark.commandline import Parser, path
from benchmark.contracts import InputError
from benchmark.published import load
from benchmark.screen import guarded

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the audit of each file; status 2 on bad input, else 0: disagreeing with a paper is no failure."""
    parser = Parser(prog="python -m benchmark.audit", description=__doc__)
    parser.add_argument("files", nargs="*", type=path, metavar="FILE", help="default: results/published/*.toml")
    parser.add_argument("--json", action="store_true", help="print all that was found as JSON")

    def print_audits() -> int:
        options = parser.parse_args(arguments)
        paths = options.files or sorted(PUBLISHED.glob("*.toml"))
        if not paths:
            raise InputError(f"{PUBLISHED}: holds no .toml file; name the file to audit")
        audits = [audit(load(path)) for path in paths]
        if options.json:
            print(json.dumps([as_data(result) for result in audits], indent=1))
        else:
            print("\n".join(map(markdown, audits)), end="")
        return 0

    return guarded("benchmark.audit", print_audits)
