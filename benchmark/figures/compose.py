"""From kept weights to a folder of figures: each chosen fit is built anew and looked into, on the CPU.

All fits are of one fold and seed, so that they are asked about the same nodules, none of which they were trained on.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from benchmark.contracts import Cohort, InputError, Row, Task, TextTowerSpec
from benchmark.figures import draw
from benchmark.figures.attention import Means, attention, examples, means, projected
from benchmark.figures.features import Spread, spread
from benchmark.figures.folder import Line
from benchmark.figures.gradcam import last_map, maps_of, upsampled
from benchmark.figures.page import Kind
from benchmark.identity import Identity
from benchmark.intervals import Interval
from benchmark.origin import sample_notes
from benchmark.prediction import rebuilt, usable
from benchmark.records import FitRecord
from benchmark.run import Run
from benchmark.runner import deterministic
from benchmark.voxels import images_of

Outline = Bool[np.ndarray, "depth rows columns"]

SEED = 0
PER_CLASS = 2  # nodules shown
LARGEST_SVG = 10**6  # bytes; what is larger becomes a PNG, so that a page with three of them stays small
_AT_ONCE = 1024  # images in memory
_SHARES = ("inside", "area", "swapped", "best", "gain", "own")


@dataclass(frozen=True, eq=False)
class Looked:
    """What one trained method shows of its test nodules.

    Attributes:
        fit: Its record.
        title: As printed.
        task: Its run's, with whole crops.
        features: What its image encoder makes of the nodules.
        maps: Its Grad-CAM of them.
    """

    fit: FitRecord
    title: str
    task: Task
    features: Float[np.ndarray, "nodules features"]
    maps: Float[Tensor, "nodules height width"]


def fit_of(run: Run, row: Row, label_set: str, fold: int) -> FitRecord:
    """Return the fit of a row that can be looked into.

    Raises:
        InputError: There is none, or its weights were not kept.
    """
    for record in usable(run, row, label_set):
        if (record.spec.fold, record.spec.seed) == (fold, SEED):
            return record
    raise InputError(
        f"{run.folder} has no finished fit of {row.key} on fold {fold} with seed {SEED}: give another --fold"
    )


def look(run: Run, row: Row, fit: FitRecord, cohort: Cohort, tower: TextTowerSpec) -> Looked:
    """Build a fit's method anew and ask it where it looks.

    Args:
        run: Which kept the weights.
        row: As it was made there.
        fit: Of `fit_of`.
        cohort: The run's own.
        tower: Where the run's text tower is; read only by rows that read text.

    Raises:
        InputError: Its weights are missing, damaged or of another fit, or it has no single image encoder.
    """
    deterministic()
    method, kept = rebuilt(run, row, fit, tower, torch.device("cpu"))
    try:
        last_map(method)
    except ValueError as error:
        raise InputError(f"{row.key} cannot be looked into: {error}") from error
    if kept.features is None:
        raise InputError(f"{row.key} cannot be looked into: its image encoder gives no pooled features")
    rows, maps, slices = rows_of(cohort, fit), list[Tensor](), row.sees(kept.about.task).image_shape[0]
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        diameter_mm = torch.from_numpy(cohort.diameter_mm[some]).float()
        maps.append(maps_of(method, _images(run.identity, cohort, some, slices), diameter_mm))
    return Looked(fit, row.title, kept.about.task, kept.features.numpy(), torch.cat(maps))


def rows_of(cohort: Cohort, fit: FitRecord) -> list[int]:
    """Return the rows of a fit's test nodules in its run's cohort."""
    row_of = {name: row for row, name in enumerate(cohort.nodule_ids)}
    return [row_of[name] for name in fit.nodule_ids]


def note_of(run: Run, cohort: Cohort, looked: Sequence[Looked], reads_text: bool) -> str:
    """Say what figures rest on."""
    identity, fit = run.identity, looked[0].fit
    said = [cohort.note, *sample_notes(cohort.provenance, identity)]
    if reads_text and identity.text_tower.name == "random":
        said.append("Text tower: random weights, which know nothing of language.")
    said.append(
        f"Preset {identity.preset}, cohort {identity.cohort[:12]}; the {len(fit.labels):,} nodules of fold "
        f"{fit.spec.fold}, label set {fit.spec.label_set!r}, on which these fits (seed {fit.spec.seed}) were not "
        "trained."
    )
    return " ".join(said)


def compose(
    looked: Sequence[Looked], cohort: Cohort, outlines: Iterable[Outline] | None, note: str
) -> tuple[dict[str, bytes], list[Line]]:
    """Draw what was seen; return each figure as the name of its file and its bytes, and the numbers behind them.

    Args:
        looked: One of each method, of the same test nodules.
        cohort: The run's own.
        outlines: Of these nodules, in the order of the record; None where the collection has none.
        note: Of `note_of`.

    Raises:
        InputError: The fits were tested on different nodules, or on fewer than five.
    """
    first, task = looked[0].fit, looked[0].task
    if other := [one.title for one in looked if one.fit.data != first.data]:
        raise InputError(f"{other[0]} and {looked[0].title} were tested on other nodules: leave one out with --methods")
    rows, labels, names = rows_of(cohort, first), first.labels, task.class_names
    patients = [cohort.patient_ids[row] for row in rows]
    depth, height, width = task.image_shape
    seen = min(task.encoder.slices or depth, depth)
    inside = None if outlines is None else np.stack([projected(outline, seen) for outline in outlines])

    by_title = _by_title(looked)
    spreads = {title: spread(one.features, labels, patients) for title, one in by_title.items()}
    found = {} if inside is None else {title: attention(one.maps, inside) for title, one in by_title.items()}
    over = {title: means(found[title], patients) if found else None for title in by_title}
    lines = [line for title, one in by_title.items() for line in _lines(one.fit, title, spreads[title], over[title])]

    chosen = examples(labels, cohort.diameter_mm[rows], PER_CLASS)
    shown = [rows[number] for number in chosen]
    central = _images(first.identity, cohort, shown, 1)[:, 0].numpy()
    outlined = None if inside is None else inside[chosen]
    maps = {title: upsampled(one.maps[chosen], height, width).numpy() for title, one in by_title.items()}
    parts = {title: one.inside[chosen] for title, one in found.items()}
    words = [draw.words_of(cohort, row, names[label]) for row, label in zip(shown, labels[chosen], strict=True)]
    drawn: dict[str, Callable[[Kind], bytes]] = {
        "tsne": lambda kind: draw.clouds(spreads, labels, cohort.malignancy[rows], names, note, kind),
        "attention": lambda kind: draw.attention_maps(central, outlined, maps, parts, words, note, kind),
        "shares": lambda kind: draw.shares(over, note, kind),
    }
    return dict(_file(name, of_kind) for name, of_kind in drawn.items()), lines


def _images(
    identity: Identity, cohort: Cohort, rows: Sequence[int], slices: int
) -> Float[Tensor, "nodules slices rows columns"]:
    """Return the central slices of some nodules as an encoder sees them."""
    return images_of(torch.from_numpy(np.asarray(cohort.volumes[rows])), identity.recipe.window_hu, slices)


def _by_title(looked: Sequence[Looked]) -> dict[str, Looked]:
    """Return them by title, with the key behind it where a plugin's row has the title of another."""
    count = Counter(one.title for one in looked)
    return {one.title if count[one.title] == 1 else f"{one.title} ({one.fit.spec.method})": one for one in looked}


def _file(name: str, drawn: Callable[[Kind], bytes]) -> tuple[str, bytes]:
    """Return a figure as an SVG, or as a PNG where that would be large."""
    content = drawn("svg")
    return (f"{name}.svg", content) if len(content) <= LARGEST_SVG else (f"{name}.png", drawn("png"))


def _lines(fit: FitRecord, title: str, spread: Spread, over: Means | None) -> Iterator[Line]:
    """Return the numbers behind the figures, in one order."""

    def line(share: str, value: Interval, nodules: int, left_out: int = 0) -> Line:
        numbers = value.value, value.low, value.high
        spec, weights = fit.spec, fit.metadata.weights
        fit_named = spec.label_set, spec.method, spec.fold, spec.seed, weights, title
        return Line(*fit_named, nodules, left_out, share, *numbers)

    if over is not None:
        yield from (line(name, getattr(over, name), over.nodules, over.left_out) for name in _SHARES)
    yield line("alike", spread.alike, len(fit.labels))
    yield line("alike_by_chance", Interval(*[spread.by_chance] * 3), len(fit.labels))
