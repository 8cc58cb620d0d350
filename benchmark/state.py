"""All that a training carries from one epoch to the next, as tensors and JSON, and back.

What a method holds outside its state dict is not among it, so it is watched: where that changes, nothing is kept.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor, nn

from benchmark.contracts import Json, Method
from benchmark.trainer import Training

_INTERNAL = vars(nn.Module()).keys()


@dataclass(frozen=True)
class Rest:
    """What is no tensor.

    Attributes:
        extra: What `get_extra_state` of the method's modules says, by its name in the state dict.
        average: The total weight of the averaged steps; 0 without an average.
        totals: Names of the loss terms in the order of their first step.
    """

    extra: dict[str, Json]
    average: float
    totals: list[str]


def taken(training: Training) -> tuple[dict[str, Tensor], Rest] | None:
    """Return copies of all tensors, on the CPU, and the rest; None where a state is neither a tensor nor JSON.

    Tensors are named `method:NAME`, `momentum:NUMBER` and `average:NUMBER` of a parameter, `total:NAME` of a loss term
    and `chance:NAME` of a generator.
    """
    state, average = training.method.state_dict(), training.average
    parts = {f"method:{name}": part for name, part in state.items() if isinstance(part, Tensor)}
    extra = {name: part for name, part in state.items() if not isinstance(part, Tensor)}
    parts |= {f"momentum:{number}": momentum for number, _, momentum in _momenta(training) if momentum is not None}
    parts |= {f"average:{number}": one for number, one in enumerate(average.average if average else ())}
    parts |= {f"total:{name}": total for name, total in training.step.totals.items()}
    parts |= {f"chance:{name}": drawn for name, drawn in _chance(training).items()}
    if _as_json(extra) != extra or any(part.is_complex() for part in parts.values()):
        return None
    tensors = {name: part.detach().cpu().contiguous().clone() for name, part in parts.items()}
    return tensors, Rest(extra, average.total if average else 0.0, list(training.step.totals))


def put(tensors: Mapping[str, Tensor], rest: Rest, training: Training) -> None:
    """Put back what `taken` returned into a training that was built as that one was; tensors stay in their places."""
    of_method = {name.removeprefix("method:"): part for name, part in tensors.items() if name.startswith("method:")}
    training.method.load_state_dict(of_method | rest.extra)
    with torch.no_grad():
        for number, parameter, momentum in _momenta(training):
            if (kept := tensors.get(f"momentum:{number}")) is None:
                continue
            if momentum is None:
                momentum = torch.empty_like(parameter, requires_grad=False)
                training.step.optimiser.state[parameter]["momentum_buffer"] = momentum
            momentum.copy_(kept)
        if training.average is not None:
            training.average.total = rest.average
            for number, one in enumerate(training.average.average):
                one.copy_(tensors[f"average:{number}"])
    device = training.device
    training.step.totals = {name: tensors[f"total:{name}"].to(device) for name in rest.totals}
    training.generator.set_state(tensors["chance:batches"])
    torch.set_rng_state(tensors["chance:cpu"])  # last: building a method draws
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["chance:device"], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(tensors["chance:device"])


def unheld(method: Method) -> list[object]:
    """Return what differs if a method changed what its state dict does not hold: plain attributes, other tensors.

    A module with its own `get_extra_state` answers for its attributes itself. Of an attribute that JSON cannot hold,
    only another object in its place is seen.
    """
    held = {id(part) for part in method.state_dict(keep_vars=True).values()}
    seen = list[object]()
    for name, module in method.named_modules():
        others = {key: buffer for key, buffer in module.named_buffers(recurse=False) if id(buffer) not in held}
        if type(module).get_extra_state is nn.Module.get_extra_state:
            others |= {key: value for key, value in vars(module).items() if key not in _INTERNAL}
        seen += [(name, key, _mark(value)) for key, value in others.items()]
    return seen


def _momenta(training: Training) -> Iterator[tuple[int, nn.Parameter, Tensor | None]]:
    """Yield every trained parameter with its number and its momentum, which comes with its first gradient."""
    groups, state = training.step.optimiser.param_groups, training.step.optimiser.state
    for number, parameter in enumerate(parameter for group in groups for parameter in group["params"]):
        yield number, parameter, state[parameter].get("momentum_buffer") if parameter in state else None


def _chance(training: Training) -> dict[str, Tensor]:
    """Return the state of every generator that a training draws from."""
    states = {"batches": training.generator.get_state(), "cpu": torch.get_rng_state()}
    if training.device.type == "cuda":
        states["device"] = torch.cuda.get_rng_state(training.device)
    elif training.device.type == "mps":
        states["device"] = torch.mps.get_rng_state()
    return states


def _as_json(value: object) -> object:
    """Return a value as it comes back from JSON; None where JSON has no word for it."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError):
        return None


def _mark(value: object) -> object:
    """Return what differs once a value has changed."""
    if isinstance(value, Tensor):
        return value.data_ptr(), value._version
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError):
        return id(value)
