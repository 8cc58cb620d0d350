"""One fit from its name to its record on disk. Idempotent: a finished fit is never trained again."""

import inspect
import os
import time
import traceback
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from benchmark.contracts import Batch, Cohort, Fold, InputError, Method, Task
from benchmark.recipe import Recipe
from benchmark.records import FitRecord, FitSpec, Run, Status, versions
from benchmark.references import REFERENCES
from benchmark.trainer import fit, predict, to_images


def deterministic() -> None:
    """Make one process repeat its results bit for bit: one thread, and no algorithm chosen by a race."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def seed_of(spec: FitSpec) -> int:
    """Return the seed of a fit's weights and batches: the same for every method, so that they can be compared."""
    return int(np.random.SeedSequence([spec.seed, spec.fold]).generate_state(1)[0])


def hyperparameters(method: type[Method], given: dict[str, Any]) -> dict[str, Any]:
    """Return every hyperparameter of a method with its value: the given ones and the defaults."""
    parameters = list(inspect.signature(method).parameters.values())[1:]  # the first is the task
    return {p.name: p.default for p in parameters if p.default is not p.empty} | given


def run_fit(
    run: Run,
    spec: FitSpec,
    method_class: type[Method],
    given: dict[str, Any],
    task: Task,
    recipe: Recipe,
    cohort: Cohort,
    fold: Fold,
    labels: Int[np.ndarray, " nodules"],
    device: torch.device,
    title: str | None = None,
) -> FitRecord:
    """Train a method on a fold and write its record; return the record that is there already, if it is done.

    Args:
        run: Where the record goes.
        spec: Names the fit.
        method_class: What to train.
        given: Hyperparameters that differ from the method's defaults.
        task: What the method is told.
        recipe: How to train.
        cohort: All nodules.
        fold: Rows to train and test on.
        labels: Classes of all rows of the cohort in the task's label set.
        device: Where to train.
        title: Printed in place of the method's own title.

    Whatever breaks a fit is written down as its record, with the traceback, and the rest of the run goes on.
    """
    existing = run.read(spec)
    if existing is not None and existing.status == "done":
        return existing
    deterministic()
    torch.manual_seed(seed_of(spec))
    started = time.perf_counter()
    status: Status = "done"
    reason = ""
    facts: dict[str, Any] = {"versions": versions(), "device": _device_name(device), "recipe": vars(recipe)}
    proba = np.empty((0, task.num_classes))
    try:
        method = method_class(task, **given)
    except ValueError as error:
        status, reason = "unsupported", _sentence(error)
    except Exception as error:  # so is what a constructor raises
        status, reason = "failed", f"{type(error).__name__}: {_sentence(error)}"
        facts["traceback"] = traceback.format_exc()
    else:
        try:
            method.to(device)
            facts |= method.facts()
            facts["history"] = fit(method, _batch(cohort, fold.train, labels, recipe, device), recipe, seed_of(spec))
            proba = predict(method, to_images(cohort.volumes[fold.test], recipe.window_hu, device), task.num_classes)
        except InputError:
            raise
        except Exception as error:  # whatever a method raises is this fit's failure, not the night's
            status, reason = "failed", f"{type(error).__name__}: {_sentence(error)}"
            facts["traceback"] = traceback.format_exc()
    facts["seconds"] = round(time.perf_counter() - started, 3)
    tested = fold.test if status == "done" else fold.test[:0]
    record = FitRecord(
        spec=spec,
        status=status,
        reason=reason,
        identity=run.identity,
        hyperparameters=hyperparameters(method_class, given),
        facts=facts,
        title=title or method_class.title,
        decoder=method_class.decoder,
        nodule_ids=tuple(cohort.nodule_ids[i] for i in tested),
        labels=labels[tested],
        proba=proba,
    )
    run.write(record)
    return record


def run_reference(
    run: Run, spec: FitSpec, cohort: Cohort, fold: Fold, labels: Int[np.ndarray, " nodules"]
) -> FitRecord:
    """Compute a reference row on a fold and write its record, or return the one that is there."""
    existing = run.read(spec)
    if existing is not None:
        return existing
    started = time.perf_counter()
    title, reference = REFERENCES[spec.method]
    proba = reference(cohort, fold, labels[fold.train], seed_of(spec))
    record = FitRecord(
        spec=spec,
        status="done",
        reason="",
        identity=run.identity,
        hyperparameters={},
        facts={"versions": versions(), "device": "cpu", "seconds": round(time.perf_counter() - started, 3)},
        title=title,
        decoder="argmax",
        nodule_ids=tuple(cohort.nodule_ids[i] for i in fold.test),
        labels=labels[fold.test],
        proba=proba,
    )
    run.write(record)
    return record


def _batch(
    cohort: Cohort,
    rows: Int[np.ndarray, " rows"],
    labels: Int[np.ndarray, " nodules"],
    recipe: Recipe,
    device: torch.device,
) -> Batch:
    return Batch(
        to_images(cohort.volumes[rows], recipe.window_hu, device),
        torch.from_numpy(labels[rows]).to(device),
        torch.from_numpy(cohort.ratings[rows]).to(device, torch.float32),
    )


def _sentence(error: Exception) -> str:
    """Return the first line of what an error says."""
    return (str(error).splitlines() or [""])[0]


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
