"""What each row is, in a line: what it trains, what its predictions read, and what it is in the tables for."""

from benchmark.contracts import Row
from benchmark.report.gather import Gathered
from benchmark.report.parts import Cell, Chapter, Grid, More, Prose

KINDS = {
    "paper": "of the paper",
    "ablation": "the paper's ablation: some of its losses",
    "control": "asks what a paper's gain comes from",
    "added": "added by this suite",
    "variant": "another setting of a row",
    "plugin": "a user's own",
    "reference": "a reference: no method, trained by no gradient",
}
_LOSSES = (
    "IC, IA and CA are CLIP-Lung's losses beside cross-entropy: they pull image features to the text of the class "
    "(IC), image features to the texts of the attributes (IA), and the two kinds of text to each other (CA)."
)
_FOREST = (
    "“Radiologists' ratings” is no human performance: it is a random forest on the readers' eight other ratings of "
    "each nodule, those of the test nodules included. What readers reach stands as One radiologist."
)


def chapter(run: Gathered) -> Chapter:
    """Describe every row that has a record."""
    said = [Prose(_FOREST)] * ("ratings_forest" in run.rows)
    said += [Prose(_LOSSES)] * any(row.losses for row in run.rows.values())
    headings = ("Row", "What it is for", "Reads at test", "What it does", "Settings")
    body = tuple(_line(row, row.key in run.strangers) for row in run.rows.values())
    told = More("Row by row", (Grid("What each row is", headings, body),))
    return Chapter("rows", "What each row is", (*said, told) if body else ())


def _line(row: Row, is_stranger: bool) -> tuple[Cell, ...]:
    does = "not known here" if is_stranger else row.traits.doc.partition("\n")[0]
    settings = ", ".join(f"{name} = {value}" for name, value in row.hyperparameters.items()) or "-"
    return tuple(map(Cell, (row.title, KINDS[row.kind], reads(row, is_stranger), does, settings)))


def reads(row: Row, is_stranger: bool = False) -> str:
    """Say what a prediction is made from."""
    if is_stranger:
        return "not known here"
    if row.reference:
        return "no image"
    return "the crop and the readers' diameter" if row.reads_diameter else "the crop"
