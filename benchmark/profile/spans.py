"""Where the time of a training step goes: every moment is charged to one part, in the forward pass and the backward.

Forward, a part is on while a module of its kind works. Backward has no such brackets (a module's own backward hooks
fire too early where its inputs need no gradient, as images do not), so the nodes of the autograd graph that a module
made are noted as its part's, and each node switches its part on before it runs. What belongs to no kind is the head's.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn
from torch.autograd.graph import Node

Clock = Callable[[], float]
Kinds = Mapping[str, tuple[type[nn.Module], ...]]
"""Parts of a method, by name, and the modules that they are made of."""

HEAD = "head"
NOBODY = ""  # time of the measuring itself


class Stopwatch:
    """Charges the time between two switches to the part that was on.

    Attributes:
        seconds: By part.
    """

    def __init__(self, clock: Clock) -> None:
        self.seconds = defaultdict[str, float](float)
        self._clock, self._part, self._since = clock, NOBODY, clock()

    def switch(self, part: str) -> str:
        """Switch another part on; return the one that was on."""
        before = self._part
        if part != before:  # else no look at the clock, which makes a GPU wait
            now = self._clock()
            self.seconds[before] += now - self._since
            self._part, self._since = part, now
        return before

    def lap(self) -> dict[str, float]:
        """Return the seconds since the last lap, and begin anew."""
        done, self.seconds = dict(self.seconds), defaultdict[str, float](float)
        return done


def shares(laps: Sequence[Mapping[str, float]], parts: Iterable[str]) -> dict[str, float]:
    """Return what share of a lap each part has, by medians; zero for one that was never on.

    >>> shares([{"data": 1.0, "head": 3.0}, {"data": 1.0, "head": 3.0}, {"data": 99.0, "head": 3.0}], ["data", "head"])
    {'data': 0.25, 'head': 0.75}
    """
    seconds = {part: statistics.median(lap.get(part, 0.0) for lap in laps) for part in parts}
    total = sum(seconds.values())
    return {part: own / total if total else 0.0 for part, own in seconds.items()}


class Branches:
    """Tells a stopwatch which part of a method works."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch
        self._owner: dict[Node, str] = {}
        self._entered: list[tuple[str, set[Node]]] = []

    @contextmanager
    def following(self, method: nn.Module, kinds: Kinds) -> Iterator[None]:
        """Follow the forward passes of a method while the block runs.

        A module of a kind is followed and so are its children, since a method may call what lies behind its `forward`.
        """
        handles = []
        for module, part in _parts(method, kinds).items():
            enter = partial(self._enter, part)
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(partial(self._leave, part)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def follow_backward(self, loss: Tensor) -> None:
        """Make every node of a loss's graph switch its part on; called between the loss and its backward pass."""
        before = self._watch.switch(NOBODY)
        for node in _graph([loss], set()):
            if not hasattr(node, "variable"):  # what adds to a parameter's gradient belongs to what ran before it
                node.register_prehook(partial(self._on, self._owner.get(node, HEAD)))
        self._owner.clear()
        self._watch.switch(before)

    def _on(self, part: str, gradients: object) -> None:
        self._watch.switch(part)

    def _enter(self, part: str, module: nn.Module, *inputs: object) -> None:
        before = self._watch.switch(NOBODY)
        self._entered.append((before, {t.grad_fn for t in _tensors(inputs) if t.grad_fn is not None}))
        self._watch.switch(part)

    def _leave(self, part: str, module: nn.Module, inputs_given: object, output: object) -> None:
        self._watch.switch(NOBODY)
        before, inputs = self._entered.pop()
        for node in _graph(_tensors(output), inputs):
            self._owner.setdefault(node, part)  # a part within has had its own already
        self._watch.switch(before)


def _parts(method: nn.Module, kinds: Kinds) -> dict[nn.Module, str]:
    """Return whose the modules of a kind are, and their children that are of none."""
    own = {module: part for part, types in kinds.items() for module in method.modules() if isinstance(module, types)}
    return {child: part for module, part in own.items() for child in module.children()} | own


def _tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors in what a module is given or gives."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)


def _graph(outputs: Iterable[Tensor], beyond: set[Node]) -> list[Node]:
    """Return the nodes that made some tensors, without those of `beyond` and what is only behind them."""
    found: dict[Node, None] = {}
    todo = [tensor.grad_fn for tensor in outputs]
    while todo:
        node = todo.pop()
        if node is not None and node not in beyond and node not in found:
            found[node] = None
            todo += [following for following, _ in node.next_functions]
    return list(found)
