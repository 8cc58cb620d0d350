"""Predict your own nodules with a run's kept weights: `python -m benchmark predict RUN METHOD --input PATH`.

PATH is a folder in the form that `--collection` of run_all.py takes (nodules.csv beside crops, scans or DICOM series;
its labels are not read), an .npy of int16 crops [nodules, 32, 32, 32] in Hounsfield units (axes slice, row, column), or
an .npz with these as `volumes` and, if wished, `nodule_ids` and `diameter_mm`. Out comes a CSV. This is research and no
medical device.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import datasets
import methods
from benchmark import choose, plugins, presets, references
from benchmark.commandline import Parser
from benchmark.commandline import path as path_of
from benchmark.contracts import InputError, Row, TextTowerSpec
from benchmark.experiment import hash_of
from benchmark.files import write_atomically
from benchmark.identity import as_set, fit_key, without_file
from benchmark.origin import sample_notes
from benchmark.places import writable_file
from benchmark.prediction import Crops, csv_text, predict_each, read_crops, usable
from benchmark.records import FitRecord
from benchmark.run import Run
from benchmark.screen import consoles, guarded, say
from datasets.protocols import LABEL_SETS
from methods._describe import describe
from methods._tower import load_text_tower

DEVICE = "Research, not a medical device: these probabilities must not guide a decision about any patient."
KNOWN = "Nodules that the run was trained on look better here than they are."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0, or 2 for bad input."""
    parser = Parser(prog="python -m benchmark predict", description=__doc__.partition(":")[0] + f". {DEVICE}")
    add = parser.add_argument
    add("run", type=path_of, metavar="RUN", help="a run folder that kept its weights")
    add("method", metavar="METHOD", help="a row's key, such as ce")
    add("--input", type=path_of, required=True, metavar="PATH", help="a folder with nodules.csv, or an .npy or .npz")
    add("--out", type=path_of, metavar="FILE.csv", help="where to write (default: the screen)")
    add("--label-set", metavar="KEY", help="three or two (default: three, if the run has it)")
    add(
        "--text-tower",
        metavar="TOWER",
        help="where the run's text tower is, if that is not OpenAI's on the hub; only rows that read text read it",
    )
    add("--plugin", type=path_of, action="append", default=[], metavar="FILE", help="a file that adds the row")
    add("--device", default="auto", help="cpu, cuda, cuda:N, mps or auto (default)")

    def predict() -> int:
        options = parser.parse_args(argv)
        _, err = consoles()
        plugins.load(options.plugin, methods.ROWS, datasets.COLLECTIONS)
        if options.run.is_file():
            raise InputError(f"{options.run} is a file, and a packed run has no weights: give the folder of the run")
        run, known = Run.open(options.run), choose.join(methods.ROWS, references.ROWS)
        row = as_set(row_of(run, options.method, known), run.identity.settings)
        device = torch.device(choose.choose_device(options.device))
        label_set = chosen_label_set(run, row, options.label_set)
        fits = usable(run, row, label_set)
        tower = tower_of(run, row, options.text_tower)
        if options.out is not None:
            writable_file(options.out, "--out", "predictions.csv")
        crops = crops_of(options.input)
        each = predict_each(run, row, fits, crops, tower, device)
        remarks = remarks_on(run, row, fits)
        for remark in remarks:  # once nothing more can be refused
            say(err, remark, "yellow")
        text = csv_text(crops, each, row, LABEL_SETS[label_set], remarks)
        if options.out is None:
            sys.stdout.write(text)
        else:
            write_atomically(options.out, text)
            say(err, f"Written to {options.out}")
        return 0

    return guarded("benchmark.predict", predict)


def row_of(run: Run, key: str, known: Mapping[str, Row]) -> Row:
    """Return a row by its key.

    Args:
        run: Whose rows are offered where the key is nobody's.
        key: As given.
        known: All rows that there are.

    Raises:
        InputError: The run has it from a plugin that is not there, or nobody has it.
    """
    there = {spec.method for spec in run.specs()}
    if key in there - known.keys():
        raise InputError(f"{key} is the row of a plugin in {run.folder}: give the plugin's file with --plugin")
    if key not in known:
        choose.choose("method", key, sorted(there - references.ROWS.keys()) or known)
    return known[key]


def chosen_label_set(run: Run, row: Row, asked: str | None) -> str:
    """Return the label set asked for, else the first that the run has of the row.

    Raises:
        InputError: There is none.
    """
    if asked is not None:
        return choose.choose("label set", asked, LABEL_SETS)
    there = {spec.label_set for spec in run.specs() if spec.method == row.key}
    if not (found := [name for name in LABEL_SETS if name in there]):
        raise InputError(f"{run.folder} has no fit of {row.key}: choose a row that it made")
    return found[0]


def crops_of(path: Path) -> Crops:
    """Read the nodules of a file, or of a folder with nodules.csv.

    Raises:
        InputError: They cannot be read.
    """
    if not path.is_dir():
        return read_crops(path)
    collection = datasets.open_collection(str(path))
    nodules = collection.nodules()
    diameter_mm = np.array([nodule.diameter_mm for nodule in nodules], dtype=np.float64)
    return Crops(tuple(n.id for n in nodules), np.stack([collection.volume(n) for n in nodules]), diameter_mm)


def tower_of(run: Run, row: Row, given: str | None) -> TextTowerSpec:
    """Return the run's text tower, where it is and the hash that its weights must have; loaded where it is read.

    Raises:
        InputError: It is not known where it is, cannot be had, or is another.
    """
    there = run.identity.text_tower
    if not row.reads_text:
        return there
    spec = there
    if given is not None and not given == there.name == "random":
        _, preset = presets.resolve("paper", "cpu", presets.Changes(text_tower=given), describe)
        spec = preset.text_tower
    elif there.name not in ("random", "openai"):
        raise InputError(f"{row.key} reads a text tower that is not OpenAI's: say where it is with --text-tower")
    if without_file(spec) != without_file(there):
        raise InputError(
            f"--text-tower {given!r} is another text tower than the run's: give the one that it was made with"
        )
    spec = replace(spec, weights=hash_of(run.text_weights()))
    load_text_tower(spec)
    return spec


def remarks_on(run: Run, row: Row, fits: Sequence[FitRecord]) -> list[str]:
    """Say what the probabilities are and are not."""
    identity, metadata = run.identity, run.metadata()
    source = datasets.SOURCES.get(identity.source)
    note = source.note if source else "a collection of the user's own"
    said = [DEVICE, f"Trained on {identity.collection}, source {identity.source}. {note}"]
    said += sample_notes(metadata.provenance, identity)
    if row.reads_text and identity.text_tower.name == "random":
        said.append("Its text tower has random weights and knows nothing of language.")
    folds, seeds = ({getattr(fit.spec, part) for fit in fits} for part in ("fold", "seed"))
    said.append(
        f"{row.title}: mean over {len(fits)} fits ({len(folds)} of {identity.folds} folds, seeds: {len(seeds)}), "
        f"standard deviation between them; preset {identity.preset}, cohort {identity.cohort[:12]}. {KNOWN}"
    )
    if {fit.key for fit in fits} != {fit_key(identity, row, weights=hash_of(run.text_weights()))}:
        said.append("Other code than this checkout's made the fits: what it predicts with their weights may differ.")
    return said
