"""What stands in a run folder: every record that can be used, why others cannot, and the hash of each file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import sep
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from benchmark.contracts import Collection, Columns, InputError, Row
from benchmark.figures.folder import FILES, FOLDER
from benchmark.files import sha256
from benchmark.habits import FOLDER as IGNORING
from benchmark.identity import ROOT
from benchmark.nodules import NoduleTable
from benchmark.origin import Origin
from benchmark.records import FitRecord, FitSpec, Found, Unusable
from benchmark.report.nodules import Listed, listed, table_of
from benchmark.report.paper import Paper, load_papers
from benchmark.run import Run
from benchmark.runfile import RunFile, load
from benchmark.scores import Section, sections_of
from benchmark.tables import Line, Table, line_of, tables_of


@dataclass(frozen=True)
class Known:
    """What a composition root knows and a run folder does not say.

    Attributes:
        rows: All rows that there are, by key, in table order.
        rules: What each label rule says.
        notes: What the voxels of each source are.
        papers: The printed numbers of the collection `LIDC`, with their audits.
        classify: Class indices of mean malignancies, by label set and rule.
    """

    rows: Mapping[str, Row]
    rules: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    papers: tuple[Paper, ...] = ()
    classify: Callable[..., Int[np.ndarray, " means"]] | None = None

    @classmethod
    def of(
        cls,
        rows: Mapping[str, Row],
        rules: Mapping[str, str],
        sources: Mapping[str, type[Collection]],
        classify: Callable[..., Int[np.ndarray, " means"]] | None = None,
    ) -> "Known":
        """Return what the registries say, with the published numbers of this checkout.

        Raises:
            InputError: A published file is damaged.
        """
        notes = {key: source.note for key, source in sources.items()}
        return cls(rows, rules, notes, load_papers(ROOT / "results" / "published"), classify)


@dataclass(frozen=True, eq=False)
class Gathered:
    """A run folder, read.

    Attributes:
        file: What run.json holds.
        cohort: What is known of the nodules.
        rows: What has a record, in table order; rows unknown here stand last, under their keys.
        strangers: Keys of those.
        found: The records that can be used.
        faults: Why others cannot, by their path in the folder.
        hashes: SHA-256 of every file that the page is made from, by its path in the folder.
        known: What the composition root knows.
        nodules: What cohort.csv says of each nodule; None where it cannot be read.
        figures: What `python -m benchmark figures` left in the folder: files by name.
        ignoring: The same rows on folds that ignore patients, if `--habits` made them.
    """

    file: RunFile
    cohort: Listed
    rows: Mapping[str, Row]
    strangers: tuple[str, ...]
    found: Found
    faults: Mapping[str, str]
    hashes: Mapping[str, str]
    known: Known
    nodules: NoduleTable | None = None
    figures: Mapping[str, bytes] = field(default_factory=dict)
    ignoring: "Gathered | None" = None

    @property
    def folds(self) -> int:
        """How many folds a full cell rests on."""
        return self.file.identity.folds

    @cached_property
    def sections(self) -> list[Section]:
        """Protocols under each of their decisions, those of the paper first."""
        return sections_of(self.file.protocols)

    @cached_property
    def first_sections(self) -> list[Section]:
        """Protocols under the decision that stands in the paper's tables."""
        return [Section(protocol, protocol.decisions[0]) for protocol in self.file.protocols]

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The paper's tables, by the name of their files."""
        return tables_of(self.file.protocols, self.rows, self.found, self.folds)

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Every row with its records, ablations included, in table order."""
        return tuple(line_of(row, row.title, self.found) for row in self.rows.values())

    @cached_property
    def origin(self) -> Origin:
        """What every number rests on."""
        rule = self.known.rules.get(self.file.identity.label_rule, "")
        return Origin(self.cohort, self.file.identity, rule, self.found, self.rows, self.file.text_weights)

    @cached_property
    def anchors(self) -> dict[tuple[str, str], str]:
        """Where the evidence of a row on a section stands in the page, by their keys."""
        pairs = [
            (line.row.key, section.key)
            for line in self.lines
            for section in self.sections
            if section.protocol.label_set in line.records
        ]
        return {pair: f"evidence-{number}" for number, pair in enumerate(pairs)}


def gather(folder: Path, known: Known) -> Gathered:
    """Read a run folder; what is damaged, missing or of another version there is noted and left out.

    Raises:
        InputError: There is no run.json, or a damaged one.
    """
    run = Run.open(folder)
    file = load(folder / "run.json")
    widths = {protocol.label_set: len(protocol.class_names) for protocol in file.protocols}
    found: Found = {}
    faults: dict[str, str] = {}
    for spec in run.specs():
        path = run.path(spec)
        try:
            found[spec] = _usable(run, spec, widths)
        except (Unusable, InputError) as error:
            faults[path.relative_to(folder).as_posix()] = str(error)
    keys = dict.fromkeys(spec.method for spec in found)
    strangers = tuple(sorted(key for key in keys if key not in known.rows))
    references = {spec.method for spec, record in found.items() if record and record.kind == "reference"}
    rows = {key: row for key, row in known.rows.items() if key in keys}
    rows |= {key: Row(key, key, "reference" if key in references else "plugin", _unknown) for key in strangers}
    nodules, fault = table_of(folder, file)
    drawn = {name: _content(folder / FOLDER / name) for name in FILES}
    ignoring, why = _ignoring(folder, file, known)
    return Gathered(
        file=file,
        cohort=listed(file, nodules, known.notes),
        rows=rows,
        strangers=strangers,
        found=found,
        faults=faults | ({"cohort.csv": fault} if fault else {}) | why,
        hashes=hashes(folder, run),
        known=known,
        nodules=nodules,
        figures={name: content for name, content in drawn.items() if content},
        ignoring=ignoring,
    )


def _ignoring(folder: Path, file: RunFile, known: Known) -> tuple[Gathered | None, dict[str, str]]:
    """Return the same run on folds that ignore patients, if there is one, and what of it is of no use, by path."""
    name, own = f"{IGNORING}/run.json", file.identity
    if not (folder / name).is_file():
        return None, {}
    try:
        there = gather(folder / IGNORING, known)
    except InputError as error:
        return None, {name: str(error).replace(f"{folder}{sep}", "")}
    identity = there.file.identity
    if not identity.splits_patients or replace(identity, fold_assignment=own.fold_assignment) != own:
        return None, {name: "of another run: more than its folds differs, or no patient is in two of them"}
    return there, {f"{IGNORING}/{path}": reason for path, reason in there.faults.items()}


def hashes(folder: Path, run: Run | None = None) -> dict[str, str]:
    """Return the SHA-256 of every file that a page is made from, by its path in the folder; unreadable ones are empty.

    Raises:
        InputError: The folder holds no run, or its folder of fits cannot be read.
    """
    run = Run.open(folder) if run is None else run
    drawn = [path for name in FILES if (path := folder / FOLDER / name).exists()]
    paths = [folder / "run.json", folder / "cohort.csv", *drawn, *(run.path(spec) for spec in run.specs())]
    own = {path.relative_to(folder).as_posix(): _hash(path) for path in paths}
    if not (folder / IGNORING / "run.json").is_file():
        return own
    try:
        beside = hashes(folder / IGNORING)
    except InputError:  # the page says why
        beside = {"run.json": _hash(folder / IGNORING / "run.json")}
    return own | {f"{IGNORING}/{path}": found for path, found in beside.items()}


def _hash(path: Path) -> str:
    return sha256(content) if (content := _content(path)) else ""


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # missing or not to be read: the page says so
        return b""


def _usable(run: Run, spec: FitSpec, widths: Mapping[str, int]) -> FitRecord:
    """Return a record that can be scored.

    Raises:
        Unusable: It cannot, and why.
    """
    record = run.read(spec)
    if record is None:
        raise Unusable("it lies in a folder that no fit of this run has")
    if spec.label_set not in widths:
        raise Unusable(f"run.json does not say how to score the classes {spec.label_set!r}")
    if not (spec.method.isascii() and spec.method.isidentifier() and spec.method == spec.method.lower()):
        raise Unusable(f"{spec.method!r} is no key of a row")
    if not 0 <= spec.fold < run.identity.folds:
        raise Unusable(f"the run has no fold {spec.fold}")
    if record.status == "done" and record.proba.shape[1] != widths[spec.label_set]:
        raise Unusable(f"no probabilities over {widths[spec.label_set]} classes")
    return record


def _unknown(
    train: Columns, test: Columns, labels: Int[np.ndarray, " train"], num_classes: int, seed: int
) -> Float[np.ndarray, "test classes"]:
    """Stand for whatever made the fits of a row that is not known here."""
    raise InputError("this row is known by its records alone; give the --plugin that defines it")
