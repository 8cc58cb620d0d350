"""A run's records in one file: packed to be published, unpacked for as long as they are read.

The first member lists the others with their hashes, under a seal, so that none can be lost, changed or added unseen.
What an earlier version packed has no list; then the checks of .xz and the end of the tar have to do.
"""

import io
import lzma
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

import msgspec

from benchmark.contracts import InputError
from benchmark.files import sealed, sha256, unsealed, write_atomically
from benchmark.run import Run

_XZ = b"\xfd7zXZ\0"
_MEMORY = 2**27  # bytes that unpacking may use: an .xz names the memory that it wants
LIST = "packed.json"
MOST = 2**30  # bytes unpacked: a run of quick has 40 MB, and a small file may promise terabytes


def pack(folder: Path, file: Path) -> int:
    """Write run.json, cohort.csv and every record of a run into one .tar.xz; return how many records.

    The same files give the same bytes. Weights stay behind.

    Raises:
        InputError: There is no run.
    """
    run = Run.open(folder)
    paths = sorted(run.path(spec) for spec in run.specs())
    files = [folder / "run.json", folder / "cohort.csv", *paths]
    members = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    hashes = {name: sha256(content) for name, content in members.items()}
    listed = sealed(msgspec.json.format(msgspec.json.encode(hashes), indent=1))
    made = io.BytesIO()
    with lzma.open(made, "wb", preset=6) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in {LIST: listed, **members}.items():
            entry = tarfile.TarInfo(name)
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
            is_packed = _unpack(run, plain)
            with tarfile.open(fileobj=plain, mode="r:") as archive:
                total = 0
                for entry in archive:  # one by one: a header tells the size before anything is unpacked
                    total += entry.size
                    if total > MOST:
                        raise _too_much(run)
                    archive.extract(entry, folder, filter="data")
                _check_end(plain, archive.offset)
            _check_list(Path(folder), is_packed)
        except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError, RecursionError) as error:
            raise InputError(f"{run} is no packed run, or a damaged one ({error}): give the folder of a run") from error
        yield Path(folder)


def _check_end(plain: IO[bytes], at: int) -> None:
    """See that a tar ends where its last member does: in two blocks of zeros, and nothing but zeros behind.

    Raises:
        EOFError: It was cut between two members, or a member's header is damaged, which tarfile takes for the end.
    """
    plain.seek(at)
    zeros = 0
    while part := plain.read(2**20):
        zeros += part.count(0)
    if zeros != plain.tell() - at or zeros < 2 * tarfile.BLOCKSIZE:
        raise EOFError("its end is missing, or a member's header is damaged")


def _check_list(folder: Path, is_packed: bool) -> None:
    """See that what was unpacked is what was packed.

    Raises:
        ValueError: It is not, or a plain tar, which knows no damage of its own, has no list.
    """
    if not (folder / LIST).is_file():
        if is_packed:
            return
        raise ValueError(f"a plain tar without {LIST}, which says what it must hold")
    listed = msgspec.json.decode(unsealed((folder / LIST).read_bytes()), type=dict[str, str])
    files = [path for path in folder.rglob("*") if path.is_file()]
    there = {path.relative_to(folder).as_posix(): sha256(path.read_bytes()) for path in files}
    del listed["sha256"], there[LIST]
    if wrong := [name for name in sorted(there | listed) if there.get(name) != listed.get(name)]:
        raise ValueError(f"{wrong[0]} is not what was packed")


def _unpack(run: Path, plain: IO[bytes]) -> bool:
    """Write what an .xz unpacks to, or any other file as it is, up to the most that a run can be; return if it was one.

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
        if unpacker and (unpacker.unused_data or file.read(1)):
            raise EOFError("something follows its end")
    if unpacker and not unpacker.eof:
        raise EOFError("it is cut short")
    plain.seek(0)
    return packed


def _too_much(run: Path) -> InputError:
    return InputError(f"{run} unpacks to more than {MOST // 2**20:,} MiB, which no run has")
