"""A page to draw on: one style, a note at the foot, and the same bytes for the same drawing.

Colours are Okabe and Ito's (Color Universal Design, 2008), which stay apart for the colour-blind, but for a grey and a
darker green that are seen on white; a class has a shape of its own too. The ground is light, whatever the user's own
settings of matplotlib say.
"""

import io
import textwrap
from collections.abc import Callable
from typing import Literal

import matplotlib
from matplotlib.figure import Figure

Kind = Literal["svg", "png"]

GROUND, INK = "#ffffff", "#222222"
BLUE, GREY, VERMILION, GREEN = "#0072B2", "#8C8C8C", "#D55E00", "#007A59"
CLASSES = ((BLUE, "o"), (GREY, "s"), (VERMILION, "^"))  # from benign to malignant
SCORES, HEAT = "cividis", "inferno"  # of malignancy, of attention: even in lightness

_STYLE = {
    **{
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
        "font.size": 8.0,
        "axes.titlesize": 8.0,
        "text.parse_math": False,
    },
    **{"axes.facecolor": GROUND, "savefig.facecolor": GROUND, "text.color": INK},
    **{"axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK},
    **{"axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True},
    **{"svg.fonttype": "none", "svg.hashsalt": "lung-nodule-benchmark", "savefig.dpi": 150.0},
}
_WITHOUT_DATE = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
_LETTERS_AN_INCH = 17  # of a note


def page(width: float, height: float, note: str, kind: Kind, draw: Callable[[Figure], None]) -> bytes:
    """Return a drawing as a file.

    Texts are drawn as they are: no dollar sign or angle bracket in a title means anything.

    Args:
        width: In inches.
        height: In inches, without the note.
        note: What the figure rests on; it is wrapped to the width.
        kind: Of file; an SVG keeps its texts as texts.
        draw: Puts everything but the note on an empty figure.
    """
    lines = textwrap.fill(" ".join(note.split()), int(width * _LETTERS_AN_INCH))
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(width, height + 0.13 * (1 + lines.count("\n"))))
        draw(figure)
        figure.supxlabel(lines, x=0.01, ha="left", fontsize=6.5)
        file = io.BytesIO()
        figure.savefig(file, format=kind, metadata=_WITHOUT_DATE[kind])
    return file.getvalue()


def short(title: str) -> str:
    r"""Return a title of any length in two short lines at most.

    >>> short("CE, then " + "very " * 60 + "long")
    'CE, then very very very\nvery very...'
    """
    return textwrap.fill(textwrap.shorten(title, 36, placeholder="..."), 24)
