"""Draw what a run's trained methods look at: `python -m benchmark figures RUN [--methods KEY ...] [--fold F]`.

From the kept weights of one fold's fits it makes t-SNE of image features, Grad-CAM on the same nodules, and the share
of attention inside the readers' outline. They are written into the run's folder, as `figures/*.svg` (`.png` where that
would be large) and `figures/shares.csv`; the report shows them when it is made again.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

import datasets
import methods
from benchmark import choose, places, plugins, references
from benchmark.commandline import Parser, at_least
from benchmark.commandline import path as path_of
from benchmark.commands.predict import tower_of
from benchmark.contracts import Cohort, InputError
from benchmark.experiment import hash_of
from benchmark.figures import compose, folder
from benchmark.files import write_atomically
from benchmark.identity import as_set, fit_key
from benchmark.progress import progress
from benchmark.run import Run
from benchmark.runfile import DIGITS
from benchmark.screen import consoles, guarded, say
from datasets import store
from datasets.lidc.outlines import outlines
from datasets.protocols import LABEL_SETS

FIGURE_3 = ("clip", "cocoop", "clip_lung")
"""Rows of the paper's Fig. 3."""

OTHER_CODE = "Other code than this checkout's made the fits: what it sees in their weights may differ."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0, or 2 for bad input."""
    parser = Parser(prog="python -m benchmark figures", description=__doc__.partition(":")[0] + ".")
    add = parser.add_argument
    add("run", type=path_of, metavar="RUN", help="a run folder that kept its weights")
    add("--cohort", type=path_of, metavar="FILE", help="the run's prepared cohort (default: looked for)")
    add("--methods", nargs="+", metavar="KEY", default=FIGURE_3, help=f"rows (default: {' '.join(FIGURE_3)})")
    add("--fold", type=at_least(0), default=0, metavar="F", help="whose test nodules are shown (default: 0)")
    add("--text-tower", metavar="TOWER", help="where the run's text tower is, if that is not OpenAI's on the hub")
    add("--plugin", type=path_of, action="append", default=[], metavar="FILE", help="a file that adds rows")

    def figures() -> int:
        options = parser.parse_args(argv)
        out, err = consoles()
        plugins.load(options.plugin, methods.ROWS, datasets.COLLECTIONS)
        run, known = Run.open(options.run), choose.join(methods.ROWS, references.ROWS)
        keys = choose.choose_all("method", options.methods, known)
        rows = [as_set(known[key], run.identity.settings) for key in keys]
        label_set = label_set_of(run, keys)
        cohort = cohort_of(run, options.cohort)
        looked, refused = list[compose.Looked](), list[str]()
        with progress(err, "Looking into", "methods") as advance:
            for row in rows:
                try:
                    fit = compose.fit_of(run, row, label_set, options.fold)
                    looked.append(compose.look(run, row, fit, cohort, tower_of(run, row, options.text_tower)))
                except InputError as error:  # the others can still be drawn
                    refused.append(str(error))
                advance(len(looked) + len(refused), len(rows))
        if not looked:
            raise InputError(f"{'; '.join(refused)}; or name other rows with --methods")
        for why in refused:
            say(err, f"Left out: {why}", "yellow")
        made = [row for row in rows if row.key in {one.fit.spec.method for one in looked}]
        note = compose.note_of(run, cohort, looked, any(row.reads_text for row in made))
        weights = hash_of(run.text_weights())
        if any(
            one.fit.key != fit_key(run.identity, row, weights=weights) for one, row in zip(looked, made, strict=True)
        ):
            say(err, OTHER_CODE, "yellow")
            note = f"{note} {OTHER_CODE}"
        files, lines = compose.compose(looked, cohort, outlines_of(cohort, looked[0].fit.nodule_ids, err), note)
        write(run, files | {folder.SHARES: folder.csv_text(lines, note).encode()})
        say(out, f"Written to {run.folder / folder.FOLDER}: {', '.join([*files, folder.SHARES])}")
        say(out, f"python -m benchmark report {options.run} shows them")
        return 0

    return guarded("benchmark.figures", figures)


def label_set_of(run: Run, keys: Sequence[str]) -> str:
    """Return the label set `three`, or the first that the run has of any of the rows.

    Raises:
        InputError: It has no fit of them.
    """
    there = {spec.label_set for spec in run.specs() if spec.method in keys}
    if not (found := [name for name in LABEL_SETS if name in there]):
        raise InputError(f"{run.folder} has no fit of {', '.join(keys)}: name rows that it made with --methods")
    return found[0]


def cohort_of(run: Run, given: Path | None) -> Cohort:
    """Return the run's own cohort: from the file given, else from the work folder.

    Raises:
        InputError: It is not there, is damaged, or is another.
    """
    wanted, cohorts = run.identity.cohort, places.work_folder(None) / "cohorts"
    file = given or store.find(cohorts, wanted)
    if file is None:
        raise InputError(
            f"the run's cohort {wanted[:DIGITS]} is not in {cohorts}: give its prepared file with --cohort FILE"
        )
    cohort = store.open_once(file)
    if cohort.content_hash != wanted:
        raise InputError(
            f"{file} is the cohort {cohort.content_hash[:DIGITS]}, and the run was made on {wanted[:DIGITS]}: give "
            "the prepared file that the run used"
        )
    return cohort


def outlines_of(cohort: Cohort, nodule_ids: Sequence[str], err: Console) -> Iterator[np.ndarray] | None:
    """Return the readers' outlines of some nodules; None where they are not of LIDC-IDRI, which alone has them."""
    source = datasets.SOURCES.get(cohort.source)
    if source is None or source.title != cohort.collection:
        return None
    return _told(outlines(nodule_ids), len(nodule_ids), err)


def _told(made: Iterator[np.ndarray], total: int, err: Console) -> Iterator[np.ndarray]:
    """Say how far it has come."""
    with progress(err, "Outlines", "nodules") as advance:
        for number, outline in enumerate(made, 1):
            advance(number, total)
            yield outline


def write(run: Run, files: Mapping[str, bytes]) -> None:
    """Put figures into the run's folder, and take away those of an earlier call that they replace."""
    place = run.folder / folder.FOLDER
    for name in folder.FILES:
        if name in files:
            write_atomically(place / name, files[name])
        else:
            (place / name).unlink(missing_ok=True)
