"""The mutants of a module, as cosmic-ray makes them, and the session that keeps what became of each."""

import ast
import hashlib
import random
import tomllib
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property, lru_cache
from pathlib import Path

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult
from forks import Outcome, Refused, Trial, Verdict

# Of `==` and `is` one may pass for the other, or not, by which small numbers and short words an interpreter shares.
_BY_THE_INTERPRETER = frozenset(
    f"core/ReplaceComparisonOperator_{change}" for change in ("Eq_Is", "Is_Eq", "NotEq_IsNot", "IsNot_NotEq")
)


@dataclass(frozen=True)
class Room:
    """A module and the tests that must notice any change of it.

    Attributes:
        key: Hash of the module and of its tests, under which results are kept.
    """

    module: str
    source: str
    tests: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class Mutant:
    """One change of a module by one operator."""

    room: Room
    spec: MutationSpec

    @property
    def job_id(self) -> str:
        """The key of its result: stale as soon as the module or one of its tests changes."""
        return f"{self.room.key}:{self.spec.operator_name}:{self.spec.occurrence}"

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.room.module}:{self.spec.start_pos[0]}"

    @cached_property
    def text(self) -> str | None:
        """The mutated source; None where this is no mutant: not to be made, not to be compiled, or without effect."""
        operator = plugins.get_operator(self.spec.operator_name)()
        try:
            text = mutate_code(self.room.source, operator, self.spec.occurrence)
        except AttributeError:  # of cosmic-ray, at a dotted name among several exceptions
            return None
        return text if _meaning(text) not in (None, _meaning(self.room.source)) else None

    def change(self) -> tuple[str, str]:
        """Return the lines before and after, stripped."""
        before, after = self.room.source.splitlines(), (self.text or self.room.source).splitlines()
        blocks = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        changed = [block for block in blocks if block[0] != "equal"]
        old = [line.strip() for _, start, end, _, _ in changed for line in before[start:end]]
        new = [line.strip() for _, _, _, start, end in changed for line in after[start:end]]
        return " ".join(filter(None, old)), " ".join(filter(None, new))

    def trial(self, limit_s: float) -> Trial:
        """Return the run of its room."""
        return Trial(self.job_id, self.room.tests, self.room.module, self.text or "", limit_s)


def read_rooms(table: Path, root: Path) -> list[Room]:
    """Read the table of modules and their tests, whose names may be patterns.

    Raises:
        Refused: A module or its tests do not exist.
    """
    found, read = [], tomllib.loads(table.read_text("utf-8"))
    for module, patterns in read["rooms"].items():
        if not (root / module).is_file():
            raise Refused(f"{table.name} names the module {module}, which does not exist")
        tests: list[str] = []
        for pattern in (*patterns, *read["all"]):
            matches = sorted(str(path.relative_to(root)) for path in root.glob(pattern))
            if not matches:
                raise Refused(f"{table.name} names the tests {pattern} of {module}, which do not exist")
            tests += [match for match in matches if match not in tests]
        digest = hashlib.sha256()
        for name in (module, *tests):
            digest.update(f"{name}\0".encode() + hashlib.sha256((root / name).read_bytes()).digest())
        found.append(Room(module, (root / module).read_text("utf-8"), tuple(tests), digest.hexdigest()[:16]))
    return found


def mutants_of(room: Room) -> Iterator[Mutant]:
    """Yield every change that cosmic-ray's operators make; those that need arguments have none by default."""
    tree = get_ast(room.source)
    for name in sorted(plugins.operator_names()):
        operator = plugins.get_operator(name)
        if operator.arguments() or name in _BY_THE_INTERPRETER:
            continue
        positions = (place for node in ast_nodes(tree) for place in operator().mutation_positions(node))
        for occurrence, (start, end) in enumerate(positions):
            yield Mutant(room, MutationSpec(room.module, name, occurrence, start, end))


class Session:
    """Results in a cosmic-ray session file, kept as they come.

    Args:
        path: The file; it is made if need be, and its results of unchanged rooms are used again.
    """

    def __init__(self, path: Path) -> None:
        self._db = WorkDB(str(path), WorkDB.Mode.create)
        self._items = {item.job_id for item in self._db.work_items}
        self.results: dict[str, WorkResult] = dict(self._db.results)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def pending(self, mutants: Iterable[Mutant], wanted: int | None = None) -> list[Mutant]:
        """Return the mutants without a result, noting what is no mutant on the way; `wanted` counts all results."""
        count, found, new = 0, [], []
        for mutant in mutants:
            if count == wanted:
                break
            if mutant.job_id not in self._items:
                new.append(mutant)
            result = self.results.get(mutant.job_id)
            if result is None and mutant.text is None:
                result = self.results[mutant.job_id] = WorkResult(WorkerOutcome.SKIPPED)
            elif result is None:
                found.append(mutant)
            count += result is None or result.worker_outcome != WorkerOutcome.SKIPPED
        self._db.add_work_items(WorkItem.single(mutant.job_id, mutant.spec) for mutant in new)
        self._items |= {mutant.job_id for mutant in new}
        skipped = [mutant.job_id for mutant in new if mutant.job_id in self.results]
        self._db.set_multiple_results(skipped, WorkResult(WorkerOutcome.SKIPPED))
        return found

    def keep(self, outcome: Outcome, mutant: Mutant) -> None:
        """Write down what became of a mutant."""
        before, after = mutant.change()
        survived = outcome.verdict is Verdict.PASSED
        result = WorkResult(
            worker_outcome=WorkerOutcome.NORMAL,
            test_outcome=TestOutcome.SURVIVED if survived else TestOutcome.KILLED,
            output=outcome.verdict.value,
            diff=f"- {before}\n+ {after}",
        )
        self.results[mutant.job_id] = result
        self._db.set_result(mutant.job_id, result)


def shuffled(mutants: Iterable[Mutant], seed: int) -> list[Mutant]:
    """Return the mutants in an order that depends on the seed and on their names alone."""
    order = sorted(mutants, key=lambda m: (m.room.module, m.spec.operator_name, m.spec.occurrence))
    random.Random(seed).shuffle(order)
    return order


class _Stripper(ast.NodeTransformer):
    """Takes out what no run can notice: docstrings, and annotations of a function's own names.

    Python never evaluates the latter (PEP 526), and jaxtyping's hook decorates functions, not their statements. All
    other annotations are evaluated at import, and beartype reads them.
    """

    _local = False

    def _body(self, node: ast.AST, local: bool) -> ast.AST:
        outer, self._local = self._local, local
        body = node.body  # type: ignore[attr-defined]
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body[0] = ast.Pass()
        self.generic_visit(node)
        self._local = outer
        return node

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._body(node, local=False)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._body(node, local=False)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._body(node, local=True)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._body(node, local=True)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if self._local:
            node.annotation = ast.Constant(None)
        return self.generic_visit(node)


@lru_cache(maxsize=8)
def _meaning(source: str) -> str | None:
    """Return what the source says to Python; None where it does not compile."""
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(source, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return None
    return ast.dump(_Stripper().visit(ast.parse(source)))
