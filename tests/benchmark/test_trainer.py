import math
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method
from benchmark.recipe import Recipe
from benchmark.trainer import TrainingFailed, fit, learning_rate_factor, predict
from fakes import make_batch

RECIPE = Recipe(epochs=3, batch_size=8, lr=0.1)


class Linear(Method):
    title = "Linear"
    no_weight_decay = ("scale",)

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 2)
        self.scale = nn.Parameter(torch.ones(()))
        self.epochs_seen: list[int] = []

    def logits(self, images: Tensor) -> Tensor:
        return self.scale * self.head(images.flatten(1))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        assert self.training and torch.is_grad_enabled()
        return {"ce": functional.cross_entropy(self.logits(batch.images), batch.labels)}

    def predict_proba(self, images: Tensor) -> Tensor:
        assert not self.training and not torch.is_grad_enabled()
        return self.logits(images).softmax(1)

    def after_epoch(self, batches: Iterable[Batch]) -> None:
        assert not self.training and not torch.is_grad_enabled()
        self.epochs_seen.append(sum(len(batch) for batch in batches))


class Slope(Method):
    """One decayed and one spared parameter, both with a gradient of 1 whatever is shown."""

    title = "Slope"
    no_weight_decay = ("spared",)

    def __init__(self) -> None:
        super().__init__()
        self.decayed = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        self.spared = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"one": 0.25 * (self.decayed + self.spared), "other": 0.75 * (self.decayed + self.spared)}


def data(n: int = 20) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, 4, 4, 4, generator=generator)
    return make_batch(images, (images.mean(dim=(1, 2, 3)) > 0.5).long())


def fitted(seed: int = 1, recipe: Recipe = RECIPE) -> tuple[Linear, list[dict[str, float]]]:
    torch.manual_seed(0)
    method = Linear()
    return method, fit(method, data(), recipe, seed).history


def path_by_hand(recipe: Recipe, decay: float, steps: int, start: float = 2.0) -> list[float]:
    """SGD as Sutskever et al. (2013) and torch define it, for a gradient of 1, in plain numbers: after every step."""
    weight, velocity, path = start, 0.0, []
    for step in range(steps):
        rise = recipe.warmup * steps
        factor = (
            (step + 1) / (rise + 1) if step < rise else (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2
        )
        gradient = 1 + decay * weight
        velocity = gradient if step == 0 else recipe.momentum * velocity + gradient
        weight -= recipe.lr * factor * (gradient + recipe.momentum * velocity if recipe.nesterov else velocity)
        path.append(weight)
    return path


def by_hand(recipe: Recipe, decay: float, steps: int) -> float:
    return path_by_hand(recipe, decay, steps)[-1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"momentum": 0.5},
        {"momentum": 0.0},
        {"nesterov": True},
        {"weight_decay": 0.3},
        {"warmup": 0.5},
        {"lr": 0.02, "nesterov": True, "weight_decay": 0.1, "warmup": 0.25},
    ],
    ids=str,
)
def test_training_is_sgd_with_this_momentum_decay_and_schedule(changes):
    settings = {"epochs": 3, "batch_size": 8, "lr": 0.1, "weight_decay": 0.0, **changes}
    recipe, method = Recipe(**settings), Slope()
    fit(method, data(20), recipe, seed=1)  # 2 steps an epoch: the last 4 of 20 nodules fill no batch
    assert method.decayed.item() == pytest.approx(by_hand(recipe, recipe.weight_decay, steps=6), abs=1e-12)
    assert method.spared.item() == pytest.approx(by_hand(recipe, 0.0, steps=6), abs=1e-12)


@pytest.mark.parametrize("ema", [0.5, 0.9, 0.999])
def test_the_averaged_weights_are_those_computed_by_hand(ema):
    recipe, method = Recipe(epochs=3, batch_size=8, lr=0.1, weight_decay=0.3, ema=ema), Slope()
    fit(method, data(20), recipe, seed=1)
    for decay, parameter in ((0.3, method.decayed), (0.0, method.spared)):
        path = path_by_hand(recipe, decay, steps=6)
        share = [ema ** (5 - step) for step in range(6)]
        mean = sum(w * of_step for w, of_step in zip(path, share, strict=True)) / sum(share)
        assert parameter.item() == pytest.approx(mean, abs=1e-12)
        assert abs(mean - path[-1]) > 0.01 and abs(mean - 2.0) > 0.1


def test_of_one_step_the_average_is_what_training_gave():
    """The start, which no step made, has no part in it."""
    one = [Slope(), Slope()]
    for method, ema in zip(one, (0.0, 0.999), strict=True):
        fit(method, data(8), Recipe(epochs=1, batch_size=8, lr=0.1, ema=ema), seed=1)
    assert one[0].decayed.equal(one[1].decayed) and one[0].decayed.item() != 2.0


class Normalised(Linear):
    """A trained batch normalisation, and a frozen one; remembers what `after_epoch` met."""

    def __init__(self, share_kept: float = 0.1) -> None:
        super().__init__()
        self.norm, self.frozen = nn.BatchNorm1d(2, momentum=share_kept), Frozen(2)
        self.frozen.running_mean.fill_(0.5)
        self.met: list[list[Tensor]] = []

    def logits(self, images: Tensor) -> Tensor:
        return self.scale * self.frozen(self.norm(self.head(images.flatten(1))))

    def predict_proba(self, images: Tensor) -> Tensor:
        assert not self.training and not torch.is_grad_enabled()
        return self.logits(images).softmax(1)

    def after_epoch(self, batches: Iterable[Batch]) -> None:
        super().after_epoch(batches)
        assert not self.norm.training
        self.met.append([self.head.weight.detach().clone(), self.norm.running_mean.clone()])


class Frozen(nn.BatchNorm1d):
    def train(self, mode: bool = True) -> "Frozen":
        return super().train(False)


def normalised(ema: float, nodules: int = 300) -> tuple[Normalised, list[dict[str, float]]]:
    torch.manual_seed(0)
    method = Normalised()
    return method, fit(method, data(nodules), Recipe(epochs=2, batch_size=50, lr=0.1, ema=ema), seed=1).history


def test_batch_normalisations_follow_the_averaged_weights_in_one_pass_of_equal_batches():
    method, _ = normalised(0.9)
    with torch.no_grad():
        features = method.head(data(300).images.flatten(1)).split(150)
        means = torch.stack([part.mean(dim=0) for part in features]).mean(dim=0)
        variances = torch.stack([part.var(dim=0) for part in features]).mean(dim=0)
    torch.testing.assert_close(method.norm.running_mean, means)
    torch.testing.assert_close(method.norm.running_var, variances)
    assert method.norm.momentum == 0.1 and not method.training and not method.norm.training
    assert torch.equal(method.frozen.running_mean, torch.full((2,), 0.5)) and method.frozen.num_batches_tracked == 0


def test_after_epoch_is_called_once_more_with_all_that_predicts():
    method, _ = normalised(0.9)
    assert method.epochs_seen == [300] * 3
    weights, means = method.met[-1]
    assert torch.equal(weights, method.head.weight) and torch.equal(means, method.norm.running_mean)
    assert not torch.equal(weights, method.met[1][0])


def test_averaging_changes_no_step_of_training_and_off_is_the_last_step():
    (off, plain), (on, averaged) = normalised(0.0), normalised(0.9)
    assert plain == averaged and len(off.met) == 2
    for epoch in range(2):
        assert torch.equal(off.met[epoch][0], on.met[epoch][0]) and torch.equal(off.met[epoch][1], on.met[epoch][1])
    assert torch.equal(off.met[-1][0], off.head.weight) and torch.equal(off.met[-1][1], off.norm.running_mean)


def test_statistics_of_a_method_that_reads_diameters_are_made_with_them():
    class Both(Normalised):
        reads_diameter = True

        def predict_proba(self, images: Tensor, diameter_mm: Tensor) -> Tensor:
            assert len(diameter_mm) == len(images)
            return super().predict_proba(images)

    method = Both()
    fit(method, data(20), Recipe(epochs=1, batch_size=10, ema=0.5), seed=1)
    assert method.norm.num_batches_tracked == 1


def test_the_learning_rate_rises_linearly_and_falls_as_half_a_cosine():
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert factors[10] == 1.0 and factors[55] == pytest.approx(0.5) and factors[-1] < 0.001
    assert learning_rate_factor(0, 100, 0.0) == 1.0


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_with_less_memory_nothing_meets_more_than_a_micro_batch_and_the_weights_are_the_same(ema):
    met = []

    class Watched(Linear):
        def loss(self, batch: Batch) -> dict[str, Tensor]:
            met.append(len(batch))
            return super().loss(batch)

        def after_epoch(self, batches: Iterable[Batch]) -> None:
            super().after_epoch(part for part in batches if met.append(len(part)) is None)

    recipe = Recipe(epochs=2, batch_size=8, lr=0.1, ema=ema)
    torch.manual_seed(0)
    watched = Watched()
    fit(watched, data(), recipe, 1, micro_batch=3)
    torch.testing.assert_close(watched.head.weight, fitted(1, recipe)[0].head.weight)
    assert max(met) == 3 and watched.epochs_seen == [20] * (3 if ema else 2)


def test_statistics_are_made_of_micro_batches_where_memory_holds_no_more():
    torch.manual_seed(0)
    method = Normalised()
    fit(method, data(20), Recipe(epochs=1, batch_size=10, ema=0.5), seed=1, micro_batch=5)
    assert method.norm.num_batches_tracked == 4


def test_a_prediction_takes_as_many_nodules_at_once_as_it_is_told():
    met = []

    class Watched(Linear):
        def predict_proba(self, images: Tensor) -> Tensor:
            met.append(len(images))
            return super().predict_proba(images)

    assert np.allclose(predict(Watched(), data().images, 2, micro_batch=8).sum(axis=1), 1)
    assert met == [8, 8, 4]


def test_the_history_is_the_mean_of_every_term_by_epoch():
    class Counting(Slope):
        shown = 0

        def loss(self, batch: Batch) -> dict[str, Tensor]:
            self.shown += 1
            return {"shown": self.shown + 0 * self.decayed, "half": 0.5 + 0 * self.spared}

    method = Counting()
    history = fit(method, data(20), Recipe(epochs=2, batch_size=8), seed=1).history
    assert history == [{"shown": 1.5, "half": 0.5}, {"shown": 3.5, "half": 0.5}]


def test_training_lowers_the_loss_and_calls_after_epoch_with_all_nodules():
    method, history = fitted()
    assert len(history) == 3 and history[-1]["ce"] < history[0]["ce"]
    assert method.epochs_seen == [20, 20, 20]


def test_after_epoch_sees_batches_of_at_most_256():
    class Sizes(Linear):
        def after_epoch(self, batches: Iterable[Batch]) -> None:
            self.epochs_seen += [len(batch) for batch in batches]

    method = Sizes()
    fit(method, data(300), Recipe(epochs=1, batch_size=150), seed=0)
    assert method.epochs_seen == [256, 44]


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    first, again, other = fitted(1)[0], fitted(1)[0], fitted(2)[0]
    assert first.head.weight.equal(again.head.weight)
    assert not first.head.weight.equal(other.head.weight)


def test_nothing_but_its_own_generator_decides_what_is_shown():
    torch.manual_seed(0)
    method = Linear()
    torch.rand(1)
    fit(method, data(), RECIPE, 1)
    assert method.head.weight.equal(fitted(1)[0].head.weight)


def test_a_loss_that_is_not_finite_ends_the_fit_with_its_name():
    with pytest.raises(TrainingFailed, match=r"^the loss term 'ce' is (nan|inf) in epoch 1$"):
        fitted(recipe=Recipe(epochs=2, batch_size=8, lr=1e30))


@pytest.mark.parametrize("returned", [torch.zeros(()), {}, None])
def test_a_loss_without_named_terms_is_refused_in_words(returned):
    class Wrong(Linear):
        def loss(self, batch: Batch):
            return returned

    with pytest.raises(TrainingFailed, match=r"^loss must return a dictionary of named terms, such as "):
        fit(Wrong(), data(), RECIPE, 1)


def test_predictions_are_the_methods_own_in_double_precision_and_in_order():
    method = fitted()[0]
    images = torch.rand(300, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    proba = predict(method, images, 2)
    assert proba.dtype == np.float64 and proba.shape == (300, 2)
    with torch.no_grad():
        np.testing.assert_allclose(proba, method.logits(images).softmax(1).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("proba", "sentence"),
    [
        ([float("nan"), 1.0], "a predicted probability is not finite"),
        ([0.5, 0.6], "the predicted probabilities are negative or do not sum to one"),
        ([0.5, 0.4998], "the predicted probabilities are negative or do not sum to one"),
        ([-0.1, 1.1], "the predicted probabilities are negative or do not sum to one"),
        ([0.5, 0.25, 0.25], "the predicted probabilities have the shape (20, 3), not (20, 2)"),
        ([1.0], "the predicted probabilities have the shape (20, 1), not (20, 2)"),
    ],
)
def test_predictions_that_are_no_probabilities_are_refused(proba, sentence):
    class Wrong(Linear):
        def predict_proba(self, images: Tensor) -> Tensor:
            return torch.tensor([proba]).repeat(len(images), 1)

    with pytest.raises(TrainingFailed) as refused:
        predict(Wrong(), data().images, 2)
    assert str(refused.value) == sentence


class Reading(Linear):
    reads_diameter = True

    def predict_proba(self, images: Tensor, diameter_mm: Tensor) -> Tensor:
        assert images.shape[0] == diameter_mm.shape[0]
        share = diameter_mm[:, None] / 1000
        return torch.cat([share, 1 - share], dim=1)


def test_a_method_that_declares_it_is_given_each_nodules_own_diameter():
    proba = predict(Reading(), torch.zeros(300, 4, 4, 4), 2, torch.arange(300.0))
    np.testing.assert_allclose(proba[:, 0], np.arange(300) / 1000, atol=1e-6)


def test_a_method_that_reads_diameters_is_not_tried_without():
    with pytest.raises(TrainingFailed, match=r"^Reading reads every nodule's diameter, and none was given$"):
        predict(Reading(), data().images, 2)


def test_no_other_method_is_given_more_than_images():
    class Greedy(Linear):
        def predict_proba(self, *read: Tensor) -> Tensor:
            assert len(read) == 1
            return super().predict_proba(*read)

    assert predict(Greedy(), data().images, 2, torch.arange(20.0)).shape == (20, 2)


def test_a_method_may_be_certain():
    class Certain(Linear):
        def predict_proba(self, images: Tensor) -> Tensor:
            return torch.tensor([[1.0, 0.0]]).repeat(len(images), 1)

    assert predict(Certain(), data().images, 2)[0].tolist() == [1.0, 0.0]


def test_rounding_of_single_precision_is_no_fault():
    class Rounded(Linear):
        def predict_proba(self, images: Tensor) -> Tensor:
            return torch.tensor([[0.5, 0.49995]]).repeat(len(images), 1)

    assert predict(Rounded(), data().images, 2).shape == (20, 2)
