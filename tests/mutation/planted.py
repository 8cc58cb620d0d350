"""Mutants planted by hand: each undoes one promise of the project, and the named tests must notice."""

from dataclasses import dataclass
from pathlib import Path

from forks import Refused, Trial


@dataclass(frozen=True)
class Planted:
    """A text that stands exactly once in a file, and what stands there instead."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def trial(self, root: Path) -> Trial:
        """Return the run of its tests on the tree with the text replaced.

        Raises:
            Refused: The old text is not found exactly once.
        """
        path = root / self.file
        source = path.read_text("utf-8") if path.is_file() else ""
        if (count := source.count(self.old)) != 1:
            raise Refused(
                f"the planted mutant {self.name!r}: its old text stands {count} times in {self.file}, not once"
            )
        return Trial(self.name, self.tests, self.file, source.replace(self.old, self.new))


TRAINER, TABLES = ("tests/benchmark/test_trainer.py",), ("tests/benchmark/test_tables.py",)
BATCHES, STATISTICS = ("tests/benchmark/test_batches.py",), ("tests/benchmark/test_statistics.py",)
PLANTED = (
    Planted("no momentum", "benchmark/step.py", "momentum=recipe.momentum", "momentum=0.5", TRAINER),
    Planted("no weight decay", "benchmark/step.py", "weight_decay=recipe.weight_decay", "weight_decay=0.0", TRAINER),
    Planted("no schedule", "benchmark/step.py", 'group["lr"] = rate * factor', 'group["lr"] = rate', TRAINER),
    Planted("no seed", "benchmark/trainer.py", ".manual_seed(seed)", ".manual_seed(0)", TRAINER),
    Planted("averaged weights predict nothing", "benchmark/trainer.py", "        average.take()\n", "", TRAINER),
    Planted(
        "no shuffle",
        "benchmark/batches.py",
        "order = torch.randperm(len(data), generator=generator)",
        "order = torch.arange(len(data))",
        BATCHES,
    ),
    Planted("no augmentation", "benchmark/batches.py", "if not recipe.augment:", "if True:", BATCHES),
    Planted(
        "a misspelt no-weight-decay name passes",
        "benchmark/contracts/training.py",
        "if unknown := set(self.no_weight_decay) - {name for name, _ in named}:",
        "if unknown := set[str]():",
        ("tests/benchmark/test_contracts.py",),
    ),
    Planted(
        "a method misspells its no-weight-decay name",
        "methods/clip.py",
        'no_weight_decay = ("logit_scale",)',
        'no_weight_decay = ("logits_scale",)',
        ("tests/methods/test_rows.py",),
    ),
    Planted(
        "seeds of a fold are not averaged",
        "benchmark/scores.py",
        "folds=np.array([of_fold.mean() for of_fold in values])",
        "folds=np.array([of_fold[0] for of_fold in values])",
        ("tests/benchmark/test_scores.py",),
    ),
    Planted(
        "no Nadeau-Bengio correction",
        "benchmark/statistics.py",
        "1 / len(differences) + test_over_train",
        "1 / len(differences)",
        STATISTICS,
    ),
    Planted(
        "no Nadeau-Bengio correction in the tables",
        "benchmark/against_base.py",
        "corrected_t_test(delta, ratio)",
        "corrected_t_test(delta, 0.0)",
        TABLES,
    ),
    Planted("no Holm", "benchmark/statistics.py", "min(1.0, (len(known) - rank) * p)", "p", STATISTICS),
    Planted("no Holm in the tables", "benchmark/against_base.py", "holm([p for", "list([p for", TABLES),
    Planted(
        "the recipe is not in the identity",
        "benchmark/identity.py",
        "recipe=preset.recipe,",
        "recipe=Recipe(),",
        ("tests/benchmark/test_identity.py",),
    ),
    Planted(
        "the code is not in the key",
        "benchmark/identity.py",
        "[identity, plain_settings(row), read, code]",
        "[identity, plain_settings(row), read]",
        ("tests/benchmark/test_identity.py",),
    ),
    Planted(
        "the phantom looks at malignancy",
        "datasets/lidc/phantom/render.py",
        'nodule.rating("texture")',
        "nodule.malignancy",
        ("tests/datasets/lidc/phantom/test_render.py::test_malignancy_subtlety_and_sphericity_are_never_looked_at",),
    ),
    Planted(
        "a sample of the first patients",
        "datasets/cohort.py",
        "np.argsort(np.arange(len(patients)) * GOLDEN_RATIO % 1)",
        "np.arange(len(patients))",
        ("tests/datasets/test_cohort.py::test_a_sample_follows_multiples_of_the_golden_ratio",),
    ),
    Planted(
        "a reference is fed another column",
        "benchmark/references.py",
        "np.log(train.diameter_mm)[:, None]",
        "np.log(train.ratings[:, 0])[:, None]",
        ("tests/benchmark/test_references.py",),
    ),
    Planted(
        "fold data feed another column",
        "benchmark/contracts/folds.py",
        "cohort.diameter_mm[rows],",
        "cohort.slice_thickness_mm[rows],",
        ("tests/benchmark/test_contracts.py",),
    ),
    Planted(
        "no word of the phantom",
        "benchmark/origin.py",
        "said += [self.cohort.note] * self._is_phantom",
        "said += []",
        ("tests/benchmark/test_origin.py",),
    ),
    Planted(
        "no word of the random text tower",
        "benchmark/origin.py",
        'if self.reads_text and self.identity.text_tower.name == "random":',
        "if False:",
        ("tests/benchmark/test_origin.py",),
    ),
    Planted(
        "no word of the sample",
        "benchmark/origin.py",
        "if provenance.sample is None:",
        "if True:",
        ("tests/benchmark/test_origin.py",),
    ),
    Planted(
        "the text tower's weights are not in the key",
        "benchmark/identity.py",
        'read = weights if row.reads_text else ""',
        'read = ""',
        ("tests/benchmark/test_identity.py",),
    ),
    Planted(
        "any file of weights is OpenAI's",
        "methods/_weights.py",
        "sha256_of(file) == published_sha256()",
        "True",
        ("tests/methods/test_weights.py",),
    ),
    Planted(
        "GELU is taken for QuickGELU",
        "methods/_blocks.py",
        "exact = isinstance(block.mlp.gelu, nn.GELU)",
        "exact = False",
        (
            "tests/methods/test_text.py::test_equals_open_clips_own_pass_with_either_activation_and_more_features_than_width",
        ),
    ),
    Planted(
        "a named tower may be another model",
        "methods/_checkpoint.py",
        "if sha256 != stated:",
        "if False:",
        ("tests/methods/test_causal.py::test_a_name_never_stands_for_another_model_than_is_stated",),
    ),
    Planted(
        "no word of the projection",
        "benchmark/origin.py",
        "if self.reads_text and text != image:",
        "if False:",
        ("tests/benchmark/test_origin.py",),
    ),
    Planted(
        "a fold may lack a class",
        "datasets/folds.py",
        "if all(len(np.unique(fold_of[labels_three == label])) == n_folds for label in classes):",
        "if True:",
        ("tests/datasets/test_folds.py",),
    ),
)
