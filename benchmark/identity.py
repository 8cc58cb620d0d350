"""What makes results comparable: the identity that all fits of a run share, and the key of one fit.

The identity says what was asked for: cohort, labels, folds, recipe, encoder, text tower, settings. The key covers it,
the row's hyperparameters and the code that makes the result, so that a changed loss or trainer trains anew, and a
changed comment or docstring does not.
"""

import ast
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, cast

import msgspec
import numpy as np
from jaxtyping import Int
from msgspec import Meta

from benchmark.contracts import Cohort, EncoderSpec, InputError, Json, Row, Setting, TextTowerSpec
from benchmark.files import code_hash, sha256
from benchmark.plugins import PREFIX
from benchmark.recipe import Preset, Recipe

ROOT = Path(__file__).resolve().parents[1]
TRAINING = (
    *("batches.py", "voxels.py", "trainer.py", "average.py", "step.py", "graphs.py", "state.py", "checkpoint.py"),
    *("contracts/training.py", "contracts/rows.py", "contracts/traits.py", "contracts/tasks.py"),
)
ALWAYS = ("runner.py", "memory.py", "contracts/folds.py")
SPLIT = "ignores patients "
"""Stands before the hash of folds that put nodules of one patient on both sides."""


@dataclass(frozen=True)
class Identity:
    """What all fits of a run must share to be comparable.

    Attributes:
        collection: Title of the nodules' collection.
        source: Where the voxels come from.
        cohort: Content hash of the cohort.
        nodules: Their number.
        label_rule: How a class is made from the malignancy scores.
        folds: Number of folds.
        fold_assignment: Hash of which nodule is in which fold; a word stands before it where folds split patients.
        preset: Name of the preset, or of the user's file, and what the command line changed of its recipe.
        recipe: Optimiser settings.
        encoder: The image encoder.
        text_tower: The text tower, without its file and the hash of that, which only rows that read text depend on.
        settings: Hyperparameters changed by `--set`, e.g. `{"clip_lung.alpha": 0.5}`.
    """

    collection: str
    source: str
    cohort: str
    nodules: int
    label_rule: str
    folds: Annotated[int, Meta(ge=2)]
    fold_assignment: str
    preset: str
    recipe: Recipe
    encoder: EncoderSpec
    text_tower: TextTowerSpec
    settings: dict[str, Json]

    @property
    def splits_patients(self) -> bool:
        """Whether nodules of one patient are trained on and tested: its scores are then no result."""
        return self.fold_assignment.startswith(SPLIT)

    def plain(self, weights: str = "") -> dict[str, Json]:
        """Return it as JSON has it, with the hash of the text tower's weights where a file gave them.

        What is None is left out: TOML, in which numbers are accepted, has no word for it.
        """
        left_out = {"path", "weights", *(["config"] * (self.text_tower.config is None))}
        tower = {name: value for name, value in vars(self.text_tower).items() if name not in left_out}
        encoder = {name: value for name, value in vars(self.encoder).items() if value is not None}
        changed = {"encoder": encoder, "text_tower": tower | ({"weights": weights} if weights else {})}
        return _plain(vars(self) | changed)


def identity_of(
    cohort: Cohort,
    fold_of: Int[np.ndarray, " nodules"],
    label_rule: str,
    preset_name: str,
    preset: Preset,
    settings: Mapping[str, Json],
) -> Identity:
    """Return the identity of a run. Whether folds split patients is seen here, so that nobody can forget to say it."""
    assignment = sha256(np.asarray(fold_of, dtype="<i8").tobytes())
    return Identity(
        collection=cohort.collection,
        source=cohort.source,
        cohort=cohort.content_hash,
        nodules=len(cohort),
        label_rule=label_rule,
        folds=preset.folds,
        fold_assignment=SPLIT * splits_patients(cohort.patient_ids, fold_of) + assignment,
        preset=preset_name,
        recipe=preset.recipe,
        encoder=preset.encoder,
        text_tower=without_file(preset.text_tower),
        settings=dict(settings),
    )


def splits_patients(patient_ids: Sequence[str], fold_of: Int[np.ndarray, " nodules"]) -> bool:
    """Return whether some patient has nodules in more than one fold.

    >>> splits_patients(["p1", "p1", "p2"], np.array([0, 0, 1])), splits_patients(["p1", "p1"], np.array([0, 1]))
    (False, True)
    """
    return len(set(zip(patient_ids, fold_of.tolist(), strict=True))) > len(set(patient_ids))


def without_file(tower: TextTowerSpec) -> TextTowerSpec:
    """Return what a text tower is, wherever its weights come from."""
    return replace(tower, path=None, weights="")


def fit_key(identity: Identity, row: Row, code: str | None = None, weights: str = "") -> str:
    """Return the hash of all that decides the results of a row's fits, but for its fold data and seed.

    Args:
        identity: Of the run.
        row: What is made.
        code: Hash of its code; None reads the files as they are now.
        weights: Hash of the text tower's weights, which only a row that reads text depends on; empty if no file
            gave them.
    """
    code = code_of(row) if code is None else code
    read = weights if row.reads_text else ""
    return sha256(msgspec.json.encode([identity, plain_settings(row), read, code], order="sorted"))


def as_set(row: Row, settings: Mapping[str, Json]) -> Row:
    """Return a row with what `--set` changed of it in a run (`Identity.settings`)."""
    own = f"{row.key}."
    changed = {place.removeprefix(own): cast(Setting, settings[place]) for place in settings if place.startswith(own)}
    return replace(row, hyperparameters={**row.hyperparameters, **changed})


def plain_settings(row: Row) -> dict[str, Json]:
    """Return every hyperparameter of a row with its value, as JSON has it; a function by its name."""
    return _plain(row.settings)


def _plain(content: Mapping[str, object]) -> dict[str, Json]:
    plain = msgspec.json.encode(content, enc_hook=_name, order="deterministic")  # sets have no order of their own
    return msgspec.json.decode(plain, type=dict[str, Json])


def _name(value: object) -> str:
    """Name what JSON cannot hold, the same in every process: functions and classes by name, others by their repr.

    Raises:
        InputError: It has no such name.
    """
    name = getattr(value, "__qualname__", None)
    if name is not None:
        module = getattr(value, "__module__", "")
        return f"{'plugin' if module.startswith(PREFIX) else module}.{name}"  # wherever the plugin's file lies
    if " at 0x" in repr(value):
        raise InputError(
            f"a hyperparameter's value {value!r} is named by its place in memory, so its fits could never be found "
            "again: use a number, a text, a function or a class"
        )
    return repr(value)


def code_of(row: Row) -> str:
    """Return the hash of the code that makes a row's results: its own files, the runner's, a method's trainer's."""
    beneath = ROOT.joinpath(*row.module.split(".")).with_suffix(".py")  # else a plugin's, which is imported
    own = sources(beneath if beneath.is_file() else Path(sys.modules[row.module].__file__ or ""))
    names = (*ALWAYS, *(() if row.reference else TRAINING))
    return code_hash(sorted({*own, *(ROOT / "benchmark" / name for name in names)}))


def sources(file: Path) -> set[Path]:
    """Return a row's file and all that it imports, directly or not, from `methods` or from beside it; no registry."""
    found, todo = set[Path](), [file]
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            for name in _imported(path.read_text("utf-8")):
                below = ROOT.joinpath(*name.split(".")) if name.startswith("methods.") else path.parent / name
                todo += [file for file in (below.with_suffix(".py"),) if file.is_file()]
    return found


@cache
def _imported(source: str) -> frozenset[str]:
    """Return the names that a file imports: those below `methods`, and whatever may be a file beside it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return frozenset(name for name in names if name.startswith("methods.") or (name and "." not in name))


@cache
def commit() -> str:
    """Return the git commit of the checkout, with `-dirty` where files differ from it; empty where git cannot tell."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
