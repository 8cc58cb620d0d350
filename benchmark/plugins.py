"""Plugins: a user's own Python files, which call `methods.register` or `datasets.register` when they are run."""

import importlib.util
import sys
import traceback
from collections.abc import Iterable, Sized
from pathlib import Path

from benchmark.contracts import InputError
from benchmark.files import sha256

PREFIX = "plugin_"  # of a module's name; the rest depends on where the file lies


def load(files: Iterable[Path], *registries: Sized) -> tuple[Path, ...]:
    """Run each plugin file once a process; return where they are.

    Its module gets a name of its own, so that a plugin called `random.py` takes nobody's place, and the same name in
    every process, so that its classes travel between them.

    Args:
        files: Python files.
        *registries: One of them must be longer after a file has run.

    Raises:
        InputError: No Python file, one that does not run to its end, or one that registers nothing.
    """
    found = tuple(file.resolve() for file in files)
    for file in found:
        name = f"{PREFIX}{sha256(str(file))[:12]}"
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, file) if file.is_file() else None
        if spec is None or spec.loader is None:
            raise InputError(f"the plugin {file} is no Python file; --plugin takes the path of one")
        module, before = importlib.util.module_from_spec(spec), sum(map(len, registries))
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # a plugin may raise anything
            del sys.modules[name]
            raise InputError(f"the plugin {file} does not load: {_said(error, file)}") from error
        if registries and sum(map(len, registries)) == before:
            del sys.modules[name]
            raise InputError(f"the plugin {file} registers nothing: it must call methods.register or datasets.register")
    return found


def _said(error: BaseException, file: Path) -> str:
    """Return what an error says, and on which line of the file it arose."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{type(error).__name__}: {error}" + (f" (line {lines[-1]})" if lines else "")
