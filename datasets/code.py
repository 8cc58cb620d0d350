"""Code: a hash of what modules do, so that what they made is made anew when, and only when, they change."""

import inspect
import json
from pathlib import Path
from types import ModuleType

from benchmark import files
from benchmark.contracts import Json
from benchmark.files import sha256


def code_hash(*modules: ModuleType) -> str:
    """Return a hash of modules' syntax trees, in this order: comments, docstrings and layout do not count."""
    return files.code_hash(Path(inspect.getfile(module)) for module in modules)


def json_hash(content: Json) -> str:
    """Return the SHA-256 of plain data."""
    return sha256(json.dumps(content, sort_keys=True))
