"""Folders of nodules of one's own."""

import csv
import io
import shutil

import numpy as np
import pytest


@pytest.fixture
def crop():
    """A finished crop whose every voxel is another number."""
    return (np.arange(32**3).reshape(32, 32, 32) % 1999 - 1000).astype(np.int16)


@pytest.fixture
def folder(tmp_path, crop):
    """Write rows, each over defaults that are right, as nodules.csv beside finished crops `a.npy`, `a1.npy`, ..."""
    root = tmp_path / "My nodules (1)"
    root.mkdir()
    np.save(root / "a.npy", crop)

    def write(*rows, encoding="utf-8", delimiter=","):
        names = [f"a{number or ''}.npy" for number in range(len(rows))]
        whole = [
            {"nodule_id": f"n{number}", "patient_id": f"p{number}", "file": names[number], "label": "benign", **row}
            for number, row in enumerate(rows)
        ]
        for name in names[1:]:
            shutil.copyfile(root / "a.npy", root / name)
        text = io.StringIO(newline="")
        columns = dict.fromkeys(name for row in whole for name in row)
        writer = csv.DictWriter(text, list(columns) or ["nodule_id"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(whole)
        (root / "nodules.csv").write_bytes(text.getvalue().encode(encoding))
        return root

    return write
