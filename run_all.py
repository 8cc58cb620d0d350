"""Tables 1-3 of the CLIP-Lung paper: `python run_all.py --datasets A B C`. A composition root: nothing imports it."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # `python -I` and PYTHONSAFEPATH leave it out
os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread a process: faster under load, and repeatable
if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the imports take seconds: until they are done, Ctrl-C needs no word

import argparse
from collections.abc import Sequence
from itertools import chain

import datasets
import methods
from benchmark import ahead, choose, commandline, console, origin, places, plugins, presets, references, report, screen
from benchmark.commands._prepare import cut, foresee, prepare
from benchmark.completion import Order, complete
from benchmark.contracts import TextTowerSpec, TextWeights
from benchmark.experiment import Experiment, name_fits
from benchmark.extras import PROBABILITIES, Asked
from benchmark.habits import FOLDER
from benchmark.identity import identity_of
from benchmark.means import Means
from benchmark.report.habits import sentences
from benchmark.standing import done_fits, rows_to_make
from benchmark.timings import Timings
from datasets import folds, protocols, store
from methods._describe import TOWERS, describe


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; return the exit status."""
    out, err = screen.consoles()
    files = plugins.load(args.plugin, methods.ROWS, datasets.COLLECTIONS)
    known = choose.join(methods.ROWS, references.ROWS)
    if args.list:
        kinds = protocols.DATASETS, datasets.SOURCES, protocols.LABEL_RULES, TOWERS
        console.print_choices(out, choose.listing(known, *kinds))
        return 0
    rows, settings = presets.parse_settings(args.set, choose.choose_rows(args.methods, known), known)
    rule = choose.choose("label rule", args.label_rule, protocols.LABEL_RULES)
    source = choose.choose("source", args.source, datasets.SOURCES)
    asked = choose.choose_all("dataset", args.datasets, protocols.DATASETS) if args.datasets else None
    by = Means.of(args)
    args.nodules = store.open_once(args.cohort).provenance.sample if args.cohort else args.nodules
    name, preset = named = presets.resolve(args.preset, by.device, presets.Changes.of(args), describe)
    if args.cohort or args.collection is not None:
        source = (store.open_once(args.cohort) if args.cohort else datasets.open_collection(args.collection)).source
    times = Timings(places.work_folder(args.work), by.device, named, (source, rule, str(args.cohort)), by.workers)
    folder = args.out or times.work / "runs" / origin.folder_name(name, source, rule, settings)
    folders = [folder, folder / FOLDER] if args.habits else [folder]
    leave = Asked.of(args)
    leave.extras((), rows, preset)  # what cannot be had is refused before anything is prepared
    specs = name_fits([protocols.DATASETS[k] for k in asked or protocols.DATASETS], rows, preset.folds, args.seeds)
    asked_for = {"source": source, "label_rule": rule, "preset": name, "settings": settings}
    done = {place: done_fits(place, specs, rows, preset, asked_for) for place in folders}
    for place in folders:
        ahead.judge(place, rows.values(), preset.text_tower, load_tower, by)
    if args.dry_run:
        prepared, fetched = foresee(args, preset)
        if prepared is not None:
            cut(store.open_once(prepared), folders, asked, rule, preset.folds)
        more = [leave.plan(specs, rows, preset), fetched]
        console.print_plan(out, specs, done, rows, str(by), times, more, preset.nodules)
        return 0
    todo = {place: rows_to_make(place, specs, done[place], rows, asked is None) for place in folders}
    looks = (ahead.look(place, todo[place], preset.text_tower, load_tower, by) for place in folders)
    console.print_warnings(err, list(dict.fromkeys(chain.from_iterable(looks))))
    file = args.cohort.resolve() if args.cohort else prepare(args, preset, max(1, by.workers), err)
    nodules = store.open_once(file)
    console.print_preparation(err, nodules, file)
    chosen, cuts = cut(nodules, folders, asked, rule, preset.folds)
    note = protocols.LABEL_RULES[rule]
    order = Order(command, nodules, chosen, note, known, load_tower, by, times, err)
    made = {}
    for place, fold_of in cuts.items():
        this = Experiment(
            folder=place,
            identity=identity_of(nodules, fold_of, rule, name, preset, settings),
            rows=rows,
            data=folds.fold_data(file, protocols.LABEL_SETS, rule, fold_of),
            specs=name_fits(chosen, rows, preset.folds, args.seeds),
            preset=preset,
            device=by.device,
            plugins=files,
            asked=leave if place == folder else PROBABILITIES,
        )
        made[place] = complete(this, order, store.csv_of(nodules, rule, fold_of))
    knows = report.Known.of(known, protocols.LABEL_RULES, datasets.SOURCES, protocols.classify)
    report.write(folder, knows)
    own = made[folder].origin
    console.print_tables(out, own.notes(), made[folder].tables.values(), own.tag())
    console.print_warnings(out, sentences(folder, knows) if args.habits else [])
    return max(console.print_end(out, err, place, of.found) for place, of in made.items())


def load_tower(spec: TextTowerSpec) -> TextWeights | None:
    """Load a text tower, for the weights that a run notes."""
    from methods._tower import load_text_tower  # here: with torch, which a finished run need not wait for

    return load_text_tower(spec).weights


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0, 1 where fits failed, 2 for bad input, 130 if stopped."""
    given = list(sys.argv[1:] if argv is None else argv)
    return screen.guarded("run_all.py", lambda: run(commandline.parse(given), commandline.as_typed(given)))


if __name__ == "__main__":
    sys.exit(main())
