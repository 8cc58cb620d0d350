"""Measure what rows cost on this machine, and foretell a grid of fits: `python -m benchmark profile [options]`.

Takes run_all.py's options. What a fit takes is kept in the work folder, where the plan (`--dry-run`) finds it.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the workers, as in run_all.py; `deterministic` tells this process

import numpy as np
import torch

import datasets
import methods
from benchmark import choose, commandline, places, plugins, presets, references, screen
from benchmark.commandline import Parser, at_least
from benchmark.contracts import Cohort, InputError, Provenance, Row, Task, Unsupported
from benchmark.executor import execute
from benchmark.experiment import name_fits
from benchmark.profile import report
from benchmark.profile.measure import Profile, begin, matrix_peaks, measure, reference_s
from benchmark.progress import progress
from benchmark.recipe import Preset
from benchmark.records import versions
from benchmark.runner import deterministic
from benchmark.timings import FitTime, Timings, machine, now
from datasets import cohort, protocols, store
from datasets.crops import SIZE
from methods._describe import describe
from methods._encoder import Encoder
from methods._padded import PaddedEncoder
from methods._parallel import ParallelEncoders
from methods._prompts import ConditionalPrompts, SharedPrompts
from methods._text import PromptEncoder

KINDS = {
    "image encoder": (Encoder, ParallelEncoders),
    "text branch": (PromptEncoder, PaddedEncoder, ConditionalPrompts, SharedPrompts),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 1 where a row failed."""
    p = Parser(prog="python -m benchmark profile", description=__doc__.partition(":")[0] + ".")
    commandline.add_grid(p)
    p.add_argument("--steps", type=at_least(1), metavar="N", help="steps an epoch (default: 8 on a CPU, else 64)")
    figures = "put the figures into a file too, such as results/golden/performance.json"
    p.add_argument("--write", type=commandline.path, metavar="FILE", help=figures)
    return screen.guarded("benchmark.profile", lambda: run(commandline.checked(p.parse_args(argv))))


def run(args: argparse.Namespace) -> int:
    """Measure, keep and print."""
    out, err = screen.consoles()
    plugins.load(args.plugin, methods.ROWS, datasets.COLLECTIONS)
    known = choose.join(methods.ROWS, references.ROWS)
    rows, _ = presets.parse_settings(args.set, choose.choose_rows(args.methods, known), known)
    rule = choose.choose("label rule", args.label_rule, protocols.LABEL_RULES)
    choose.choose("source", args.source, datasets.SOURCES)
    asked = choose.choose_all("dataset", args.datasets, protocols.DATASETS) if args.datasets else None
    device = choose.choose_device(args.device)
    args.nodules = store.open_once(args.cohort).provenance.sample if args.cohort else args.nodules
    name, preset = presets.resolve(args.preset, device, presets.Changes.of(args), describe)
    workers = choose.choose_workers(args.workers, device)
    if args.write is not None:
        report.read_figures(places.writable_file(args.write, "--write", "performance.json"))  # before any work
    nodules = nodules_of(args, preset)
    chosen = protocols.protocols_of(nodules, asked, rule)
    source = nodules.source if args.cohort or args.collection else args.source
    times = Timings(places.work_folder(args.work), device, (name, preset), (source, rule, str(args.cohort)), workers)

    classes = {one.label_set: one.class_names for one in chosen}
    tasks = {label_set: task_of(names, nodules, preset) for label_set, names in classes.items()}
    widest = max(tasks.values(), key=lambda task: task.num_classes)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # by other work: nothing was measured yet
    steps = args.steps or (8 if device == "cpu" else 64)
    started = start_s(rows.values(), widest, workers)
    deterministic()
    peaks = matrix_peaks(torch.device(device))
    with progress(err, "Profiling", "rows") as advance:
        profiles, failures = profiled(rows, widest, preset, torch.device(device), steps, advance)
    sizes = {name: int((protocols.labels(nodules, name, rule) >= 0).sum()) for name in tasks}
    fits = fit_times(rows, profiles, tasks, sizes, preset)
    faults = times.add(fits, started)

    specs = [s for s in name_fits(chosen, rows, preset.folds, args.seeds) if (s.label_set, s.method) in fits]
    forecast = times.forecast(specs)
    over = f"{', '.join(one.title for one in chosen)}, {preset.folds} folds, seeds: {args.seeds}"
    found = report.Report(
        machine=machine(device),
        device=torch.device(device).type,
        preset=name,
        when=now(),
        load=load,
        peaks=peaks,
        start_s=started,
        workers=workers,
        grid=f"{len(specs)}: {over}",
        profiles=profiles,
        failures={key: why for key, (why, _) in failures.items()},
        fit_s={n: {row: time.seconds for (of, row), time in fits.items() if of == n} for n in tasks},
        grid_s=forecast.total_s if forecast else None,
        versions=versions(),
    )
    report.print_report(out, found, {key: row.title for key, row in rows.items()})
    screen.say(out, f"All {len(specs)} fits of the rows that could be measured ({over}):")
    for sentence in (*times.sentences(specs), *faults):
        screen.say(out, sentence)
    if args.write is not None:
        report.write(args.write, found)
        screen.say(out, f"Written to {args.write}")
    return int(any(is_failure for _, is_failure in failures.values()))


def nodules_of(args: argparse.Namespace, preset: Preset) -> Cohort:
    """Return the nodules that there would be, without their voxels, which cost nothing here.

    Those of a download are taken to be complete.
    """
    if args.cohort:
        return store.load(args.cohort)
    collection = (
        datasets.open_collection(args.collection) if args.collection is not None else datasets.SOURCES["phantom"]()
    )
    known = cohort.choose(collection, preset.nodules)
    empty = np.broadcast_to(np.int16(0), (len(known), SIZE, SIZE, SIZE))
    return cohort.seal(collection, known, empty, Provenance(preset.nodules, "", None))


def task_of(names: tuple[str, ...], nodules: Cohort, preset: Preset) -> Task:
    """Return what a method is told."""
    shape = nodules.volumes.shape[1:]
    return Task(len(names), names, nodules.attribute_names, shape, preset.encoder, preset.text_tower)


def start_s(rows: Iterable[Row], task: Task, workers: int) -> float:
    """Return how long workers take to start and to load what fits share."""
    here = sorted((row for row in rows if row.method and row.kind != "plugin"), key=lambda row: not row.reads_text)
    shared = (here[0], task) if here else None
    began = time.perf_counter()
    for _ in execute(begin, [shared] * max(1, workers), workers=workers):
        pass
    return time.perf_counter() - began


def profiled(
    rows: Mapping[str, Row],
    task: Task,
    preset: Preset,
    device: torch.device,
    steps: int,
    now_at: Callable[[int, int, str], None],
) -> tuple[dict[str, Profile], dict[str, tuple[str, bool]]]:
    """Return the profiles of the rows that are trained, and why others have none, and whether that is a failure."""
    trained = {key: row for key, row in rows.items() if row.method}
    profiles, failures = dict[str, Profile](), dict[str, tuple[str, bool]]()
    for number, (key, row) in enumerate(trained.items()):
        now_at(number, len(trained), row.title)
        try:
            profiles[key] = measure(row, task, preset, device, KINDS, steps)
        except Unsupported as error:
            failures[key] = f"does not apply: {error}", False
        except InputError as error:
            failures[key] = f"cannot be made: {error}", True
        except Exception as error:  # whatever a row raises is its own failure, and the others are measured
            said = (str(error).splitlines() or [""])[0]
            failures[key] = f"failed: {type(error).__name__}: {said}", True
    now_at(len(trained), len(trained), "")
    return profiles, failures


def fit_times(
    rows: Mapping[str, Row],
    profiles: Mapping[str, Profile],
    tasks: Mapping[str, Task],
    sizes: Mapping[str, int],
    preset: Preset,
) -> dict[tuple[str, str], FitTime]:
    """Return what a fit takes, by label set and row; fewer classes are taken to cost as much a step."""
    found, when = {}, now()
    for label_set, task in tasks.items():
        for key, row in rows.items():
            nodules = sizes[label_set]
            if row.reference:
                found[label_set, key] = FitTime(reference_s(row, task, nodules, preset.folds), "profile", when)
            elif (profile := profiles.get(key)) is not None:
                seconds = profile.fit_s(preset.recipe, nodules, preset.folds)
                time = FitTime(round(seconds, 3), "profile", when, profile.step_s, profile.evaluation_s)
                found[label_set, key] = time
    return found
