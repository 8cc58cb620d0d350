import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method
from benchmark.recipe import Recipe
from benchmark.trainer import TrainingFailed, epoch_batches, fit, learning_rate_factor, predict, to_images, turn

RECIPE = Recipe(epochs=3, batch_size=8, lr=0.1)


class Linear(Method):
    title = "Linear"
    undecayed = ("scale",)

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 2)
        self.scale = nn.Parameter(torch.ones(()))
        self.epochs_seen: list[int] = []

    def logits(self, images: Tensor) -> Tensor:
        return self.scale * self.head(images.flatten(1))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"ce": functional.cross_entropy(self.logits(batch.images), batch.labels)}

    def predict_proba(self, images: Tensor) -> Tensor:
        return self.logits(images).softmax(1)

    def after_epoch(self, batches) -> None:
        assert not self.training and not torch.is_grad_enabled()
        self.epochs_seen.append(sum(len(batch) for batch in batches))


def data(n: int = 20) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, 4, 4, 4, generator=generator)
    return Batch(images, (images.mean(dim=(1, 2, 3)) > 0.5).long(), torch.zeros(n, 8))


def fitted(seed: int = 1, recipe: Recipe = RECIPE) -> tuple[Linear, list[dict[str, float]]]:
    torch.manual_seed(0)
    method = Linear()
    return method, fit(method, data(), recipe, seed)


def test_hounsfield_units_become_clipped_intensities():
    volumes = np.array([-2000, -1000, -300, 400, 900, 0, 0, 0], dtype=np.int16).reshape(1, 2, 2, 2)
    images = to_images(volumes, (-1000.0, 400.0), torch.device("cpu")).flatten()
    assert images[:5].tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    assert volumes.flatten()[0] == -2000  # the cohort itself stays as it is


def test_the_sixteen_turns_are_sixteen_different_arrangements():
    cube = torch.arange(27.0).reshape(1, 3, 3, 3)
    turned = [turn(cube, code) for code in range(16)]
    assert len({tuple(t.flatten().tolist()) for t in turned}) == 16
    assert all(t.flatten().sort().values.equal(cube.flatten()) for t in turned)
    centre_column = cube[0, :, 1, 1]
    assert all(t[0, :, 1, 1].sort().values.equal(centre_column) for t in turned)  # slices stay slices


def test_an_epoch_shows_whole_batches_and_no_nodule_twice():
    batches = list(epoch_batches(data(20), RECIPE, torch.Generator().manual_seed(3)))
    assert [len(batch) for batch in batches] == [8, 8]
    means = torch.cat([batch.images.mean(dim=(1, 2, 3)) for batch in batches])
    assert len(set(means.round(decimals=5).tolist())) == 16


def test_images_keep_their_labels_when_they_are_shuffled_and_turned():
    for batch in epoch_batches(data(20), RECIPE, torch.Generator().manual_seed(3)):
        assert batch.labels.equal((batch.images.mean(dim=(1, 2, 3)) > 0.5).long())


def test_fewer_nodules_than_a_batch_make_one_batch():
    assert [len(b) for b in epoch_batches(data(5), RECIPE, torch.Generator())] == [5]


def test_the_learning_rate_rises_falls_and_ends_near_zero():
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(100)]
    assert factors[0] < factors[5] < factors[10] == max(factors)
    assert factors[-1] < 0.001
    assert learning_rate_factor(0, 100, 0.0) == 1.0


def test_training_lowers_the_loss_and_calls_after_epoch_with_all_nodules():
    method, history = fitted()
    assert history[-1]["ce"] < history[0]["ce"]
    assert method.epochs_seen == [20, 20, 20]


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    first, again, other = fitted(1)[0], fitted(1)[0], fitted(2)[0]
    assert first.head.weight.equal(again.head.weight)
    assert not first.head.weight.equal(other.head.weight)


def test_scales_are_not_decayed():
    groups = Linear().param_groups()
    assert [len(g["params"]) for g in groups] == [2, 1]
    assert groups[1]["weight_decay"] == 0.0


def test_a_loss_that_is_not_finite_ends_the_fit_with_its_name():
    with pytest.raises(TrainingFailed, match=r"loss term 'ce' is (nan|inf) in epoch 1"):
        fitted(recipe=Recipe(epochs=2, batch_size=8, lr=1e30))


@pytest.mark.parametrize("proba", [[float("nan"), 1.0], [0.5, 0.6], [-0.1, 1.1], [0.5, 0.25, 0.25]])
def test_predictions_that_are_no_probabilities_are_refused(proba):
    class Wrong(Linear):
        def predict_proba(self, images: Tensor) -> Tensor:
            return torch.tensor([proba]).repeat(len(images), 1)

    with pytest.raises(TrainingFailed):
        predict(Wrong(), data().images, 2)
