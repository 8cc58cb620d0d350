"""Nodules that no fold holds, through the kept weights of a row's fits: each fit has its say, their mean decides."""

import csv
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float, Int16

from benchmark import weights
from benchmark.contracts import InputError, Method, Row, TextTowerSpec
from benchmark.files import in_csv, is_bomb, is_cell
from benchmark.identity import plain_settings
from benchmark.metrics import decide
from benchmark.records import FitRecord, Unusable
from benchmark.run import Run
from benchmark.runner import deterministic, seed_of, to_device
from benchmark.trainer import predict
from benchmark.voxels import images_of

ARRAY = "volumes"
_AT_ONCE = 1024  # images in memory


@dataclass(frozen=True, eq=False)
class Crops:
    """Nodules to predict.

    Attributes:
        ids: Their names.
        hu: Hounsfield units, axes (nodule, slice, row, column), prepared as the run's own.
        diameter_mm: NaN where unknown.
    """

    ids: tuple[str, ...]
    hu: Int16[np.ndarray, "nodules slices rows columns"]
    diameter_mm: Float[np.ndarray, " nodules"]

    def __post_init__(self) -> None:
        if unfit := [name for name in self.ids if not is_cell(name)]:
            raise InputError(
                f"the nodule_id {unfit[0]!r} is a formula to a spreadsheet, or more than one line: name it otherwise"
            )


def read_crops(path: Path) -> Crops:
    """Read crops from an .npy of int16 [nodules, slices, rows, columns], or an .npz that has them as `volumes`.

    An .npz may also hold `nodule_ids` and `diameter_mm`; without ids nodules are numbered from 0.

    Raises:
        InputError: The file is none of these.
    """
    wanted = "give an .npy of int16 crops [nodules, slices, rows, columns] in HU, or an .npz with them as `volumes`"
    try:
        if is_bomb(path):
            raise ValueError("it unpacks to hundreds of times its size")
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {ARRAY: loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded}
    except FileNotFoundError as error:
        raise InputError(f"there is no {path}: {wanted}") from error
    except (ValueError, EOFError, OSError, BadZipFile, zlib.error, RuntimeError, MemoryError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as crops ({said}): {wanted}") from error
    hu = arrays.get(ARRAY)
    if hu is None or hu.ndim != 4 or hu.dtype != np.int16 or not len(hu):
        there = "no such array" if hu is None else f"{hu.dtype} {list(hu.shape)}"
        raise InputError(f"{path} holds no crops ({there}): {wanted}")
    ids = arrays.get("nodule_ids", np.arange(len(hu)).astype(str))
    diameter_mm = arrays.get("diameter_mm", np.full(len(hu), np.nan))
    if ids.shape != (len(hu),) or diameter_mm.shape != (len(hu),) or diameter_mm.dtype.kind not in "fiu":
        raise InputError(f"{path}: nodule_ids and diameter_mm must hold one value for each of its {len(hu)} crops")
    return Crops(tuple(map(str, ids.tolist())), hu, diameter_mm.astype(np.float64))


def usable(run: Run, row: Row, label_set: str) -> list[FitRecord]:
    """Return the finished fits of a row on a label set, all of which kept their weights, by fold and seed.

    Raises:
        InputError: There is none, one cannot be read, was made with other hyperparameters, or did not keep its weights.
    """
    specs = [spec for spec in run.specs() if (spec.method, spec.label_set) == (row.key, label_set)]
    found = []
    for spec in sorted(specs, key=lambda spec: (spec.fold, spec.seed)):
        try:
            record = run.read(spec)
        except Unusable as error:
            raise InputError(
                f"the record {run.path(spec)} cannot be used: {error}; run the run's command again"
            ) from error
        if record is not None and record.status == "done":
            found.append(record)
    if not found:
        raise InputError(f"{run.folder} has no finished fit of {row.key} on the label set {label_set!r}")
    if row.reference or found[0].kind == "reference":
        raise InputError(f"{row.key} is a reference, which has no weights to predict with: choose a method")
    if without := [record for record in found if not record.metadata.weights]:
        raise InputError(
            f"{run.folder} did not keep the weights of {row.key} ({len(without)} of {len(found)} fits): make the run "
            "anew in another --out with --keep-weights"
        )
    if any(record.settings != plain_settings(row) for record in found):
        raise InputError(
            f"{run.folder} made {row.key} with other hyperparameters than this checkout: use the run's own"
        )
    return found


def predict_each(
    run: Run, row: Row, fits: Sequence[FitRecord], crops: Crops, tower: TextTowerSpec, device: torch.device
) -> Float[np.ndarray, "fits nodules classes"]:
    """Return what each fit makes of the nodules.

    Args:
        run: Which kept the weights.
        row: As it was made there, settings changed by hand among them.
        fits: Of `usable`.
        crops: The nodules.
        tower: Where the run's text tower is; read only by rows that read text.
        device: Where to compute.

    Raises:
        InputError: Weights are missing, damaged or of another fit, or the nodules are not of the shape or lack the
            diameter that the row reads.
    """
    deterministic()
    window_hu, found = run.identity.recipe.window_hu, []
    if row.reads_diameter and not np.isfinite(crops.diameter_mm).all():
        raise InputError(
            f"{row.key} reads every nodule's diameter in mm: give a folder whose nodules.csv has the column "
            "diameter_mm, or an .npz with the array diameter_mm, and no value left out"
        )
    for record in fits:
        method, kept = rebuilt(run, row, record, tower, device)
        task = kept.about.task
        if crops.hu.shape[1:] != task.image_shape:
            there = task.image_shape
            raise InputError(f"the crops are {crops.hu.shape[1:]} voxels, and the run's are {there}")
        proba = []
        for start in range(0, len(crops.hu), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            images = images_of(torch.from_numpy(crops.hu[part]).to(device), window_hu, row.sees(task).image_shape[0])
            diameter_mm = torch.from_numpy(crops.diameter_mm[part]).to(device, torch.float32)
            proba.append(predict(method, images, task.num_classes, diameter_mm))
        found.append(np.concatenate(proba))
    return np.stack(found)


def rebuilt(
    run: Run, row: Row, record: FitRecord, tower: TextTowerSpec, device: torch.device
) -> tuple[Method, weights.Weights]:
    """Return a fit's method, built anew with its kept weights and in eval mode, and all that was kept.

    Args:
        run: Which kept them.
        row: As it was made there, settings changed by hand among them.
        record: Of the fit.
        tower: Where the run's text tower is; read only by rows that read text.
        device: Where to put it.

    Raises:
        InputError: Weights are missing, damaged or of another fit.
    """
    try:
        kept = weights.read(run, record)
        task = replace(kept.about.task, text_tower=tower)
        torch.manual_seed(seed_of(record.spec))  # as when it was trained, for what a plugin may draw and not keep
        return kept.into(to_device(row.build(row.sees(task)), device)), kept
    except Unusable as error:
        raise InputError(
            f"the weights of the fit {record.spec.path()} cannot be used: {error}; put the file back, or make the run "
            "anew in another --out with --keep-weights"
        ) from error


def csv_text(
    crops: Crops,
    each: Float[np.ndarray, "fits nodules classes"],
    row: Row,
    class_names: Sequence[str],
    remarks: Sequence[str],
) -> str:
    """Return a line per nodule: id, decision, mean probabilities over the fits, standard deviations between them.

    Args:
        crops: The nodules.
        each: What each fit says; a single fit has no deviation, and its cells are empty.
        row: Whose decoder decides, on the mean.
        class_names: Of the probabilities' columns.
        remarks: Stand above as comments, a line each, behind `# `.
    """
    mean = each.mean(axis=0)
    out = io.StringIO()
    out.writelines(f"# {in_csv(remark)}\n" for remark in remarks)
    writer = csv.writer(out, lineterminator="\n")
    names = [in_csv(name) for name in class_names]
    writer.writerow(["nodule_id", "decision", *(f"p_{k}" for k in names), *(f"std_{k}" for k in names)])
    spread = each.std(axis=0, ddof=1).tolist() if len(each) > 1 else None
    for number, (name, decision) in enumerate(zip(crops.ids, decide(mean, row.decoder).tolist(), strict=True)):
        deviations = [f"{value:.6f}" for value in spread[number]] if spread else [""] * len(class_names)
        writer.writerow([name, names[decision], *(f"{value:.6f}" for value in mean[number]), *deviations])
    return out.getvalue()
