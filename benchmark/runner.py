"""One fit from its description to its record on disk. Idempotent: a finished fit is never trained again."""

import os
import time
import traceback
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from benchmark import weightfiles, weights
from benchmark.batches import part_of
from benchmark.checkpoint import About, Checkpoints
from benchmark.contracts import FoldData, InputError, Method, Row, Task, Unsupported
from benchmark.extras import NO_EXTRAS, Extras
from benchmark.files import sha256
from benchmark.identity import commit, plain_settings
from benchmark.memory import with_less_memory
from benchmark.recipe import Preset
from benchmark.records import FitRecord, FitSpec, Metadata, Unusable, versions
from benchmark.run import Run
from benchmark.trainer import checked, fit, predict
from benchmark.voxels import placed_once

Proba = Float[np.ndarray, "nodules classes"]

_EVAL_BATCH = 256  # images that are encoded at once
_AT_ONCE = 1024  # test images in memory, of which the trainer takes a part at a time: 134 MB


def deterministic() -> None:
    """Make one process repeat its results bit for bit: one thread, and no algorithm chosen by a race.

    On CUDA float32 is float32: heads and losses are not rounded to TF32 in passing.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def seed_of(spec: FitSpec) -> int:
    """Return the seed of a fit's weights and batches: the same for every row, so that they can be compared."""
    return int(np.random.SeedSequence([spec.seed, spec.fold]).generate_state(1).item())


@dataclass(frozen=True)
class Setup:
    """How a fit is made.

    Attributes:
        preset: Recipe, encoder and text tower.
        device: Where to train.
        key: Of the record (`identity.fit_key`).
        extras: What it leaves beside its probabilities.
    """

    preset: Preset
    device: torch.device
    key: str
    extras: Extras = NO_EXTRAS


@dataclass(frozen=True, eq=False)
class Result:
    """What a fit comes to.

    Attributes:
        proba: Of the test nodules.
        metadata: How it came about.
        weights: The bytes that are kept of it; None where nothing is.
    """

    proba: Proba
    metadata: Metadata
    weights: bytes | None = None


def run_fit(run: Run, spec: FitSpec, row: Row, data: FoldData, setup: Setup) -> FitRecord:
    """Make a fit and write its record; return the record that is there already, if it is done.

    Whatever breaks a fit is written down as its record, with the traceback, and the rest of the run goes on.

    Raises:
        InputError: The cohort or the text tower cannot be had; nothing is written.
    """
    try:
        existing = run.read(spec, setup.key, data.digest)
    except Unusable:  # whoever planned the run has set aside what it found; this came since
        existing = None
    if existing is not None and existing.status == "done":
        return existing
    started = time.perf_counter()
    record = failure(run, spec, row, data, setup)
    kept = None
    made_by = record.metadata.versions, record.metadata.device, setup.extras.test_curve
    about = About(spec, setup.key, data.digest, *made_by)
    checkpoints = Checkpoints(run.checkpoint_path(spec), about, setup.extras.checkpoint_s)
    try:
        result = _train(spec, row, data, setup, record.metadata, checkpoints)
        kept = result.weights
        record = replace(
            record,
            status="done",
            metadata=replace(result.metadata, weights=sha256(kept) if kept else ""),
            nodule_ids=data.test_ids,
            labels=data.test_labels,
            proba=result.proba,
        )
    except InputError:
        raise
    except Unsupported as error:
        record = replace(record, status="unsupported", reason=_sentence(error))
    except Exception as error:  # whatever a row raises is this fit's failure, not the night's
        reason = f"{type(error).__name__}: {_sentence(error)}"
        metadata = replace(record.metadata, traceback=traceback.format_exc())
        record = replace(record, reason=reason, metadata=metadata)
    seconds = round(checkpoints.seconds + time.perf_counter() - started, 3)
    record = replace(record, metadata=replace(record.metadata, seconds=seconds))
    run.write(record, kept)
    checkpoints.remove()
    return record


def failure(run: Run, spec: FitSpec, row: Row, data: FoldData, setup: Setup, reason: str = "") -> FitRecord:
    """Return the record of a fit that failed."""
    return FitRecord(
        spec=spec,
        kind=row.kind,
        status="failed",
        reason=reason,
        key=setup.key,
        data=data.digest,
        identity=run.identity,
        settings=plain_settings(row),
        decoder=row.decoder,
        metadata=Metadata(versions(), _device_name(setup.device), commit()),
        nodule_ids=(),
        labels=data.test_labels[:0],
        proba=np.empty((0, len(data.class_names))),
    )


def _train(
    spec: FitSpec, row: Row, data: FoldData, setup: Setup, metadata: Metadata, checkpoints: Checkpoints
) -> Result:
    """Return the test fold's probabilities, how they came about, and what is kept."""
    seed, preset, device = seed_of(spec), setup.preset, setup.device
    if row.reference is not None:
        parts, classes = (data.columns(data.train), data.columns(data.test)), len(data.class_names)
        proba = checked(row.reference(*parts, data.train_labels, classes, seed), len(data.test), classes)
        return Result(proba, metadata)
    deterministic()
    cohort, recipe = data.cohort(), preset.recipe
    if row.reads_diameter and not np.isfinite(cohort.diameter_mm[[*data.train, *data.test]]).all():
        raise Unsupported("the collection does not give every nodule's diameter")  # seen before hours of training
    task = task_of(data, preset)
    seen = row.sees(task)
    voxels = placed_once(cohort, device, recipe.window_hu, seen.image_shape[0])
    train = part_of(cohort, voxels, data.train, data.train_labels)
    test = part_of(cohort, voxels, data.test, np.full(len(data.test), -1))

    def attempt(micro_batch: int | None) -> Result:
        torch.manual_seed(seed)
        method = to_device(row.build(seen), device)

        def tested() -> Proba:
            parts = test.split(_AT_ONCE)
            proba = [predict(method, part.images, task.num_classes, part.diameter_mm, micro_batch) for part in parts]
            return np.concatenate(proba)

        def look(epoch: int) -> None:
            with torch.random.fork_rng([device] if device.type == "cuda" else []):  # a plugin may draw to predict
                accuracy = (tested().argmax(axis=1) == data.test_labels).mean()
                checkpoints.test_curve.append(float(accuracy))

        looks = look if setup.extras.test_curve else None
        fitted = fit(method, train, recipe, seed, micro_batch, looks, checkpoints)
        made = replace(
            metadata,
            history=fitted.history,
            step=fitted.step,
            micro_batch=micro_batch,
            test_curve=checkpoints.test_curve,
            resumed=checkpoints.resumed,
        )
        proba = tested()
        kept = None
        if setup.extras.weights:
            about = weightfiles.About(spec, setup.key, task)
            kept = weights.pack(method, about, weights.image_features(method, test.split(micro_batch or _EVAL_BATCH)))
        return Result(proba, replace(made, method=method.metadata()), kept)

    return with_less_memory(attempt, min(recipe.batch_size, len(data.train)), checkpoints.micro_batch)


def to_device(method: Method, device: torch.device) -> Method:
    """Move a method; on CUDA its convolutions then run with channels last, which tensor cores like."""
    method.to(device)
    return method.to(memory_format=torch.channels_last) if device.type == "cuda" else method


def task_of(data: FoldData, preset: Preset) -> Task:
    """Return what is told of a fold's data and a run's preset; a row is given what it sees of it."""
    cohort = data.cohort()
    return Task(
        num_classes=len(data.class_names),
        class_names=data.class_names,
        attribute_names=cohort.attribute_names,
        image_shape=cohort.volumes.shape[1:],
        encoder=preset.encoder,
        text_tower=preset.text_tower,
    )


def _sentence(error: Exception) -> str:
    """Return the first line of what an error says."""
    return (str(error).splitlines() or [""])[0]


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
