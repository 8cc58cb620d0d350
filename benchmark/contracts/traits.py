"""What tables and plans must know of a method, read from its source, so that nobody waits for torch to learn a title.

Nothing is written twice: a method's file says what it is, in class attributes and in the defaults of `__init__`, and
both are read as they stand there, through the classes that it inherits from. So each must be a literal, or the name of
a constant that is one.
"""

import ast
import importlib.util
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

Decoder = Literal["argmax", "median"]


@dataclass(frozen=True)
class Traits:
    """What a method says of itself; see `Method`. The defaults are those of what trains nothing.

    Attributes:
        title: As printed in the tables.
        doc: Its docstring.
        decoder: How a class is read off the probabilities.
        reads_text: Whether it uses the text tower.
        reads_diameter: Whether a prediction reads the diameter.
        reads_whole_crop: Whether it reads slices that the shared encoder does not.
        on_two_classes: Names the model that it is on two classes.
        encoders: How many image encoders it trains.
        narrowing: How many times narrower than the run's these are.
        defaults: Every hyperparameter with its default.
    """

    title: str = ""
    doc: str = ""
    decoder: Decoder = "argmax"
    reads_text: bool = False
    reads_diameter: bool = False
    reads_whole_crop: bool = False
    on_two_classes: str = ""
    encoders: int = 0
    narrowing: int = 1
    defaults: Mapping[str, object] = field(default_factory=dict)


_ATTRIBUTES = [trait.name for trait in fields(Traits) if trait.name not in ("doc", "defaults")]


def of_class(method: type[object]) -> Traits:
    """Return the traits of a class that is imported."""
    parameters = list(inspect.signature(method).parameters.values())[1:]  # the first is the task
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    said = {name: getattr(method, name) for name in _ATTRIBUTES if hasattr(method, name)}
    return Traits(doc=inspect.cleandoc(method.__doc__ or ""), defaults=defaults, **said)


@cache
def of_source(source: str) -> Traits:
    """Return the traits of a class, which is not imported.

    Args:
        source: Its module and name, such as `"methods.ce.CrossEntropy"`.

    Raises:
        ValueError: There is no such class, or what it says is neither a literal nor the name of one.
    """
    module, _, name = source.rpartition(".")
    classes = list(_lineage(module, name))
    said = dict[str, object]()
    for home, node in reversed(classes):
        for statement in node.body:
            if (pair := _assigned(statement)) is not None and pair[0] in _ATTRIBUTES:
                said[pair[0]] = _value(home, pair[1])
    about = {"doc": ast.get_docstring(classes[0][1]) or "", "defaults": _defaults(classes)}
    return msgspec.convert(said | about, Traits)


def file_of(module: str) -> Path:
    """Return a module's file; the module is not imported, the package that it is in is.

    Raises:
        ValueError: There is no such module, or it is no file.
    """
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ValueError(f"there is no module {module}")
    return Path(found.origin)


def _lineage(module: str, name: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield a class and those that it inherits from as far as they are of modules that are read, each with its own."""
    home, node = _found(module, name)
    if not isinstance(node, ast.ClassDef):
        raise ValueError(f"{module}.{name} is no class")
    yield home, node
    for base in node.bases:
        if isinstance(base, ast.Name):  # `nn.Module` says nothing of these
            yield from _lineage(home, base.id)


def _found(module: str, name: str) -> tuple[str, ast.AST]:
    """Return the class or the value of a constant that has a name in a module, with the module where it stands."""
    for node in _statements(module):
        match node:
            case ast.ClassDef(name=found) if found == name:
                return module, node
            case ast.ImportFrom(module=str(other), names=aliases):
                for alias in aliases:
                    if (alias.asname or alias.name) == name:
                        return _found(other, alias.name)
            case _:
                if (pair := _assigned(node)) is not None and pair[0] == name:
                    return module, pair[1]
    raise ValueError(f"{module} has no class or constant {name}")


@cache
def _statements(module: str) -> tuple[ast.stmt, ...]:
    """Return a module's statements, those under a condition among them."""
    body = ast.parse(file_of(module).read_text("utf-8")).body
    return tuple(inner for node in body for inner in (node.body if isinstance(node, ast.If) else [node]))


def _assigned(node: ast.AST) -> tuple[str, ast.expr] | None:
    """Return the name and the value of an assignment."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            return name, value
    return None


def _defaults(classes: list[tuple[str, ast.ClassDef]]) -> dict[str, object]:
    """Return the defaults of the first `__init__`."""
    for home, node in classes:
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                given = statement.args
                positional = [*given.posonlyargs, *given.args]
                pairs = [*zip(positional[len(positional) - len(given.defaults) :], given.defaults, strict=True)]
                named = [(one, value) for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value]
                return {argument.arg: _value(home, value) for argument, value in [*pairs, *named]}
    return {}


def _value(module: str, node: ast.AST) -> object:
    if isinstance(node, ast.Name):
        return _value(*_found(module, node.id))
    try:
        return ast.literal_eval(ast.unparse(node))
    except (ValueError, SyntaxError) as error:
        raise ValueError(
            f"{file_of(module)}, line {getattr(node, 'lineno', 0)}: {ast.unparse(node)} must be a literal or the name "
            "of a constant, since titles and defaults are read without running the file"
        ) from error
