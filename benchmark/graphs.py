"""A training step as one CUDA graph: captured once, then replayed without any Python on the same memory.

What a capture freezes is everything but the content of tensors. So a step is captured only if nothing was seen in its
rehearsals that a graph would get wrong, and captured anew where what it froze has changed since. A step that cannot be
captured goes on as it is, with the same numbers up to rounding, and the reason is kept.
"""

import warnings
from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

import torch

from benchmark.contracts import Batch, Method
from benchmark.step import Step

Work: TypeAlias = Callable[[], None]
REHEARSALS = 3  # torch's own number of steps before a capture: libraries choose algorithms, buffers come to be


@runtime_checkable
class Graphs(Protocol):
    """What can rehearse and record work."""

    def rehearse(self, work: Work) -> str:
        """Do the work; return why no graph could hold it, empty if nothing was seen."""

    def record(self, work: Work) -> Work:
        """Capture the work without doing it; return what does it."""


class CudaGraphs:
    """CUDA's own, on a stream beside the current one, as a capture demands."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def rehearse(self, work: Work) -> str:
        """Do the work, watched for whatever makes the host wait for the device."""
        mode = torch.cuda.get_sync_debug_mode()
        self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))
        with torch.cuda.stream(self.stream), warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                work()
            finally:
                torch.cuda.set_sync_debug_mode(mode)
        torch.cuda.current_stream(self.stream.device).wait_stream(self.stream)
        waits = [warning for warning in seen if "called a synchronizing CUDA operation" in str(warning.message)]
        for warning in seen:
            if warning not in waits:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        return f"{waits[0].filename}:{waits[0].lineno} waits for the device" if waits else ""

    def record(self, work: Work) -> Work:
        """Capture the work; memory that it takes stays its own."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            work()
        return graph.replay


class Captured:
    """A step that is taken as it is for some batches, then captured, and replayed from then on.

    The rehearsals are training's own first steps, and recording computes nothing, so no step is lost or taken twice.
    All batches must have one shape.

    Attributes:
        step: What is captured.
        reason: Why it goes on as it is; empty if it is or will be captured.
    """

    def __init__(self, step: Step, graphs: Graphs) -> None:
        self.step, self.graphs, self.reason = step, graphs, ""
        self._rehearsed = 0
        self._static: Batch | None = None
        self._replay: Work | None = None
        self._frozen: list[object] = []

    def __call__(self, batch: Batch) -> None:
        """Take a step."""
        if self.reason:
            self.step(batch)
        elif self._rehearsed < REHEARSALS:
            self._rehearse(batch)
        else:
            self._replayed(batch)

    @property
    def outcome(self) -> str:
        """How steps are taken by now, in words."""
        return f"eager, not captured: {self.reason}" if self.reason else "captured" if self._replay else "eager"

    def begin_epoch(self) -> None:
        """Give up a recording that froze what has changed since, and begin again; to be called in training mode."""
        if self._replay is not None and frozen(self.step.method) != self._frozen:
            self._replay, self._rehearsed = None, 0

    def _rehearse(self, batch: Batch) -> None:
        before = frozen(self.step.method)
        reason = self.graphs.rehearse(lambda: self.step(batch))
        self._rehearsed += 1
        if self._rehearsed == REHEARSALS:  # what happens only once, in the first steps, is no hindrance
            changed = frozen(self.step.method) != before
            self.reason = reason or "each step changes an attribute of the method" * changed

    def _replayed(self, batch: Batch) -> None:
        if self._static is None:
            self._static = Batch(*(tensor.clone() for tensor in vars(batch).values()))
        else:
            for ours, theirs in zip(vars(self._static).values(), vars(batch).values(), strict=True):
                ours.copy_(theirs)
        if self._replay is None:
            static = self._static
            try:
                self._replay = self.graphs.record(lambda: self.step(static))
            except Exception as error:  # whatever it is, the step itself is known to work
                self.reason = first_cause(error)
                self.step(batch)
                return
            self._frozen = frozen(self.step.method)
        self._replay()


def frozen(method: Method) -> list[object]:
    """Return what a recorded step would go on using if it changed: plain attributes, and where tensors lie.

    Not all of it can be seen: what an attribute's own parts hold, or a global variable, is not.
    """
    plain = [
        (name, key, value)
        for name, module in method.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, bool | int | float | str | None)
    ]
    tensors = [*method.parameters(), *method.buffers()]
    return [*plain, *((tensor.data_ptr(), tensor.shape, tensor.requires_grad) for tensor in tensors)]


def first_cause(error: BaseException) -> str:
    """Name the error at the bottom of a chain in one line; leaving a broken capture raises another on top."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
