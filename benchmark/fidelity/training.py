"""Training on slices: classes learned from one kind and tried on the other, and the two kinds told apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int16

from benchmark.contracts import Batch, Row, Task
from benchmark.metrics import auc
from benchmark.recipe import Preset
from benchmark.runner import deterministic
from benchmark.trainer import fit, predict
from benchmark.voxels import to_images

Slices = Int16[np.ndarray, "nodules rows columns"]
Labels = Int[np.ndarray, " nodules"]
Some = Int16[np.ndarray, "_ rows columns"]
Proba = Float[np.ndarray, "_ classes"]
Advance = Callable[[], None]


@dataclass(frozen=True)
class Learner:
    """A row of the tables that sees one slice.

    Attributes:
        row: What is trained.
        preset: Recipe and encoder.
        advance: Called after each training.
    """

    row: Row
    preset: Preset
    advance: Advance = lambda: None

    def learn(
        self, hu: Slices, labels: Labels, class_names: Sequence[str], tests: Sequence[Some], seed: int
    ) -> list[Proba]:
        """Train on slices and return the class probabilities of each set of test slices."""
        deterministic()
        torch.manual_seed(seed)
        recipe = self.preset.recipe
        names = tuple(class_names)
        task = Task(len(names), names, (), (1, *hu.shape[1:]), self.preset.encoder, self.preset.text_tower)
        method = self.row.build(task)

        def images(slices: Slices) -> torch.Tensor:
            return to_images(torch.from_numpy(slices[:, None]), recipe.window_hu)

        count = len(hu)
        unknown = torch.full((count,), torch.nan)
        none = torch.zeros((count, 0))
        batch = Batch(images(hu), torch.from_numpy(labels), none, none.bool(), unknown[:, None], unknown)
        fit(method, batch, recipe, seed)
        self.advance()
        return [predict(method, images(test), len(names)) for test in tests]


def crossed(
    learner: Learner,
    kinds: Mapping[str, Slices],
    labels: Labels,
    class_names: Sequence[str],
    fold_of: Labels,
    seeds: int,
) -> dict[tuple[str, str], Float[np.ndarray, "seeds nodules"]]:
    """Return whether each nodule was classified rightly (1 or 0), for every kind trained on and every kind tested on.

    Args:
        learner: What is trained, on the nodules outside a fold, and tried on those in it.
        kinds: The same nodules' slices by kind, such as real and phantom.
        labels: Classes; nodules with -1 are left out and have NaN.
        class_names: From the least malignant.
        fold_of: Each nodule's fold.
        seeds: Trainings a fold.
    """
    right = {(a, b): np.full((seeds, len(labels)), np.nan) for a in kinds for b in kinds}
    for fold in range(int(fold_of.max()) + 1):
        train, test = (labels >= 0) & (fold_of != fold), (labels >= 0) & (fold_of == fold)
        for seed in range(seeds):
            for trained, hu in kinds.items():
                tests = [kind[test] for kind in kinds.values()]
                seed_of = int(np.random.SeedSequence([seed, fold]).generate_state(1)[0])
                made = learner.learn(hu[train], labels[train], class_names, tests, seed_of)
                for tested, proba in zip(kinds, made, strict=True):
                    right[trained, tested][seed, test] = proba.argmax(axis=1) == labels[test]
    return right


def percent(right: Float[np.ndarray, "seeds nodules"]) -> Callable[[Int[np.ndarray, " drawn"]], float]:
    """Return what gives the mean over seeds and some nodules, NaN aside, in percent."""
    return lambda rows: float(100 * np.nanmean(right[:, rows]))


def told_apart(
    learner: Learner, one: Slices, other: Slices, fold_of: Labels, seeds: int
) -> Float[np.ndarray, "seeds kinds nodules"]:
    """Return the probability of being of the other kind that each slice of either kind gets from the other folds.

    Args:
        learner: What is trained on both kinds of slices of the nodules outside a fold, and tried on those in it.
        one: Slices of one kind.
        other: The same nodules' slices of the other kind.
        fold_of: Each nodule's fold.
        seeds: Trainings a fold.
    """
    proba = np.empty((seeds, 2, len(one)))
    for fold in range(int(fold_of.max()) + 1):
        train, test = fold_of != fold, fold_of == fold
        hu = np.concatenate([one[train], other[train]])
        kind = np.repeat([0, 1], train.sum())
        for seed in range(seeds):
            seed_of = int(np.random.SeedSequence([seed, fold]).generate_state(1)[0])
            made = learner.learn(hu, kind, ("one", "other"), [one[test], other[test]], seed_of)
            for number, of_kind in enumerate(made):
                proba[seed, number, test] = of_kind[:, 1]
    return proba


def apart(proba: Float[np.ndarray, "seeds kinds nodules"], fold_of: Labels, rows: Int[np.ndarray, " drawn"]) -> float:
    """Return the AUC with which `told_apart` tells some nodules' slices apart: the mean over folds and seeds."""
    areas = []
    for fold in np.unique(fold_of):
        inside = rows[fold_of[rows] == fold]
        kind = np.repeat([0, 1], len(inside))
        areas += [auc(kind, of_seed[:, inside].ravel()) for of_seed in proba]
    return float(np.nanmean(areas))
