"""What trained methods look at: the figures that `python -m benchmark figures` made from kept weights, and numbers."""

from collections.abc import Iterator, Mapping, Sequence

from benchmark.figures.folder import FOLDER, PICTURES, SHARES, Line, parse
from benchmark.report.gather import Gathered
from benchmark.report.parts import Banner, Cell, Chapter, Grid, Part, Picture, Prose

COMMAND = "python -m benchmark figures RUN"
MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}
CAPTIONS = {
    "tsne": "t-SNE of image features, method beside method, coloured by class and by mean malignancy score",
    "attention": (
        "Grad-CAM of the predicted class on the same nodules, two a class, chosen by a rule; with the readers' "
        "outline, where the collection has one"
    ),
    "shares": "Share of attention inside the readers' outline, beside what chance and other nodules' maps have",
}
ATTENTION = {
    "inside": "Inside the outline",
    "area": "Chance: the outline's area",
    "swapped": "Maps of other nodules",
    "best": "Most that maps this coarse can have",
    "gain": "Inside less area",
    "own": "Inside less other maps",
}
NEIGHBOURS = {
    "alike": "Neighbours of the same class",
    "alike_by_chance": "Chance: the same of any two",
}
_ABOUT = (
    "One fit a method, all of one fold. A share says where a map lies, not why; it is worth what it has beyond chance "
    "and beyond the maps of other nodules, which know where nodules stand and nothing of this one. Intervals are 95 % "
    "over patients drawn anew, for these trained networks and no others."
)
_NO_NUMBERS = f"The numbers behind the figures cannot be shown: {FOLDER}/{SHARES} is {{}}. Make them again: {COMMAND}."
_OLD = (
    "These figures were made from weights that the run does not have any more, so they are not of the fits in this "
    f"report. Make them again: {COMMAND}."
)


def chapter(run: Gathered) -> Chapter:
    """Show what there is, or say how to make it."""
    pictures = tuple(_pictures(run))
    parts = (*_numbers(run), *pictures) if pictures else (Prose(_absent(run)),)
    return Chapter("inside", "What trained methods look at", parts)


def _absent(run: Gathered) -> str:
    if any(record and record.metadata.weights for record in run.found.values()):
        return f"Not drawn yet. The weights are kept: {COMMAND} draws it, and the report made again shows it."
    return f"Not drawn: this run kept no weights. Make it anew in another --out with --keep-weights, then {COMMAND}."


def _pictures(run: Gathered) -> Iterator[Picture]:
    for name in PICTURES:
        for kind, media_type in MEDIA_TYPES.items():
            if content := run.figures.get(f"{name}.{kind}"):
                alt = f"{CAPTIONS[name]}. Numbers stand in the table of this chapter."
                yield Picture(f"{CAPTIONS[name]} ({run.origin.tag()})", alt, media_type, content)


def _numbers(run: Gathered) -> Iterator[Part]:
    """Say what the figures rest on, and give their numbers."""
    if (content := run.figures.get(SHARES)) is None:
        yield Prose(_NO_NUMBERS.format("missing"))
        return
    try:
        lines, note = parse(content)
    except ValueError as error:
        yield Prose(_NO_NUMBERS.format(f"damaged ({error})"))
        return
    if any((record := run.found.get(line.spec)) is None or record.metadata.weights != line.weights for line in lines):
        yield Banner(_OLD)
    yield Prose(note)
    yield Prose(_ABOUT)
    for caption, columns in (
        ("Attention inside the outline, in percent", ATTENTION),
        ("Nearest neighbours by image features, in percent", NEIGHBOURS),
    ):
        if any(line.share in columns for line in lines):
            yield grid(caption, columns, lines)


def grid(caption: str, columns: Mapping[str, str], lines: Sequence[Line]) -> Grid:
    """Return a row for each method and a column for each share.

    Args:
        caption: What it shows.
        columns: Headings by share.
        lines: Of all shares; a method whose maps are zero everywhere has none of attention, and gets dashes.
    """
    body = []
    for title in dict.fromkeys(line.title for line in lines):
        own = {line.share: line for line in lines if line.title == title and line.share in columns}
        nodules, left_out = max(((line.nodules, line.left_out) for line in own.values()), default=(0, 0))
        counted = f"{nodules:,}" + f" ({left_out:,} left out)" * (left_out > 0)
        cells = [_cell(own[name]) if name in own else Cell("-") for name in columns]
        body.append((Cell(title), Cell(counted, float(nodules)), *cells))
    return Grid(caption, ("Method", "Nodules", *columns.values()), tuple(body))


def _cell(line: Line) -> Cell:
    value, low, high = (round(100 * number, 1) + 0.0 for number in (line.value, line.low, line.high))
    interval = "" if low == value == high else f" ({low:.1f} to {high:.1f})"
    return Cell(f"{value:.1f}{interval}", 100 * line.value)
