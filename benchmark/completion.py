"""A run brought to its end: what is missing is made, and the tables are written of all that the folder then holds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from benchmark import console, files, kept
from benchmark.contracts import Cohort, Protocol, Row, TextTowerSpec, TextWeights
from benchmark.experiment import Experiment
from benchmark.means import Means
from benchmark.origin import Origin, write_tables
from benchmark.progress import progress
from benchmark.records import Found
from benchmark.runfile import RunMetadata
from benchmark.tables import Table, tables_of
from benchmark.timings import Timings

COHORT = "cohort.csv"


@dataclass(frozen=True, eq=False)
class Order:
    """What is asked for, beside the fits.

    Attributes:
        command: The command line, for run.json.
        cohort: The nodules.
        protocols: How to score the fits.
        rule: How a class is made from the mean malignancy, in words.
        known: All rows that there are, in table order.
        load_tower: Loads a text tower's weights, or raises InputError.
        means: By what fits are made.
        times: What is known of how long fits take.
        err: Where warnings and progress are shown.
    """

    command: str
    cohort: Cohort
    protocols: Sequence[Protocol]
    rule: str
    known: Mapping[str, Row]
    load_tower: Callable[[TextTowerSpec], TextWeights | None]
    means: Means
    times: Timings
    err: Console


@dataclass(frozen=True, eq=False)
class Completed:
    """What came of a run.

    Attributes:
        found: The wanted fits with their records.
        tables: Of these and of what earlier calls made, by the name of their files.
        origin: What they rest on.
    """

    found: Found
    tables: Mapping[str, Table]
    origin: Origin


def complete(this: Experiment, order: Order, nodules: bytes) -> Completed:
    """Make what is missing of a run, and write its tables.

    Args:
        this: The fits.
        order: What else is asked for.
        nodules: What is known of them, with their folds: cohort.csv.

    Raises:
        InputError: What is needed is not there, or the folder holds another run.
    """
    files.sweep(order.times.work.glob(files.PASSING))  # what commands that were killed had half written of their times
    found, unusable = this.read()
    missing = [spec for spec, record in found.items() if record is None or record.status == "failed"]
    this = this.with_tower(missing, order.load_tower)
    if missing or this.run.lacks(COHORT):
        this.check_settings()
        metadata = RunMetadata.now(this.device, order.cohort.provenance)
        this.run.start(order.command, metadata, order.protocols, this.text_weights)
        console.print_warnings(order.err, this.set_aside(unusable))
        this.run.keep(COHORT, nodules)
        title = "Training, patients ignored" if this.identity.splits_patients else "Training"
        with progress(order.err, title, "fits", order.times.forecast(missing)) as advance:
            made_here = () if order.means.is_away else missing
            try:
                this.train(missing, order.means, advance)
            except BaseException:  # a signal, most often: what is finished tells what it took
                order.times.learn(this.read()[0], made_here)
                raise
        found, _ = this.read()
        console.print_warnings(order.err, order.times.learn(found, made_here))
    if None not in found.values():
        this.run.finish(order.protocols, this.text_weights)
    shown, everything, left_out = this.with_earlier(found, order.known)
    console.print_warnings(order.err, [*left_out, *this.asked.lacking(found), *kept.lost(this.run, found)])
    rests_on = Origin(order.cohort, this.identity, order.rule, everything, shown, this.text_weights)
    tables = tables_of(this.run.with_earlier(order.protocols), shown, everything, this.preset.folds)
    write_tables(this.folder, tables, rests_on)
    return Completed(found, tables, rests_on)
