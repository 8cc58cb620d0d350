"""Measure how near the phantom comes to CT: `python -m benchmark fidelity REAL.npz [--seeds N] [--pairs FILE.png]`.

REAL.npz holds one real axial slice of each of some LIDC-IDRI nodules: `nodule_id`, `hu` [nodules, 32, 32] of int16 in
Hounsfield units, `covered` [nodules, 2, 32] of bool (which rows and columns are real; the others repeat the edge).
Beside it stands the middle slice of the same nodules' phantoms, with the same edges repeated.
"""

from collections.abc import Sequence

import numpy as np

import methods
from benchmark.commandline import Parser, at_least
from benchmark.commandline import path as path_of
from benchmark.contracts import InputError, NoduleInfo, Protocol
from benchmark.fidelity import report
from benchmark.fidelity.picture import draw
from benchmark.fidelity.slices import Real, Slices, read, repeat_edges
from benchmark.fidelity.statistics import figure
from benchmark.fidelity.training import Labels, Learner, apart, crossed, percent, told_apart
from benchmark.progress import progress
from benchmark.recipe import PRESETS
from benchmark.screen import consoles, guarded
from datasets import folds
from datasets.crops import SIZE
from datasets.lidc.collections import Phantom
from datasets.protocols import DATASETS, classify

REAL, PHANTOM = "real", "phantom"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = Parser(prog="python -m benchmark fidelity", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("real", type=path_of, metavar="REAL.npz", help="real central slices")
    parser.add_argument("--seeds", type=at_least(1), default=3, metavar="N", help="trainings a fold (default: 3)")
    parser.add_argument("--folds", type=at_least(2), default=5, metavar="K", help="folds of patients (default: 5)")

    parser.add_argument("--pairs", type=path_of, metavar="FILE.png", help="draw pairs, and measure nothing")

    def measure() -> int:
        options = parser.parse_args(argv)
        real, collection = read(options.real), Phantom()
        nodules = chosen(collection, real)
        kinds = {REAL: real.hu, PHANTOM: repeat_edges(rendered(collection, nodules), real.covered)}
        if options.pairs:
            diameter_mm = np.array([nodule.diameter_mm for nodule in nodules])
            draw(options.pairs, kinds[REAL], kinds[PHANTOM], real.covered, diameter_mm)
            return 0
        print_all(nodules, kinds, options.folds, options.seeds)
        return 0

    return guarded("benchmark.fidelity", measure)


def chosen(collection: Phantom, real: Real) -> list[NoduleInfo]:
    """Return what the collection says of the real slices' nodules, in their order.

    Raises:
        InputError: It does not know one of them.
    """
    known = {nodule.id: nodule for nodule in collection.nodules()}
    if strangers := [name for name in real.nodule_ids if name not in known]:
        raise InputError(f"there is no nodule {strangers[0]!r} in LIDC-IDRI: give slices of its nodules")
    return [known[name] for name in real.nodule_ids]


def rendered(collection: Phantom, nodules: Sequence[NoduleInfo]) -> Slices:
    """Return the middle slice of each nodule's phantom."""
    _, err = consoles()
    made: list[Slices] = []
    with progress(err, "rendering", "nodules") as advance:
        for part in collection.parts(nodules):
            made.append(collection.make(part).volumes[:, SIZE // 2])
            advance(sum(map(len, made)), len(nodules))
    return np.concatenate(made)


def print_all(nodules: Sequence[NoduleInfo], kinds: dict[str, Slices], n_folds: int, seeds: int) -> None:
    """Measure and print everything."""
    out, err = consoles(report.WIDTH)
    patients = [nodule.patient_id for nodule in nodules]
    malignancy = np.array([sum(nodule.malignancy) / len(nodule.malignancy) for nodule in nodules])
    fold_of = folds.assign(classify(malignancy, "three"), patients, n_folds)
    tried = [DATASETS["A"], DATASETS["C"]]
    total = n_folds * seeds * (2 * len(tried) + 1)
    report.print_looks(out, kinds)
    with progress(err, "training", "fits") as advance:
        done = iter(range(1, total + 1))
        learner = Learner(methods.ROWS["ce"], PRESETS["quick"], lambda: advance(next(done), total))
        accuracy = {one.key: crossed(learner, kinds, *_classes(malignancy, one), fold_of, seeds) for one in tried}
        proba = told_apart(learner, kinds[REAL], kinds[PHANTOM], fold_of, seeds)
    for one in tried:
        right = accuracy[one.key]
        cells = {pair: figure(patients, percent(right[pair])) for pair in right}
        lost = right[REAL, REAL] - right[PHANTOM, REAL]
        gain = figure(patients, percent(lost))
        report.print_crossed(out, one.title, cells, gain)
    report.print_told_apart(out, figure(patients, lambda rows: apart(proba, fold_of, rows)))


def _classes(malignancy: np.ndarray, protocol: Protocol) -> tuple[Labels, tuple[str, ...]]:
    """Return the nodules' classes in a protocol's label set, and their names."""
    return classify(malignancy, protocol.label_set), protocol.class_names
