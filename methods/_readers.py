"""What the readers of a nodule said: each score as a vote for a class, and how far they agree.

Source: the label rule for a nodule with that one reader: 1 and 2 benign, 3 unsure, 4 and 5 malignant. Both rules agree
on whole scores; a fraction at an edge goes by the default rule (<= 2.5 benign, >= 3.5 malignant).
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from benchmark.contracts import Task, Unsupported

CLASSES = (("benign", "malignant"), ("benign", "unsure", "malignant"))


def require_readers_classes(task: Task) -> None:
    """Refuse a task whose classes are no classes of a reader's score.

    Raises:
        Unsupported: They are others than benign, unsure, malignant, with or without unsure.
    """
    if task.class_names not in CLASSES:
        known = " or ".join(", ".join(names) for names in CLASSES)
        raise Unsupported(f"malignancy scores are votes for {known}, but the classes are {task.class_names}")


def votes(
    malignancy: Float[Tensor, "batch readers"], labels: Int[Tensor, " batch"], num_classes: int
) -> Float[Tensor, "batch classes"]:
    """Return the share of each nodule's readers who said each class; one-hot labels where no reader is known.

    Args:
        malignancy: Scores from 1 to 5, NaN where there is no reader.
        labels: Classes, for nodules without scores.
        num_classes: Two (benign, malignant: an "unsure" is half a vote for each) or three (unsure between them).

    >>> import torch
    >>> scores = torch.tensor([[1.0, 3.0, 3.0, 5.0], [2.0, 3.0, torch.nan, torch.nan]])
    >>> votes(scores, torch.tensor([1, 0]), 3)
    tensor([[0.2500, 0.5000, 0.2500],
            [0.5000, 0.5000, 0.0000]])
    >>> votes(scores[1:], torch.tensor([0]), 2)
    tensor([[0.7500, 0.2500]])
    """
    benign, malignant = (malignancy <= 2.5).sum(dim=1), (malignancy >= 3.5).sum(dim=1)
    unsure = ((malignancy > 2.5) & (malignancy < 3.5)).sum(dim=1)
    named = functional.one_hot(labels, num_classes).to(malignancy)
    counts = named.new_empty(named.shape)
    counts[:, 0], counts[:, -1] = benign, malignant
    if num_classes == 3:
        counts[:, 1] = unsure
    else:
        counts += unsure[:, None] / 2
    readers = counts.sum(dim=1, keepdim=True)
    return (counts / readers).where(readers > 0, named)


def divide(
    malignancy: Float[Tensor, "batch readers"], said: Float[Tensor, "batch 3"]
) -> tuple[Bool[Tensor, " batch"], Bool[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """Return which nodules are consistent and reliable, which inconsistent, and which of low reliability.

    Args:
        malignancy: Scores from 1 to 5, NaN where there is no reader.
        said: The votes for benign, unsure and malignant.

    >>> import torch
    >>> scores = torch.tensor([[1.0, 2.0], [2.0, 3.0], [5.0, torch.nan]])
    >>> divide(scores, votes(scores, torch.tensor([0, 0, 2]), 3))
    (tensor([ True, False, False]), tensor([False,  True, False]), tensor([False, False,  True]))
    """
    low = malignancy.isfinite().sum(dim=1) == 1
    inconsistent = (said > 0).sum(dim=1) > 1
    return ~low & ~inconsistent, inconsistent, low
