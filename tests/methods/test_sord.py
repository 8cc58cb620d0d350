import pytest
import torch

from benchmark.contracts import EncoderSpec, Task, TextTowerSpec
from methods._ordinal import soft_labels
from methods.sord import SoftLabels, log_probs
from vision import batch_of

TASK = Task(3, ("a", "b", "c"), (), (2, 16, 16), EncoderSpec((4, 4, 4, 4), (1, 1, 1, 1), "deep"), TextTowerSpec())
BATCH = batch_of(torch.rand(3, 2, 16, 16), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize(
    ("label", "power", "expected"),
    [
        (0, 1, [0.665241, 0.244728, 0.090031]),
        (0, 2, [0.721399, 0.265388, 0.013213]),
        (1, 1, [0.211942, 0.576117, 0.211942]),
        (1, 2, [0.211942, 0.576117, 0.211942]),
    ],
)
def test_targets_equal_the_hand_computed_values(label, power, expected):
    target = soft_labels(torch.tensor([label]), 3, 1.0, power)[0]
    torch.testing.assert_close(target, torch.tensor(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_targets_mirror_and_fall_off_from_the_label(num_classes):
    labels = torch.arange(num_classes)
    target = soft_labels(labels, num_classes, 0.8)
    torch.testing.assert_close(target.flip(0, 1), target)
    assert torch.equal(target.argmax(1), labels)


def test_loss_is_the_mean_cross_entropy_with_the_targets():
    torch.manual_seed(0)
    method = SoftLabels(TASK, slope=2.0, distance="squared").eval()
    target = soft_labels(BATCH.labels, 3, 2.0, 2)
    rows = -(target * method.predict_proba(BATCH.images).log()).sum(1)
    torch.testing.assert_close(method.loss(BATCH)["soft_ce"], rows.mean())


def test_loss_cannot_fall_below_the_targets_entropy():
    target = soft_labels(torch.tensor([0, 1]), 3, 1.0)
    floor = -(target * log_probs(target.log())).sum(1)
    torch.testing.assert_close(floor, torch.tensor([0.8324, 0.9753]), atol=1e-4, rtol=0)


def test_renaming_the_classes_changes_the_loss():
    scores, order = torch.tensor([[2.0, 0.0, -1.0]]), [1, 0, 2]
    loss = -(soft_labels(torch.tensor([0]), 3, 1.0) * log_probs(scores)).sum()
    renamed = -(soft_labels(torch.tensor([1]), 3, 1.0) * log_probs(scores[:, order])).sum()
    assert abs(loss - renamed) > 0.1


@pytest.mark.parametrize(("options", "reason"), [({"slope": 0.0}, "slope"), ({"distance": "cubed"}, "distance")])
def test_refuses_impossible_options(options, reason):
    with pytest.raises(ValueError, match=f"SORD's {reason}"):
        SoftLabels(TASK, **options)
