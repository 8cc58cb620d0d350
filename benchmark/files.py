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
    except OSError as error:
        if error.filename == str(beside):
            error.filename = str(path)  # the name that somebody asked for
        raise
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


# Signs that begin a formula, unless it is a number, where a cell can begin: at the start of a line, and behind a
# semicolon or tab, at which some spreadsheets split lines whatever is quoted. The last four signs are full-width.
_FORMULA = re.compile(r"(^\s*|[;\t])(?=[=+\-@\uff1d\uff0b\uff0d\uff20])(?![+-][\d.]+(?:[;\t]|$))")


def is_cell(text: str) -> bool:
    r"""Return whether a spreadsheet that opens a CSV file takes a text for one cell, and no part of it for a formula.

    >>> is_cell("=1+1"), is_cell("-A1"), is_cell("a\r=1"), is_cell("a;=1"), is_cell("\uff1d1"), is_cell("two\nlines")
    (False, False, False, False, False, False)
    >>> is_cell("-1.5"), is_cell("a=b"), is_cell("CE; no text"), is_cell("")
    (True, True, True, True)
    """
    return text.splitlines() in ([], [text]) and not _FORMULA.search(text)


def in_csv(text: str) -> str:
    r"""Return a user's words as one line that no spreadsheet runs a part of: an apostrophe makes it a text.

    >>> in_csv("=1+1"), in_csv("a\n=1;=2"), in_csv("CE; no text")
    ("'=1+1", "a =1;'=2", 'CE; no text')
    """
    return _FORMULA.sub(r"\1'", " ".join(text.split()))


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


def unsealed(content: bytes) -> bytes:
    """Return a sealed object.

    Raises:
        ValueError: It has no seal, or is not what was sealed.
    """
    if not is_sealed(content):
        raise ValueError("it does not begin with its own hash")
    return content


def footed(content: bytes, comment: str) -> bytes:
    """Return a text with the hash of all of it in one more line.

    Args:
        content: The text, which ends with a line's end.
        comment: How its language writes a comment, as `"# {}"`.
    """
    return content + comment.format(f"sha256 {sha256(content)}").encode() + b"\n"


def unfooted(content: bytes, comment: str) -> bytes:
    """Return a text without the line that `footed` added.

    Raises:
        ValueError: It is not what was written.
    """
    above = content[: content.rfind(b"\n", 0, -1) + 1]
    if footed(above, comment) != content:
        raise ValueError("it does not end with its own hash")
    return above


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
