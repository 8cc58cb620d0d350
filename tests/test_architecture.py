"""The walls of the house: who may import whom, and that the generic package names are ours."""

import ast
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchmark
import datasets
import methods
from benchmark import references

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("benchmark", "methods", "datasets")
ALLOWED = {  # a package's files may import these names of the project, and what is below them
    "benchmark": ("benchmark.",),
    "methods": ("benchmark.contracts.", "benchmark.recipe.", "methods._"),
    "datasets": ("benchmark.contracts.", "benchmark.files.", "benchmark.signals.", "datasets."),
}
FORBIDDEN = {"benchmark": ("benchmark.commands.",), "datasets/dicom": ("datasets.lidc.", "datasets.folder.")}
ROOTS = ("run_all.py", "benchmark/commands/", "benchmark/__main__.py")
SOURCES = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def project_imports(path: Path) -> Iterator[str]:
    """Yield every imported name of the project with a dot at its end; a relative import as `.`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}." if node.level == 0 else "." for alias in node.names]
        else:
            names = [f"{alias.name}." for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.split(".")[0] in ("", "run_all", *PACKAGES))


def is_root(source: Path) -> bool:
    return source.as_posix().startswith(ROOTS) or source.name == "__main__.py"


@pytest.mark.parametrize("source", [source for source in SOURCES if not is_root(source)], ids=str)
def test_imports_stay_within_the_walls(source):
    allowed = ALLOWED[source.parts[0]]
    forbidden = next((names for room, names in FORBIDDEN.items() if source.as_posix().startswith(room)), ("run_all.",))
    if source == Path("methods/__init__.py"):
        allowed = ("benchmark.contracts.", "methods.")  # the registry knows every method
    names = list(project_imports(ROOT / source))
    assert not [name for name in names if not name.startswith(allowed) or name.startswith(forbidden)]


def test_the_contracts_import_nothing_of_the_project_but_each_other():
    for source in (ROOT / "benchmark" / "contracts").glob("*.py"):
        assert all(name.startswith("benchmark.contracts.") for name in project_imports(source))


@pytest.mark.parametrize("room", ["files", "owners", "signals", "pulse"])
def test_rooms_that_all_may_enter_import_nothing_of_the_project_but_one_another(room):
    names = set(project_imports(ROOT / "benchmark" / f"{room}.py"))
    assert names <= ({"benchmark.owners."} if room == "files" else set())


def test_no_product_file_is_longer_than_250_lines_and_the_root_than_120():
    long = {str(path): n for path in SOURCES if (n := len((ROOT / path).read_text("utf-8").splitlines())) > 250}
    assert not long
    assert len((ROOT / "run_all.py").read_text("utf-8").splitlines()) <= 120


def test_any_is_rare():
    text = "".join((ROOT / path).read_text("utf-8") for path in [*SOURCES, Path("run_all.py")])
    assert len(re.findall(r"\bAny\b", text)) <= 45


def test_registry_keys_and_titles_are_well_formed():
    rows = methods.ROWS | references.ROWS
    for key, row in rows.items():
        assert key == row.key and key.isascii() and key.isidentifier() and key == key.lower()
        assert row.title and row.decoder in ("argmax", "median") and row.traits.doc
    assert len({row.title for row in rows.values()}) == len(rows)


@pytest.mark.parametrize("package", [benchmark, methods, datasets])
def test_the_generic_names_are_ours(package):
    assert Path(package.__file__).resolve().is_relative_to(ROOT)


def test_no_distribution_named_datasets_is_installed():
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("datasets")


def test_no_package_hides_among_the_tests():
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_every_planted_mutant_finds_its_text(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "mutation"))
    from planted import PLANTED

    assert len([planted.trial(ROOT) for planted in PLANTED]) == len({planted.name for planted in PLANTED}) > 15
