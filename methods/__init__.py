"""The methods, in the order of the tables. A new one is a file, a line here and a test; or a plugin, without edits."""

from benchmark.contracts import Method
from methods.binomial import Binomial
from methods.ce import CrossEntropy
from methods.clip import Clip
from methods.clm import CumulativeLink
from methods.coral import Coral
from methods.corf import OrdinalForest
from methods.corn import Corn
from methods.nsb import NeuronStickBreaking
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
    "binomial": Binomial,
    "coral": Coral,
    "corn": Corn,
    "sord": SoftLabels,
    "clm": CumulativeLink,
}


def register(key: str, method: type[Method]) -> None:
    """Add a method below the built-in ones; for `run_all.py --plugin FILE`.

    Raises:
        ValueError: The key is taken, or is not lower-case letters, digits and underscores.
    """
    if key in METHODS:
        raise ValueError(f"method key {key!r} is taken by {METHODS[key].__name__}; choose another")
    if not (key.isascii() and key.isidentifier() and key == key.lower()):
        raise ValueError(f"method key {key!r} must be lower-case letters, digits and underscores")
    METHODS[key] = method
