"""Drawings as SVG text: lines and letters in the page's own colour, so that they follow light, dark and paper.

Own functions and not matplotlib's, whose SVG holds every letter as an outline, colours that dark mode cannot change and
ids of its own, at some 20 KB a drawing: 70 of them would fill the page's limit.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4", "10 5")
_MARGIN = 44.0


def drawing(width: float, height: float, label: str, parts: Iterable[Markup]) -> Markup:
    """Return an SVG image with what it shows in words."""
    head = Markup('<svg width="{0:.0f}" height="{1:.0f}" viewBox="0 0 {0:.0f} {1:.0f}" role="img" aria-label="{2}">')
    return head.format(width, height, label) + Markup("").join(parts) + Markup("</svg>")


def text(x: float, y: float, words: str, anchor: str = "middle", extra: str = "") -> Markup:
    """Return letters with their middle, start or end at x."""
    form = '<text x="{:.1f}" y="{:.1f}" text-anchor="{}" fill="currentColor"{}>{}</text>'
    return Markup(form).format(x, y, anchor, Markup(extra), words)


def line(points: Sequence[tuple[float, float]], dash: str = "", opacity: float = 1.0) -> Markup:
    """Return a line through points."""
    form = '<polyline points="{}" fill="none" stroke="currentColor" stroke-opacity="{:g}" stroke-dasharray="{}"/>'
    return Markup(form).format(" ".join(f"{x:.1f},{y:.1f}" for x, y in points), opacity, dash)


def dot(x: float, y: float, radius: float = 4.0) -> Markup:
    """Return a filled circle."""
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" fill="currentColor"/>').format(x, y, radius)


def confusion(counts: Sequence[Sequence[int]], rows: Sequence[str], columns: Sequence[str], label: str) -> Markup:
    """Draw a confusion matrix: each line's shares in percent with the counts below, darker for more.

    Args:
        counts: By true class and decision.
        rows: Names of the true classes.
        columns: Names of the decisions.
        label: What it shows, in words.
    """
    side, left, top = 74.0, 84.0, 40.0
    parts = [text(left + side * len(columns) / 2, 14.0, "decided")]
    parts.append(text(left - 8, top - 8, "true", "end"))
    parts += [text(left + side * (j + 0.5), top - 8, name) for j, name in enumerate(columns)]
    for i, (name, of_class) in enumerate(zip(rows, counts, strict=True)):
        total = sum(of_class)
        parts.append(text(left - 8, top + side * (i + 0.5) + 4, name, "end"))
        for j, count in enumerate(of_class):
            share = count / total if total else 0.0
            x, y = left + side * j, top + side * i
            form = (
                '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="currentColor" '
                'fill-opacity="{:.3f}" stroke="currentColor" stroke-opacity="0.3"/>'
            )
            parts.append(Markup(form).format(x, y, side, side, 0.3 * share))
            parts.append(text(x + side / 2, y + side / 2, f"{100 * share:.0f} %" if total else "-"))
            parts.append(text(x + side / 2, y + side / 2 + 16, f"{count:,}", extra=' font-size="10"'))
    return drawing(left + side * len(columns) + 4, top + side * len(rows) + 4, label, parts)


def reliability(bins: Sequence[tuple[float, float, int]], label: str) -> Markup:
    """Draw a reliability diagram.

    Args:
        bins: Mean confidence, share that is right, and number of predictions.
        label: What it shows, in words.
    """
    side, total = 200.0, max((number for _, _, number in bins), default=1)

    def place(confidence: float, right: float) -> tuple[float, float]:
        return _MARGIN + side * confidence, 8 + side * (1 - right)

    parts = [
        line([place(0.0, 1.0), place(0.0, 0.0), place(1.0, 0.0)]),
        line([place(0.0, 0.0), place(1.0, 1.0)], "4 4", 0.6),
    ]
    for tick in (0.0, 0.5, 1.0):
        x, y = place(tick, 0.0)
        parts.append(text(x, y + 16, f"{100 * tick:.0f}"))
        x, y = place(0.0, tick)
        parts.append(text(x - 6, y + 4, f"{100 * tick:.0f}", "end"))
    parts.append(text(_MARGIN + side / 2, side + 40, "confidence, %"))
    parts.append(text(_MARGIN + 8, 16.0, "right, %", "start"))
    parts.append(line([place(confidence, right) for confidence, right, _ in bins]))
    parts += [dot(*place(c, r), 2 + 6 * math.sqrt(number / total)) for c, r, number in bins]
    return drawing(side + _MARGIN + 20, side + 48, label, parts)


def curves(series: Mapping[str, Sequence[float]], label: str, across: str = "epoch") -> Markup:
    """Draw values by step, a line each with its name at its end.

    Args:
        series: Finite values by name, from step 1 on.
        label: What it shows, in words.
        across: What a step is.
    """
    width, height, room = 190.0, 150.0, 100.0
    values = [value for of_one in series.values() for value in of_one]
    low, high = min([0.0, *values]), max([*values, 1e-9])
    last = max(map(len, series.values()), default=1)

    def place(step: int, value: float) -> tuple[float, float]:
        x = _MARGIN + width * (step / (last - 1) if last > 1 else 0.5)
        return x, 10 + height * (1 - (value - low) / (high - low))

    left, right = _MARGIN, _MARGIN + width
    parts = [line([(left, 10.0), (left, 10 + height), (right, 10 + height)])]
    for value in (low, high):
        parts.append(text(left - 6, place(0, value)[1] + 4, f"{value:.2g}", "end"))
    parts.append(text(left - 6, 14 + height / 2, "loss", "end"))
    parts.append(text(left, height + 26, "1"))
    parts.append(text(right, height + 26, str(last)))
    parts.append(text((left + right) / 2, height + 26, across))
    ends = spread([place(len(of_one) - 1, of_one[-1])[1] for of_one in series.values()], 14.0)
    for number, (name, of_one) in enumerate(series.items()):
        parts.append(line([place(step, value) for step, value in enumerate(of_one)], _DASHES[number % len(_DASHES)]))
        shown = name if len(name) <= 14 else f"{name[:13]}…"
        parts.append(text(right + 8, ends[number] + 4, shown, "start"))
    return drawing(right + room, height + 36 + max(0.0, max(ends, default=0.0) - height - 10), label, parts)


def ranks(rows: Sequence[tuple[str, float]], most: int, label: str) -> Markup:
    """Draw mean ranks, the best first: a dot on a scale from 1 to `most`, with title and number beside it."""
    width, left, step = 310.0, 8.0, 32.0
    parts = []
    for tick in sorted({1, (1 + most) // 2, most}):
        x = left + width * (tick - 1) / max(1, most - 1)
        parts += [text(x, 14.0, str(tick)), line([(x, 20.0), (x, 26 + step * len(rows))], "", 0.25)]
    for number, (title, rank) in enumerate(rows):
        y = 50 + step * number
        x = left + width * (rank - 1) / max(1, most - 1)
        shown = title if len(title) <= 44 else f"{title[:43]}…"
        parts += [line([(left, y), (left + width, y)], "", 0.2), dot(x, y)]
        parts.append(text(left, y - 10, f"{rank:.1f}  {shown}", "start"))
    return drawing(left + width + 8, 32 + step * len(rows), label, parts)


def spread(places: Sequence[float], apart: float) -> list[float]:
    """Return places moved down just so far that no two are nearer than `apart`, in the given order.

    >>> spread([10.0, 0.0, 2.0], 5.0)
    [10.0, 0.0, 5.0]
    """
    moved, last = [0.0] * len(places), -math.inf
    for index in sorted(range(len(places)), key=lambda i: places[i]):
        last = moved[index] = max(places[index], last + apart)
    return moved
