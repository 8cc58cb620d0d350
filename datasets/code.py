"""Code: a hash of what modules do, so that what they made is made anew when, and only when, they change."""

import ast
import inspect
import json
from types import ModuleType

from benchmark.contracts import Json
from benchmark.files import sha256


def code_hash(*modules: ModuleType) -> str:
    """Return a hash of modules' syntax trees: comments, docstrings and layout do not count."""
    return json_hash([without_words(inspect.getsource(module)) for module in modules])


def without_words(source: str) -> str:
    r"""Return source code without comments and docstrings, in Python's own layout.

    >>> without_words("def f(x):  # why\n    '''What.'''\n    return (x)")
    'def f(x):\n    return x'
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def json_hash(content: Json) -> str:
    """Return the SHA-256 of plain data."""
    return sha256(json.dumps(content, sort_keys=True))
