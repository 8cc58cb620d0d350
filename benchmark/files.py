"""Files that appear whole or not at all, the one hash, and the hash of code."""

import ast
import glob
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO
from zipfile import ZipFile, is_zipfile

from benchmark import owners

PASSING = ".*.tmp"
"""What files are called, as a pattern, until they are whole."""
_BOMB, _TIMES = 2**28, 50  # bytes; as often as the file


def sha256(content: bytes | str) -> str:
    """Return the SHA-256 of bytes, or of a text as UTF-8, in hexadecimal digits."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` when it is whole and on disk, or never.

    Written beside under a name that no other process can have, synced, renamed; folders are made as needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.{owners.mark()}.tmp")
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def remains(path: Path) -> list[Path]:
    """Return what processes that were killed while they wrote a file left of it."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*.tmp"))


def sweep(passing: Iterable[Path]) -> None:
    """Remove those half-written files, of those that fit `PASSING`, whose process is known to be dead."""
    for left in passing:
        if owners.is_of_the_dead(left.name.split(".")[-2]):
            with suppress(OSError):  # another's, in a folder of several users: no concern of this command
                left.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a crash, sees all of it or nothing."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def promised(path: Path) -> int:
    """Return how many bytes the members of a zip say that they unpack to, in all; 0 for what is no zip.

    Raises:
        zipfile.BadZipFile: It is a damaged one.
    """
    if not is_zipfile(path):
        return 0
    with ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def is_bomb(path: Path) -> bool:
    """Return whether a zip says that it unpacks to far more than arrays of voxels do: 256 MiB, and 50 times its size.

    Raises:
        zipfile.BadZipFile: It is a damaged one.
    """
    return promised(path) > max(_BOMB, _TIMES * path.stat().st_size)


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet that opens a CSV file would take a cell for a formula; a number is none.

    >>> is_formula("=1+1"), is_formula("-A1"), is_formula("-1.5"), is_formula("a=b")
    (True, True, False, False)
    """
    return text[:1] in tuple("=+-@\t\r") and not re.fullmatch(r"[+-][\d.]+", text)


_SEAL = b'{\n "sha256": "'


def sealed(content: bytes) -> bytes:
    """Return an indented JSON object with the hash of all that follows it in front, so that any damage is seen."""
    rest = b'",' + content.removeprefix(b"{")
    return _SEAL + sha256(rest).encode() + rest


def is_sealed(content: bytes) -> bool:
    """Say whether an object has a seal; one that an earlier version wrote has none.

    Raises:
        ValueError: It is not what was sealed.
    """
    if not content.startswith(_SEAL):
        return False
    start, digits = len(_SEAL), 64
    if content[start : start + digits] != sha256(content[start + digits :]).encode():
        raise ValueError("its content does not match its own hash")
    return True


def code_hash(files: Iterable[Path]) -> str:
    """Return a hash of Python files by their syntax: comments, docstrings, blanks and line endings do not count."""
    return sha256("\0".join(without_words(path.read_text(encoding="utf-8")) for path in files))


@cache
def without_words(source: str) -> str:
    r"""Return source code without comments and docstrings, in Python's own layout.

    >>> without_words("def f(x):  # why\n    'What.'\n    return (x)")
    'def f(x):\n    return x'
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(ast.Constant(str())), *rest]:
                    node.body = rest or [ast.Pass()]
    return ast.unparse(tree)


def stamp(path: Path) -> tuple[int, int] | None:
    """Return what the system says of a file that was not written anew: its time and size; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size
