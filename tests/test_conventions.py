"""What every product file holds to and no linter asks for: data are frozen, and no zip drops what is left over."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for package in ("benchmark", "methods", "datasets") for path in sorted((ROOT / package).rglob("*.py"))]
LOOSE = {"benchmark/commands/_prepare.py": 1}  # zips that are meant to end with the shortest


def calls(name: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each call of a name with its file and the keywords that are given as constants."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                given = {one.arg or "**": getattr(one.value, "value", ...) for one in node.keywords}
                yield path.relative_to(ROOT).as_posix(), given


def test_no_dataclass_can_be_changed_once_it_is_made():
    assert not [(path, given) for path, given in calls("dataclass") if given.get("frozen") is not True]


def test_no_zip_drops_what_one_of_its_lists_has_beyond_the_others():
    loose = [path for path, given in calls("zip") if given.get("strict") is not True]
    assert {path: loose.count(path) for path in loose} == LOOSE
