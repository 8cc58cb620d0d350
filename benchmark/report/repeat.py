"""The exact command and environment to make the run again, and the hashes that say whether it is the same."""

import re

from benchmark.files import sha256
from benchmark.report.gather import Gathered
from benchmark.report.parts import Cell, Chapter, Code, Grid, Part, Prose

_PLACES = re.compile(r"""(--(?:work|out|dicom-root|keep-dicom)[ =])('[^']*'|"[^"]*"|\S+)""")


def chapter(run: Gathered) -> Chapter:
    """Give commands, versions and hashes."""
    identity, metadata = run.file.identity, run.file.metadata
    facts = {
        "commit of the code": metadata.commit or "not known",
        "device": metadata.device,
        **metadata.versions,
        "cohort (content)": identity.cohort,
        "folds (assignment)": identity.fold_assignment,
        "run.json": run.hashes["run.json"],
        "cohort.csv": run.hashes["cohort.csv"] or "missing",
        f"all {len(run.hashes):,} files": sha256("\n".join(f"{h}  {path}" for path, h in run.hashes.items())),
    }
    if run.file.text_weights is not None:
        facts["text tower (weights)"] = run.file.text_weights.sha256
    body = tuple((Cell(name), Cell(value)) for name, value in facts.items())
    parts: list[Part] = [Prose("In a checkout of that commit, with the packages of requirements.txt:")]
    parts += (
        [Code("\n".join(map(without_places, run.file.commands)))]
        if run.file.commands
        else [Prose("No command is noted.")]
    )
    note = (
        "Hashes are SHA-256. That of all files is over the list of every file that this page is made from, a line "
        "each: its hash, two spaces, its path."
    )
    return Chapter(
        "repeat", "To repeat it", (*parts, Grid("Environment and hashes", ("What", "Value"), body), Prose(note))
    )


def without_places(command: str) -> str:
    """Return a command without the folders of the machine that ran it.

    >>> without_places("python run_all.py --work '/a b' --seeds 3 --out=/c")
    'python run_all.py --work FOLDER --seeds 3 --out=FOLDER'
    """
    return _PLACES.sub(r"\1FOLDER", command)
