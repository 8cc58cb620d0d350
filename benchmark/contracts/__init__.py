"""What passes between the rooms: the nouns that `datasets`, `methods` and `benchmark` share.

Data flows one way: collection -> cohort -> fold data -> batch -> fit -> predict -> record -> scores -> tables.
This package imports nothing else of the project, so each of the three packages may import it.
"""

from benchmark.contracts.collections import Cohort, Collection, Made, NoduleInfo, Preparation, Provenance, Volumes
from benchmark.contracts.errors import InputError, Unsupported
from benchmark.contracts.folds import Columns, Decision, FoldData, Protocol
from benchmark.contracts.methods import Decoder, Kind, Method, Reference, Row, Setting
from benchmark.contracts.tasks import Batch, EncoderSpec, Json, Task, TextConfig, TextTowerSpec, TextWeights, central

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
    "Unsupported",
    "Volumes",
    "central",
]
