"""The methods, in the order of the tables. A new one is a file, a line here and a test; or a plugin, without edits."""

from dataclasses import dataclass, field
from typing import Any

from benchmark.contracts import Method
from methods.binomial import Binomial
from methods.ce import CrossEntropy
from methods.clip import Clip
from methods.clip_lung import LOSSES, ClipLung
from methods.clip_lung_released import ClipLungReleased
from methods.clm import CumulativeLink
from methods.cocoop import CoCoOp
from methods.coral import Coral
from methods.corf import OrdinalForest
from methods.corn import Corn
from methods.nsb import NeuronStickBreaking
from methods.ordinal_clip import OrdinalClip
from methods.poisson import Poisson
from methods.sord import SoftLabels
from methods.udm import UnsureDataModel

METHODS: dict[str, type[Method]] = {
    "ce": CrossEntropy,
    "poisson": Poisson,
    "nsb": NeuronStickBreaking,
    "udm": UnsureDataModel,
    "corf": OrdinalForest,
    "clip": Clip,
    "cocoop": CoCoOp,
    "clip_lung": ClipLung,
    "clip_lung_released": ClipLungReleased,
    "binomial": Binomial,
    "coral": Coral,
    "corn": Corn,
    "sord": SoftLabels,
    "clm": CumulativeLink,
    "ordinal_clip": OrdinalClip,
}
PAPER = ("ce", "poisson", "nsb", "udm", "corf", "clip", "cocoop", "clip_lung")  # the rows of its Tables 1 and 2


@dataclass(frozen=True)
class Ablation:
    """A row of the paper's Table 3: a method with some of its losses.

    Attributes:
        key: Names its fits. The last row's is a key of METHODS: it shares that method's fits.
        losses: What the row ticks; L_CE is in every row.
        hyperparameters: Those that differ from the method's defaults.
        method: What to train.
    """

    key: str
    losses: tuple[str, ...]
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    method: type[Method] = ClipLung

    @property
    def ticked(self) -> str:
        """As printed in Table 3, e.g. `IC + IA`."""
        return " + ".join(loss.upper() for loss in self.losses)

    @property
    def title(self) -> str:
        """As printed elsewhere, e.g. `CLIP-Lung (IC + IA)`; the method's own where nothing is left out."""
        return f"{self.method.title} ({self.ticked})" if self.hyperparameters else self.method.title


_ABLATIONS = [
    *(
        Ablation("_".join(("clip_lung", *losses)), losses, {"losses": losses})
        for losses in (("ic",), ("ic", "ia"), ("ia", "ca"), ("ic", "ca"))
    ),
    Ablation("clip_lung", LOSSES),
]
ABLATIONS = {ablation.key: ablation for ablation in _ABLATIONS}


def register(key: str, method: type[Method]) -> None:
    """Add a method below the built-in ones; for `run_all.py --plugin FILE`.

    Raises:
        ValueError: The key is taken, or is not lower-case letters, digits and underscores.
    """
    taken = METHODS | {key: ablation.method for key, ablation in ABLATIONS.items()}
    if key in taken:
        raise ValueError(f"method key {key!r} is taken by {taken[key].__name__}; choose another")
    if not (key.isascii() and key.isidentifier() and key == key.lower()):
        raise ValueError(f"method key {key!r} must be lower-case letters, digits and underscores")
    METHODS[key] = method
