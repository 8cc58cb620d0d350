"""A TOML file whose errors name the file, the line and the key."""

import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from benchmark.contracts import InputError, Json

Key = tuple[str | int, ...]


class TomlFile:
    """A TOML file that can say on which line a key stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
            self.data: dict[str, Any] = tomllib.loads(self.text, parse_float=Decimal)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a TOML file") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: is not UTF-8 text; save it as such") from error
        except RecursionError as error:
            raise InputError(f"{path}: is nested too deeply to be read; write it flat") from error
        except ValueError as error:  # TOMLDecodeError, and Python's own of a number with thousands of digits
            start = max((end for _, end, _ in _prefixes(self.text)), default=0)
            key = self.text.split("\n")[start].partition("=")[0].strip()
            raise InputError(f"{path}, line {start + 1}, key {key}: this is not valid TOML: {error}") from error

    def line(self, key: Key) -> int:
        """Return the line on which the statement begins that first defines the key."""
        return next(start for start, _, data in _prefixes(self.text) if _has(data, key))

    def fail(self, key: Key, problem: str) -> NoReturn:
        """Raise InputError for this key; a key that is missing is reported on its parent's line."""
        known = key
        while not _has(self.data, known):
            known = known[:-1]
        raise InputError(f"{self.path}, line {self.line(known)}, key {_dotted(key)}: {problem}")

    def get(self, key: Key) -> Any:
        """Return the value of a key."""
        value: Any = self.data
        for depth, part in enumerate(key):
            if not _has(value, (part,)):
                self.fail(key[: depth + 1], "is missing")
            value = value[part]
        return value

    def mapping(self, key: Key, fields: Mapping[str, type] | None = None) -> dict[str, Any]:
        """Return a table, and hold it to these fields and their types."""
        value = self.get(key)
        if not isinstance(value, dict):
            self.fail(key, f"must be a table [{_dotted(key)}]")
        for name, kind in (fields or {}).items():
            if type(self.get((*key, name))) is not kind:
                self.fail((*key, name), f"must be of type {kind.__name__}, not {value[name]!r}")
        if fields is not None:
            self.only(key, set(fields))
        return value

    def sequence(self, key: Key) -> list[Any]:
        """Return an array with at least one entry."""
        value = self.get(key)
        if not isinstance(value, list) or not value:
            self.fail(key, "must be an array with at least one entry")
        return value

    def words(self, key: Key) -> tuple[str, ...]:
        """Return an array of different words."""
        value = self.sequence(key)
        if not all(isinstance(word, str) for word in value) or len(set(value)) < len(value):
            self.fail(key, f"must be an array of different words, not {value!r}")
        return tuple(value)

    def only(self, key: Key, allowed: set[str]) -> None:
        """Refuse keys that nobody reads: most are misspelt."""
        for name in self.get(key):
            if name not in allowed:
                self.fail((*key, name), f"is unknown; allowed here: {', '.join(sorted(allowed))}")


def plain(value: object) -> Json:
    """Return a value of a TOML file with floats in place of decimals, as JSON has it."""
    match value:
        case dict():
            return {key: plain(part) for key, part in value.items()}
        case list():
            return [plain(part) for part in value]
        case Decimal():
            return float(value)
        case str() | int() | float() | None:
            return value
    return str(value)  # a date


def _prefixes(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield the first and last line of each statement with all that is defined up to its end.

    The parser tells no lines, so it is given one line more each time; what fails is in the middle of a statement.
    """
    lines, start = text.split("\n"), 1
    for end in range(1, len(lines) + 1):
        try:
            data = tomllib.loads("\n".join(lines[:end]))
        except ValueError:
            continue
        yield start, end, data
        start = end + 1


def _has(data: Any, key: Key) -> bool:
    for part in key:
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return False
    return True


def _dotted(key: Key) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")
