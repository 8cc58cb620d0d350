"""Tables 1-3 of the CLIP-Lung paper in one command: `python run_all.py --datasets A B C`.

The composition root: the only file that imports all three packages. Data flows one way:
prepare the cohort -> name the fits -> train those that have no record -> read the records -> write the tables.
"""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread a process: faster under load, and repeatable

import argparse
import json
import shlex
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from rich.console import Console

from benchmark import commandline, console
from benchmark.contracts import Cohort, InputError, Method, Protocol, Task, TextTowerSpec
from benchmark.executor import execute
from benchmark.identity import identity_of
from benchmark.recipe import PRESETS, Preset
from benchmark.records import FitSpec, Run, versions
from benchmark.references import REFERENCES
from benchmark.report import Provenance, write_table
from benchmark.runner import hyperparameters, run_fit, run_reference
from benchmark.tables import Found, Table, accuracy_table, comparison_table, row_of
from datasets import DATASETS, SOURCES
from datasets import cohort as cohorts
from datasets.folds import assign, fold
from datasets.protocols import LABEL_RULES, labels
from methods import ABLATIONS, METHODS, PAPER
from methods._tower import load_text_tower

HERE = Path(__file__).resolve().parent
TABLES = (("table1", "Table 1", ("A",)), ("table2", "Table 2", ("B", "C")))
ABLATION_TITLE = "Table 3: losses of CLIP-Lung (cross-entropy is in every row)"


@dataclass(frozen=True)
class Job:
    """One fit, with all that a worker process needs to find its material."""

    spec: FitSpec
    folder: Path
    identity: dict[str, Any]
    cohort_file: Path
    label_rule: str
    preset: Preset
    device: str
    plugins: tuple[Path, ...]


def run_job(job: Job) -> str:
    """Do one job, in whatever process; return the status of its record."""
    commandline.load_plugins(job.plugins)
    run = Run(job.folder, job.identity)
    cohort, fold_of = load_cohort(job.cohort_file, job.label_rule, job.preset.folds)
    classes = labels(cohort.malignancy, job.spec.label_set, job.label_rule)
    rows = fold(job.spec.fold, fold_of, classes)
    if job.spec.method in REFERENCES:
        return run_reference(run, job.spec, cohort, rows, classes).status
    names = next(p.class_names for p in DATASETS.values() if p.label_set == job.spec.label_set)
    shape = cohort.volumes.shape[1:]
    task = Task(len(names), names, cohort.attribute_names, shape, job.preset.encoder, job.preset.text_tower)
    device = torch.device(worker_device(job.device))
    method, given = method_of(job.spec.method)
    recipe, title = job.preset.recipe, title_of(job.spec.method)
    return run_fit(run, job.spec, method, given, task, recipe, cohort, rows, classes, device, title).status


@lru_cache(maxsize=1)
def load_cohort(file: Path, label_rule: str, folds: int) -> tuple[Cohort, Int[np.ndarray, " nodules"]]:
    """Load a cohort once a process, with the fold of every nodule."""
    cohort = cohorts.load(file)
    return cohort, assign(labels(cohort.malignancy, "three", label_rule), cohort.patient_ids, folds)


def worker_device(device: str) -> str:
    """Share several GPUs out over the local workers by their number."""
    if device != "cuda" or torch.cuda.device_count() < 2:
        return device
    from distributed import get_worker

    try:
        name = str(get_worker().name)
    except ValueError:  # not in a worker
        return device
    return f"cuda:{zlib.crc32(name.encode()) % torch.cuda.device_count()}"


def choices() -> list[tuple[str, str, str]]:
    """Return all that can be chosen: option, choice, what it is."""
    found = []
    for key, protocol in DATASETS.items():
        tested = ", ".join(protocol.class_names[k] for k in protocol.test_classes)
        what = f"{protocol.title}: train on {', '.join(protocol.class_names)}; test on {tested}"
        found.append(("--datasets", key, what))
    for key in dict.fromkeys([*METHODS, *ABLATIONS]):
        table = "" if key in METHODS else ", Table 3"
        text = ", reads the text tower" if method_of(key)[0].reads_text else ""
        found.append(("--methods", key, title_of(key) + table + text))
    found += [("--preset", key, preset.purpose) for key, preset in PRESETS.items()]
    found += [("--source", key, source.note) for key, source in SOURCES.items()]
    return found + [("--label-rule", key, what) for key, what in LABEL_RULES.items()]


def name_fits(protocols: Sequence[Protocol], methods: Sequence[str], folds: int, seeds: int) -> list[FitSpec]:
    """Return every fit that the tables need, references first; protocols with one label set share theirs."""
    label_sets = list(dict.fromkeys(protocol.label_set for protocol in protocols))
    return [
        FitSpec(label_set, method, number, seed)
        for method in [*REFERENCES, *methods]
        for label_set in label_sets
        for number in range(folds)
        for seed in range(1 if method in REFERENCES else seeds)
    ]


def method_of(key: str) -> tuple[type[Method], dict[str, Any]]:
    """Return a method, or an ablation's method, with the hyperparameters that differ from its defaults."""
    if key in ABLATIONS:
        return ABLATIONS[key].method, ABLATIONS[key].hyperparameters
    return METHODS[key], {}


def refuse_other_hyperparameters(found: Found) -> None:
    """Refuse finished fits of a method whose defaults have changed since."""
    for spec, record in found.items():
        if record is None or record.status != "done" or spec.method in REFERENCES:
            continue
        wanted = json.loads(json.dumps(hyperparameters(*method_of(spec.method)), default=repr))
        if record.hyperparameters != wanted:
            raise InputError(
                f"{spec.path()} was trained with {record.hyperparameters}, and {spec.method} now has {wanted}; "
                "delete its folders under fits/, or give another --out"
            )


def title_of(key: str) -> str:
    """Return a row's name in print."""
    if key in REFERENCES:
        return REFERENCES[key][0]
    return ABLATIONS[key].title if key in ABLATIONS else METHODS[key].title


def tables_of(keys: Sequence[str], methods: Sequence[str], found: Found, folds: int) -> dict[str, Table]:
    """Lay the paper's tables out for the chosen datasets and methods, by file name."""
    references = [row_of(key, title_of(key), "reference", found) for key in REFERENCES]
    rows = [
        row_of(key, title_of(key), "method" if key in PAPER else "added", found) for key in methods if key in METHODS
    ]
    tables = {}
    for name, title, members in TABLES:
        if chosen := [DATASETS[key] for key in members if key in keys]:
            tables[name] = comparison_table(title, chosen, [*rows, *references], folds)
    if any(key in ABLATIONS and key not in METHODS for key in methods):
        chosen = [DATASETS[key] for key in keys]
        ablated = [row_of(key, row.ticked, "method", found) for key, row in ABLATIONS.items() if key in methods]
        tables["table3"] = accuracy_table(ABLATION_TITLE, chosen, [*ablated, *references], folds)
    return tables


def run(args: argparse.Namespace, command: Sequence[str]) -> int:
    """Do what the command line asks; return the exit status."""
    out, err = console.consoles()
    plugins = tuple(file.resolve() for file in args.plugin)
    commandline.load_plugins(plugins)
    if taken := METHODS.keys() & REFERENCES.keys():
        raise InputError(
            f"the key {min(taken)!r} belongs to a reference row; register the plugin's method under another"
        )
    if args.list:
        console.print_choices(out, choices())
        return 0
    keys = commandline.choose_all("dataset", args.datasets, DATASETS)
    methods = commandline.choose_all("method", args.methods, dict.fromkeys([*METHODS, *ABLATIONS]))
    commandline.choose("source", args.source, SOURCES)
    if (args.dicom_root or args.verify) and not SOURCES[args.source].download:
        raise InputError(f"--dicom-root and --verify are for a download, not for --source {args.source}")
    commandline.choose("label rule", args.label_rule, LABEL_RULES)
    device = commandline.choose_device(args.device)
    preset_name, preset = commandline.choose_preset(args, device)
    workers = commandline.choose_workers(args.workers, device)
    specs = name_fits([DATASETS[key] for key in keys], methods, preset.folds, args.seeds)
    folder = args.out or HERE / "results" / "runs" / f"{preset_name}-{args.source}-{args.label_rule}"
    if args.dry_run:
        done = {spec for spec in specs if (folder / "fits" / spec.path()).exists()}
        console.print_plan(out, specs, done, title_of, f"{workers} worker{'s' * (workers != 1)} on {device}", folder)
        return 0

    cohort_file = args.cohort or prepare(args, preset.nodules, max(1, workers), err)
    cohort, fold_of = load_cohort(cohort_file.resolve(), args.label_rule, preset.folds)
    identity = identity_of(cohort, fold_of, args.label_rule, preset_name, preset)
    records = Run(folder, identity)
    found = {spec: records.read(spec) for spec in specs}
    missing = [spec for spec, record in found.items() if record is None or record.status != "done"]
    refuse_other_hyperparameters(found)
    if missing:
        check_text_tower(methods, preset.text_tower)
        facts = {"versions": versions(), "device": device, "cohort": cohort.provenance}
        records.start(shlex.join(["python", "run_all.py", *command]), facts)
        cohorts.write_csv(cohort, folder / "cohort.csv", args.label_rule, fold_of)
        place = folder.resolve(), identity, cohort_file.resolve(), args.label_rule, preset, device, plugins
        train([Job(spec, *place) for spec in missing], workers, args.scheduler, err)
        found |= {spec: records.read(spec) for spec in missing}

    if None not in found.values():
        records.finish(DATASETS.values())

    origin = Provenance(
        cohort=cohort,
        identity=records.identity,
        source_note=SOURCES[cohort.source].note,
        rule_note=LABEL_RULES[args.label_rule],
        is_sample=cohort.provenance.get("nodules") is not None,
        seeds=args.seeds,
        reads_text=any(method_of(key)[0].reads_text for key in methods),
    )
    console.print_notes(out, origin.notes())
    for name, table in tables_of(keys, methods, found, preset.folds).items():
        write_table(folder, name, table, origin, out)
    out.print(f"\nWritten to {folder}", soft_wrap=True)
    failed = [spec for spec, record in found.items() if record is None or record.status == "failed"]
    if failed:
        err.print(f"{len(failed)} of {len(found)} fits failed; the same command tries them again", style="red")
    return 1 if failed else 0


def check_text_tower(methods: Sequence[str], spec: TextTowerSpec) -> None:
    """Refuse to start a run whose text tower cannot be had; a random tower always can."""
    if spec.name == "openai" and any(method_of(key)[0].reads_text for key in methods):
        try:
            load_text_tower(spec)
        except ValueError as error:
            raise InputError(str(error)) from error


def prepare(args: argparse.Namespace, nodules: int | None, workers: int, err: Console) -> Path:
    """Return the prepared cohort's file, making it first if it is missing."""
    folder, download = HERE / "results" / "cohorts", None
    if SOURCES[args.source].download:
        with console.progress(err, "Looking for series", "folders and archives") as advance:
            download = cohorts.find(
                folder,
                args.dicom_root,
                workers=workers,
                progress=lambda done, total: advance(done, total, ""),
                verify=args.verify,
            )
    with console.progress(err, f"Preparing the {args.source} cohort", "nodules") as advance:
        file = cohorts.prepare(
            args.source,
            folder,
            nodules=nodules,
            workers=workers,
            progress=lambda done, total: advance(done, total, ""),
            download=download,
        )
    if download is not None:
        console.print_preparation(err, cohorts.load(file))
    return file


def train(jobs: Sequence[Job], workers: int, scheduler: str | None, err: Console) -> None:
    """Do the jobs under a progress bar; their records are the result."""
    with console.progress(err, "Training", "fits") as advance:
        advance(0, len(jobs), "starting")
        try:
            for done, (job, status) in enumerate(execute(run_job, jobs, workers=workers, scheduler=scheduler), start=1):
                spec = job.spec
                now = f"{spec.method} {spec.label_set} fold {spec.fold}: {status or 'its workers died'}"
                advance(done, len(jobs), now)
        except ConnectionError as error:
            raise InputError(f"{error}; check the address given with --scheduler") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0, 1 where fits failed, 2 for bad input, 130 if stopped."""
    command = list(sys.argv[1:] if argv is None else argv)
    try:
        return run(commandline.parser().parse_args(command), command)
    except InputError as error:
        print(f"run_all.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"run_all.py: {error.filename or 'a file'}: {error.strerror or error}; see to it, or give another --out",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("run_all.py: stopped; what is finished is kept, the same command goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    # Workers import this module by name, so what they are sent must come from it and not from __main__.
    import run_all

    sys.exit(run_all.main())
