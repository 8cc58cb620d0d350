from math import log

import pytest
import torch
from torch.nn.functional import cross_entropy

from methods.cdw_ce import ClassDistanceWeighted, distance_weighted_loss, log_complements
from vision import vision_batch, vision_task

SCORES = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]).log()


@pytest.mark.parametrize(
    ("label", "power", "expected"),
    [
        (0, 1.0, 3 * log(4 / 3)),  # 1 log(4/3) + 2 log(4/3)
        (0, 5.0, 33 * log(4 / 3)),
        (1, 5.0, log(2) + log(4 / 3)),
        (2, 2.0, 4 * log(2) + log(4 / 3)),
    ],
)
def test_losses_equal_the_hand_computed_values(label, power, expected):
    """Formula: Polat et al. 2022, equation of CDW-CE: -sum_k |k - y|^alpha log(1 - p_k), at p = 1/2, 1/4, 1/4."""
    loss = distance_weighted_loss(SCORES[:1].double(), torch.tensor([label]), power)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_of_two_classes_it_is_cross_entropy():
    scores, labels = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1] * 3)
    expected = cross_entropy(scores, labels, reduction="none")
    torch.testing.assert_close(distance_weighted_loss(scores, labels, 5.0), expected)


def test_mirroring_the_classes_mirrors_the_loss_and_renaming_them_changes_it():
    scores = torch.tensor([[2.0, 0.0, -1.0]])
    loss, mirrored, renamed = (
        distance_weighted_loss(scores[:, order], torch.tensor([label]), 5.0)
        for order, label in (([0, 1, 2], 0), ([2, 1, 0], 2), ([1, 0, 2], 1))
    )
    torch.testing.assert_close(loss, mirrored)
    assert abs(loss - renamed) > 0.1


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
def test_the_loss_and_its_gradient_are_finite_and_right_however_wrong_the_network_is(size):
    scores = torch.tensor([[-size, 0.0, size]], requires_grad=True)
    distance_weighted_loss(scores, torch.tensor([0]), 5.0).sum().backward()
    assert scores.grad.isfinite().all() and scores.grad[0, 2] > 1


def test_complements_are_those_of_the_softmax():
    scores = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_complements(scores), (1 - scores.softmax(1)).log())


@pytest.mark.parametrize(("power", "best"), [(2.0, (0.708, 0.292)), (5.0, (0.327, 0.673))])
def test_the_best_probabilities_lean_to_the_middle_the_more_the_larger_the_power(power, best):
    chances, scores = (0.8, 0.15, 0.05), torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([scores], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        by_label = [distance_weighted_loss(scores, torch.tensor([label]), power).sum() for label in range(3)]
        loss = sum(chance * loss for chance, loss in zip(chances, by_label, strict=True))
        loss.backward()
        return loss

    optimiser.step(closure)
    assert scores.detach().softmax(1)[0].tolist() == pytest.approx([*best, 0.0], abs=1e-3)


def test_the_method_averages_it_over_the_batch():
    torch.manual_seed(0)
    method, batch = ClassDistanceWeighted(vision_task()).eval(), vision_batch()
    probabilities = method.predict_proba(batch.images)
    away = (torch.arange(3) - batch.labels[:, None]).abs() ** 2
    torch.testing.assert_close(method.loss(batch)["cdw_ce"], -(away * (1 - probabilities).log()).sum(1).mean())


def test_a_power_that_makes_no_distance_is_refused():
    with pytest.raises(ValueError, match="CDW-CE's power must be positive, not 0"):
        ClassDistanceWeighted(vision_task(), power=0.0)
