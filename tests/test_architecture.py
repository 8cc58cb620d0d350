"""The walls of the house: who may import whom, and that the generic package names are ours."""

import ast
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchmark
import datasets
import methods

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("benchmark", "methods", "datasets")
ALLOWED = {  # a package's files may import these names of the project, and what is below them
    "benchmark": ("benchmark.",),
    "methods": ("benchmark.contracts.", "benchmark.recipe.", "methods._"),
    "datasets": ("benchmark.contracts.", "datasets."),
}
SOURCES = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def project_imports(path: Path) -> Iterator[str]:
    """Yield every imported name of the project with a dot at its end; a relative import as `.`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}." if node.level == 0 else "." for alias in node.names]
        else:
            names = [f"{alias.name}." for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.split(".")[0] in ("", *PACKAGES))


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_imports_stay_within_the_walls(source):
    allowed = ALLOWED[source.parts[0]]
    if source == Path("methods/__init__.py"):
        allowed = ("benchmark.contracts.", "methods.")  # the registry knows every method
    assert not [name for name in project_imports(ROOT / source) if not name.startswith(allowed)]


def test_only_run_all_imports_all_three_packages():
    for path in ROOT.glob("*.py"):
        known = {name.split(".")[0] for name in project_imports(path)}
        assert path.name == "run_all.py" or not known.issuperset(PACKAGES)


def test_registry_keys_and_titles_are_well_formed():
    for key, method in methods.METHODS.items():
        assert key.isascii() and key.isidentifier() and key == key.lower()
        assert method.title and method.decoder in ("argmax", "median") and method.__doc__
    assert len({method.title for method in methods.METHODS.values()}) == len(methods.METHODS)


@pytest.mark.parametrize("package", [benchmark, methods, datasets])
def test_the_generic_names_are_ours(package):
    assert Path(package.__file__).resolve().is_relative_to(ROOT)


def test_no_distribution_named_datasets_is_installed():
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("datasets")


def test_no_package_hides_among_the_tests():
    assert not list((ROOT / "tests").rglob("__init__.py"))
