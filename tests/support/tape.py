"""A CUDA graph's stand-in on a CPU: the operations of a step on their tensors, done again without the Python between.

Like a graph it holds every number but the content of tensors as it was when it was recorded, and works on the same
memory. Unlike one it computes while it records, so what that changed is put back.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from benchmark.graphs import Work


class Tape(TorchDispatchMode):
    """Records what is computed within it."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **kwargs or {})
        memory = (memory_of(part) for part in (args, kwargs or {}, out))
        self.operations.append((function, *memory))
        return out

    @torch.no_grad()
    def replay(self) -> None:
        for function, args, kwargs, out in self.operations:
            for ours, new in zip(tree_leaves(out), tree_leaves(function(*args, **kwargs)), strict=True):
                if isinstance(ours, Tensor) and ours.data_ptr() != new.data_ptr():
                    ours.copy_(new)


def memory_of(arguments):
    """Return arguments whose tensors are the same memory and know nothing of gradients."""
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, arguments)


class Tapes:
    """Rehearses and records as `CudaGraphs` does.

    Args:
        state: Returns the tensors that recording must leave as they were.
    """

    def __init__(self, state) -> None:
        self.state, self.waits, self.recorded = state, "", 0

    def rehearse(self, work: Work) -> str:
        work()
        return self.waits

    def record(self, work: Work) -> Work:
        kept, drawn = [(tensor, tensor.detach().clone()) for tensor in self.state()], torch.get_rng_state()
        tape = Tape()
        try:
            with tape:
                work()
        finally:
            torch.set_rng_state(drawn)
            with torch.no_grad():
                for tensor, before in kept:
                    tensor.detach().copy_(before)
        self.recorded += 1
        return tape.replay


def state_of(step) -> Iterable[Tensor]:
    """Return every tensor that a step changes."""
    momenta = [state["momentum_buffer"] for state in step.optimiser.state.values()]
    return [*step.method.parameters(), *step.method.buffers(), *momenta, *step.totals.values()]
