"""`python -m benchmark COMMAND`: one of the files in `benchmark/commands`."""

import importlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.contracts import InputError
from benchmark.screen import consoles, guarded, say

COMMANDS = sorted(path.stem for path in Path(__file__).with_name("commands").glob("[a-z]*.py"))


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the command line on to its command; return the exit status."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]

    def show_or_refuse() -> int:
        if name not in ("-h", "--help"):
            what = f"there is no command {name!r}" if name else "no command was given"
            raise InputError(f"{what}: choose from {', '.join(COMMANDS)}")
        out, _ = consoles()
        say(out, f"usage: python -m benchmark COMMAND ...; commands: {', '.join(COMMANDS)}; each takes --help")
        return 0

    if name not in COMMANDS:
        return guarded("benchmark", show_or_refuse)
    status: int = importlib.import_module(f"benchmark.commands.{name}").main(rest)
    return status


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # a command's imports take seconds: until then Ctrl-C needs no word
    sys.exit(main())
