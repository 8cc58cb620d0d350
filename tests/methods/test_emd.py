import pytest
import torch

from methods.emd import SquaredEarthMover, squared_emd
from vision import vision_batch, vision_task


@pytest.mark.parametrize(
    ("probabilities", "label", "expected"),
    [
        ([0.5, 0.25, 0.25], 0, 0.3125),  # (1 - 1/2)^2 + (1 - 3/4)^2
        ([0.5, 0.25, 0.25], 1, 0.3125),  # (1/2)^2 + (1/4)^2
        ([0.5, 0.25, 0.25], 2, 0.8125),  # (1/2)^2 + (3/4)^2
        ([0.0, 0.0, 1.0], 0, 2.0),
        ([0.0, 0.0, 1.0], 2, 0.0),
        ([0.7, 0.3], 1, 0.49),
    ],
)
def test_losses_equal_the_hand_computed_values(probabilities, label, expected):
    """Formula: Hou et al. 2016, ordered classes: sum over k of (CDF_k(p) - CDF_k(t))^2."""
    loss = squared_emd(torch.tensor([probabilities], dtype=torch.float64), torch.tensor([label]))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_mirroring_the_classes_mirrors_the_loss_and_renaming_them_changes_it():
    p = torch.tensor([[0.6, 0.3, 0.1]])
    loss, mirrored, renamed = (
        squared_emd(p[:, order], torch.tensor([label]))
        for order, label in (([0, 1, 2], 0), ([2, 1, 0], 2), ([1, 0, 2], 1))
    )
    torch.testing.assert_close(loss, mirrored)
    assert abs(loss - renamed) > 0.01


def test_the_method_averages_it_over_the_batch():
    torch.manual_seed(0)
    method, batch = SquaredEarthMover(vision_task()).eval(), vision_batch()
    expected = squared_emd(method.predict_proba(batch.images), batch.labels).mean()
    torch.testing.assert_close(method.loss(batch)["emd2"], expected)
