"""The one dataset layer: readings, nodules, crops, sources, protocols and folds of LIDC-IDRI."""

from datasets.cohort import SOURCES
from datasets.protocols import DATASETS
from datasets.readings import ATTRIBUTES

__all__ = ["ATTRIBUTES", "DATASETS", "SOURCES"]
