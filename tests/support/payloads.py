"""What those who mean harm put into files, and the sentence that answers it."""

import zipfile
from collections.abc import Callable
from pathlib import Path

DEEP = 100_000
NESTED = "[" * DEEP + "]" * DEEP
NPY = b"\x93NUMPY\x01\x00v\x00"
ZEROS = bytes(1 << 24)


class Bad:
    """Unpickling it leaves a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def npy(header: str) -> bytes:
    return NPY + header.ljust(117).encode() + b"\n"


def bomb(file: Path, name: str, size: int = 320 << 20) -> None:
    """A zip of some 300 kB whose one member unpacks to 320 MiB, and claims 2 GiB for its array."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made, made.open(name, "w", force_zip64=True) as member:
        member.write(npy("{'descr': '<i2', 'fortran_order': False, 'shape': (1073741760,), }"))
        for _ in range(size >> 24):
            member.write(ZEROS)


def refused(main: Callable[[list[str]], int], arguments: list[str], canary: Path, capsys) -> None:
    """See a sentence of one line, exit status 2, no code run, and the run not begun."""
    capsys.readouterr()
    assert main(arguments) == 2
    err = capsys.readouterr().err
    last = err.strip().splitlines()[-1]
    assert last.startswith(("run_all.py: ", "benchmark.report: ")) and "Traceback" not in err
    assert not canary.exists() and not (canary.parent / "run" / "fits").exists()
