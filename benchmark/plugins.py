"""Plugins: a user's own Python files, which call `methods.register` or `datasets.register` when they are run."""

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmark.contracts import InputError
from benchmark.files import sha256


def load(files: Iterable[Path]) -> tuple[Path, ...]:
    """Run each plugin file once a process; return where they are.

    Its module gets a name of its own, so that a plugin called `random.py` takes nobody's place, and the same name in
    every process, so that its classes travel between them.

    Raises:
        InputError: No Python file, or one that does not run to its end.
    """
    found = tuple(file.resolve() for file in files)
    for file in found:
        name = f"plugin_{sha256(str(file))[:12]}"
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, file) if file.is_file() else None
        if spec is None or spec.loader is None:
            raise InputError(f"the plugin {file} is no Python file; --plugin takes the path of one")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # a plugin may raise anything
            del sys.modules[name]
            raise InputError(f"the plugin {file} does not load: {type(error).__name__}: {error}") from error
    return found
