"""`python -m benchmark.audit` is `python -m benchmark audit`."""

import sys

from benchmark.commands.audit import main

if __name__ == "__main__":
    sys.exit(main())
