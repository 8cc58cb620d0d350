"""`python -m benchmark COMMAND`: one of the files in `benchmark/commands`."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

COMMANDS = sorted(path.stem for path in Path(__file__).with_name("commands").glob("[a-z]*.py"))


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the command line on to its command; return the exit status."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(f"usage: python -m benchmark COMMAND ...; commands: {', '.join(COMMANDS)}; each takes --help")
        return 0
    if name not in COMMANDS:
        print(f"benchmark: there is no command {name!r}: choose from {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    status: int = importlib.import_module(f"benchmark.commands.{name}").main(rest)
    return status


if __name__ == "__main__":
    sys.exit(main())
