"""A run's records in one file: packed to be published, unpacked for as long as they are read."""

import io
import lzma
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from benchmark.contracts import InputError
from benchmark.files import write_atomically
from benchmark.run import Run

_XZ = b"\xfd7zXZ\0"
_MEMORY = 2**27  # bytes that unpacking may use: an .xz names the memory that it wants
MOST = 2**30  # bytes unpacked: a run of quick has 40 MB, and a small file may promise terabytes


def pack(folder: Path, file: Path) -> int:
    """Write run.json, cohort.csv and every record of a run into one .tar.xz; return how many records.

    The same files give the same bytes. Weights stay behind.

    Raises:
        InputError: There is no run.
    """
    run = Run.open(folder)
    paths = sorted(run.path(spec) for spec in run.specs())
    made = io.BytesIO()
    with lzma.open(made, "wb", preset=6) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for path in [folder / "run.json", folder / "cohort.csv", *paths]:
            content = path.read_bytes()
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    write_atomically(file, made.getvalue())
    return len(paths)


@contextmanager
def opened(run: Path) -> Iterator[Path]:
    """Yield the folder of a run: the one that is named, or that of a packed one, unpacked until the end.

    Raises:
        InputError: The file is no packed run, or a damaged one, or unpacks to more than a run can be.
    """
    if not run.is_file():
        yield run
        return
    with TemporaryDirectory() as folder, TemporaryFile() as plain:
        try:
            _unpack(run, plain)
            with tarfile.open(fileobj=plain, mode="r:") as archive:
                total = 0
                for entry in archive:  # one by one: a header tells the size before anything is unpacked
                    total += entry.size
                    if total > MOST:
                        raise _too_much(run)
                    archive.extract(entry, folder, filter="data")
        except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError, RecursionError) as error:
            raise InputError(f"{run} is no packed run, or a damaged one ({error}): give the folder of a run") from error
        yield Path(folder)


def _unpack(run: Path, plain: IO[bytes]) -> None:
    """Write what an .xz unpacks to, or any other file as it is, up to the most that a run can be.

    Raises:
        InputError: It is more.
        Exception: It is damaged.
    """
    with run.open("rb") as file:
        packed = file.read(len(_XZ)) == _XZ
        file.seek(0)
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY) if packed else None
        while part := file.read(2**16):
            while part or (unpacker and not unpacker.needs_input and not unpacker.eof):
                plain.write(unpacker.decompress(part, 2**20) if unpacker else part)
                part = b""
                if plain.tell() > MOST:
                    raise _too_much(run)
            if unpacker and unpacker.eof:
                break
    if unpacker and not unpacker.eof:
        raise EOFError("it is cut short")
    plain.seek(0)


def _too_much(run: Path) -> InputError:
    return InputError(f"{run} unpacks to more than {MOST // 2**20:,} MiB, which no run has")
