"""The weights of a fit's last epoch, kept beside its record for what probabilities cannot show: figures, predictions.

A safetensors file holds the method's state (parameters and persistent buffers; a frozen text tower is none of them),
the image features of the test nodules where the method has one image encoder, and which fit it is of. The record notes
the file's hash, so that weights of another fit or training, or damaged ones, are never taken for its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec
import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor

from benchmark.contracts import Batch, Method
from benchmark.files import sha256
from benchmark.identity import without_file
from benchmark.records import FitRecord, Unusable
from benchmark.run import Run
from benchmark.runfile import refuse
from benchmark.weightfiles import ABOUT, About, of_content

FEATURES = "test:image_features"
"""Name of the features among the tensors; no part of a method is called so."""


@dataclass(frozen=True, eq=False)
class Weights:
    """What was kept of a fit.

    Attributes:
        about: Which fit it is.
        state: The method's state dict.
        features: Of the test nodules, in the order of the record; None where the method has no single image encoder.
    """

    about: About
    state: dict[str, Tensor]
    features: Float[Tensor, "nodules features"] | None

    def into(self, method: Method) -> Method:
        """Put the weights into a method that was built anew, and return it in eval mode.

        Raises:
            Unusable: The method has other parts.
        """
        try:
            method.load_state_dict(self.state)
        except RuntimeError as error:
            what = " ".join(str(error).split())
            raise Unusable(f"its weights are not those of the row as this checkout builds it ({what})") from error
        return method.eval()


def image_features(method: Method, batches: Iterable[Batch]) -> Float[Tensor, "nodules features"] | None:
    """Return what the method's image encoder makes of some nodules, on the CPU; None where it has no single one.

    Args:
        method: Its encoder, if it has one, is the attribute `encoder`, with `pooled(images)`.
        batches: The nodules, so many at a time as go at once.
    """
    pooled = getattr(getattr(method, "encoder", None), "pooled", None)
    if pooled is None:
        return None
    method.eval()
    with torch.no_grad():
        return torch.cat([pooled(batch.images).float().cpu() for batch in batches])


def pack(method: Method, about: About, features: Float[Tensor, "nodules features"] | None) -> bytes:
    """Return what is kept of a method as the bytes of a safetensors file; the same content gives the same bytes."""
    state = {name: part for name, part in method.state_dict().items() if isinstance(part, Tensor)}
    if features is not None:
        state[FEATURES] = features
    tensors = {name: part.detach().cpu().contiguous().clone() for name, part in state.items()}
    task = replace(about.task, text_tower=without_file(about.task.text_tower))
    return save(tensors, {ABOUT: msgspec.json.encode(replace(about, task=task)).decode()})


def read(run: Run, record: FitRecord) -> Weights:
    """Return what was kept of a fit.

    Raises:
        Unusable: Nothing was kept, or what stands there is missing, damaged or of another fit or training.
        InputError: The file cannot be read.
    """
    path = run.weights_path(record.spec)
    if not record.metadata.weights:
        raise Unusable("its weights were not kept")
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise Unusable(f"its weights are missing: there is no {path}") from error
    except OSError as error:
        refuse(error)
    about = of_content(content)
    if about is not None and about.spec != record.spec:
        raise Unusable(f"{path} holds the weights of another fit, {about.spec.path().with_suffix('').as_posix()}")
    if about is not None and about.key != record.key:
        raise Unusable(f"{path} holds weights that other code or settings made")
    if about is None or sha256(content) != record.metadata.weights:
        raise Unusable(f"{path} is damaged, or of another training of the fit")
    state = load(content)
    return Weights(about, state, state.pop(FEATURES, None))
