import os

import pytest
from hypothesis import settings

# Anyone's run looks for new counterexamples; CI repeats the same ones, so that a commit stands or falls by itself.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-windows", action="store_true", help="cut every window of 5 to 20 patients, not 500 of them (minutes)"
    )
