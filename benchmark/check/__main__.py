"""`python -m benchmark.check` is `python -m benchmark check`."""

import sys

from benchmark.commands.check import main

if __name__ == "__main__":
    sys.exit(main())
