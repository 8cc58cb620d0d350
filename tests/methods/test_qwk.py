from math import log

import pytest
import torch
from sklearn.metrics import cohen_kappa_score
from torch.nn.functional import one_hot

from methods.qwk import WeightedKappa, disagreement
from vision import vision_batch, vision_task


def test_the_loss_equals_that_of_tensorflow_addons():
    """Its documentation's example for WeightedKappaLoss, which implements de la Torre et al. 2018."""
    p = [[0.1, 0.2, 0.6, 0.1], [0.1, 0.5, 0.3, 0.1], [0.8, 0.05, 0.05, 0.1], [0.01, 0.09, 0.1, 0.8]]
    found = disagreement(torch.tensor(p, dtype=torch.float64), torch.tensor([2, 1, 0, 3]))
    assert log(found.item() + 1e-6) == pytest.approx(-1.1611923, abs=1e-6)


def test_the_disagreement_equals_the_hand_computed_value():
    """Two nodules, labels 0 and 2: observed 1/4 * 1/4 + 1/4 + 1/4 * 1/2, by chance half the sum over both labels."""
    p = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.5, 0.5]], dtype=torch.float64)
    observed = (0.25 / 4 + 0.25) + 0.5 / 4
    by_chance = 0.5 * (0.75 / 4 + 0.75) + 0.5 * (0.5 + 0.75 / 4)
    assert disagreement(p, torch.tensor([0, 2])).item() == pytest.approx(observed / by_chance, abs=1e-6)


def test_of_decisions_it_is_one_less_cohens_quadratic_kappa():
    generator = torch.Generator().manual_seed(0)
    labels, decided = torch.randint(3, (2, 40), generator=generator)
    kappa = cohen_kappa_score(labels, decided, weights="quadratic")
    assert disagreement(one_hot(decided, 3).double(), labels).item() == pytest.approx(1 - kappa, abs=1e-9)


def test_a_batch_in_which_nothing_can_disagree_has_a_finite_loss():
    p = one_hot(torch.tensor([1, 1]), 3).float().requires_grad_()
    loss = (disagreement(p, torch.tensor([1, 1])) + 1e-6).log()
    loss.backward()
    assert loss.item() == pytest.approx(log(1e-6)) and not p.grad.isnan().any()


def test_permuting_the_batch_leaves_the_loss_and_renaming_the_classes_changes_it():
    p = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    labels, order = torch.tensor([0, 1, 2, 0, 1, 0]), torch.tensor([4, 2, 0, 5, 1, 3])
    torch.testing.assert_close(disagreement(p[order], labels[order]), disagreement(p, labels))
    renamed = torch.tensor([1, 0, 2])
    assert abs(disagreement(p[:, renamed], renamed[labels]) - disagreement(p, labels)) > 1e-3


def test_the_method_takes_the_logarithm_over_its_batch():
    torch.manual_seed(0)
    method, batch = WeightedKappa(vision_task(), epsilon=0.01).eval(), vision_batch()
    expected = (disagreement(method.predict_proba(batch.images), batch.labels) + 0.01).log()
    torch.testing.assert_close(method.loss(batch)["qwk"], expected)
