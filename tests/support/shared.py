"""Files that lie beside the checkout and never in it: real CT, and where the public bucket keeps it.

`LIDC_SHARED` names their folder; without it they are looked for in `shared/data` beside the checkout. A test that uses
one skips, with a reason that names the file and the variable, where it is not there.
"""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("LIDC_SHARED") or Path(__file__).resolve().parents[3] / "shared" / "data")
SCAN = FOLDER / "LIDC-IDRI-0001.zip"
SLICES = FOLDER / "real_ct_slices_open.npz"


def reason(file: Path) -> str:
    """Say why a test that uses a file skips."""
    return f"{file.name} is not here: set LIDC_SHARED to the folder that holds it"


def needs(file: Path) -> pytest.MarkDecorator:
    """Mark a test that uses a file."""
    return pytest.mark.skipif(not file.is_file(), reason=reason(file))


def require(file: Path) -> Path:
    """Return a file for a fixture, whose tests skip where it is not there."""
    if not file.is_file():
        pytest.skip(reason(file))
    return file
