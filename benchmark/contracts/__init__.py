"""What passes between the rooms: the nouns that `datasets`, `methods` and `benchmark` share.

Data flows one way: collection -> cohort -> fold data -> batch -> fit -> predict -> record -> scores -> tables.
This package imports nothing else of the project, so each of the three packages may import it. Batches and methods are
of torch, which is imported when they are first asked for: plans, tables and reports do without.
"""

from typing import TYPE_CHECKING

from benchmark.contracts.collections import Cohort, Collection, Made, NoduleInfo, Preparation, Provenance, Volumes
from benchmark.contracts.errors import InputError, Unsupported
from benchmark.contracts.folds import Columns, Decision, FoldData, Protocol
from benchmark.contracts.rows import Kind, Reference, Row, Setting
from benchmark.contracts.tasks import EncoderSpec, Json, Task, TextConfig, TextTowerSpec, TextWeights
from benchmark.contracts.traits import Decoder, Traits

if TYPE_CHECKING:
    from benchmark.contracts.training import Batch, Method, central

__all__ = [
    "Batch",
    "Cohort",
    "Collection",
    "Columns",
    "Decision",
    "Decoder",
    "EncoderSpec",
    "FoldData",
    "InputError",
    "Json",
    "Kind",
    "Made",
    "Method",
    "NoduleInfo",
    "Preparation",
    "Protocol",
    "Provenance",
    "Reference",
    "Row",
    "Setting",
    "Task",
    "TextConfig",
    "TextTowerSpec",
    "TextWeights",
    "Traits",
    "Unsupported",
    "Volumes",
    "central",
]


def __getattr__(name: str) -> object:
    if name not in ("Batch", "Method", "central"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from benchmark.contracts import training

    found: object = getattr(training, name)
    return found
