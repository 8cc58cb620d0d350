"""The figures: t-SNE beside t-SNE, attention on the same nodules, and the shares that the pictures only suggest.

Each takes a note that says what it rests on, such as the cohort's own and the text tower (`Origin.tag`).
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from benchmark.contracts import Cohort
from benchmark.figures.attention import Means
from benchmark.figures.features import NEIGHBOURS, Spread
from benchmark.figures.page import BLUE, CLASSES, GREEN, HEAT, INK, SCORES, VERMILION, Kind, page, short

Slices = Float[np.ndarray, "nodules rows columns"]
Outlines = Bool[np.ndarray, "nodules rows columns"]

NO_OUTLINES = "This collection has no outlines, so none is drawn and no share of attention is measured."
NO_SHARES = "This collection has no outlines, or no map has any attention, so no share of attention is measured."


def clouds(
    spreads: Mapping[str, Spread],
    labels: Int[np.ndarray, " nodules"],
    malignancy: Float[np.ndarray, " nodules"],
    class_names: Sequence[str],
    note: str,
    kind: Kind = "svg",
) -> bytes:
    """Draw t-SNE of each method's features: above coloured by class, below by the mean malignancy score.

    Args:
        spreads: By the method's title; of the same nodules, so of one fold.
        labels: Their classes.
        malignancy: Their mean scores, NaN where there is none; without any, the lower row is left out.
        class_names: In order.
        note: What the figure rests on.
        kind: Of file.
    """
    scored = np.isfinite(malignancy)
    bands = 1 + int(scored.any())

    def draw(figure: Figure) -> None:
        axes = figure.subplots(bands, len(spreads), squeeze=False)
        for axis in axes.flat:
            _bare(axis)
        for column, (title, one) in zip(axes.T, spreads.items(), strict=True):
            at, alike = one.points, f"{one.alike.value:.0%} ({one.alike.low:.0%} to {one.alike.high:.0%})"
            column[0].set_title(f"{short(title)}\nneighbours alike: {alike}\nby chance: {one.by_chance:.0%}")
            for number, name in enumerate(class_names):
                colour, marker = CLASSES[round(number * (len(CLASSES) - 1) / (len(class_names) - 1))]
                chosen = at[labels == number].T
                column[0].scatter(*chosen, s=9, c=colour, marker=marker, linewidths=0, alpha=0.85, label=name)
            if scored.any():
                scores = {"c": malignancy[scored], "cmap": SCORES, "vmin": 1, "vmax": 5}
                shown = column[1].scatter(*at[scored].T, s=9, edgecolors=INK, linewidths=0.3, **scores)
                column[1].scatter(*at[~scored].T, s=9, facecolors="none", edgecolors=INK, linewidths=0.5)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=9, frameon=False)
        if scored.any():
            figure.colorbar(shown, ax=axes[1, :], shrink=0.8, label="mean malignancy score", ticks=range(1, 6))

    about = (
        "t-SNE: near points have like features; sizes of groups and distances between them mean nothing. Neighbours "
        f"alike: the share of a nodule's {NEIGHBOURS} nearest, by all features, that have its class; 95 % interval by "
        "resampling patients."
    )
    return page(2.4 * len(spreads), 2.4 * bands + 0.4, f"{about} {note}", kind, draw)


def attention_maps(
    images: Slices,
    outlines: Outlines | None,
    maps: Mapping[str, Slices],
    inside: Mapping[str, Float[np.ndarray, " nodules"]],
    words: Sequence[str],
    note: str,
    kind: Kind = "svg",
) -> bytes:
    """Draw a row for each nodule: what is known of it, its central slice, and every method's attention on that.

    Args:
        images: Central slices, intensities in [0, 1].
        outlines: What the readers agree on; None where the collection has no outlines, which the figure then says.
        maps: By the method's title, at the size of a slice; each is drawn against its own greatest value.
        inside: By the method's title, the share of attention inside the outline; not read without outlines.
        words: What stands beside each nodule, such as its ratings, in short lines.
        note: What the figure rests on.
        kind: Of file.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots(len(images), len(maps) + 2, squeeze=False)
        for axis in axes.flat:
            _bare(axis)
        for axis, title in zip(axes[0, 1:], ["central slice", *maps], strict=True):
            axis.set_title(short(title))
        for number, row in enumerate(axes):
            row[0].text(0, 1, words[number], va="top", fontsize=6.5, transform=row[0].transAxes)
            for axis in row[1:]:
                axis.imshow(images[number], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                if outlines is not None:
                    _outline(axis, outlines[number])
            for axis, (title, of_all) in zip(row[2:], maps.items(), strict=True):
                _heat(axis, of_all[number])
                if outlines is not None:
                    axis.set_xlabel(_share(inside[title][number], outlines[number].mean()), fontsize=6.5, labelpad=2)
        bar = ScalarMappable(Normalize(0, 1), HEAT)
        label, part = "attention, as a part of its map's greatest", 1 / len(images)
        figure.colorbar(
            bar, ax=axes, location="top", shrink=0.4, aspect=40, fraction=part / 5, pad=part / 20, label=label
        )

    about = "Grad-CAM of the predicted class." if outlines is not None else f"Grad-CAM. {NO_OUTLINES}"
    return page(1.45 * (len(maps) + 2), 1.62 * len(images) + 0.8, f"{about} {note}", kind, draw)


def shares(found: Mapping[str, Means | None], note: str, kind: Kind = "svg") -> bytes:
    """Draw each method's mean share of attention inside the outline, its interval, and what it is to be held against.

    Args:
        found: By the method's title; None where nothing could be measured, which the figure then says.
        note: What the figure rests on.
        kind: Of file.
    """
    levels = (
        ("chance: the outline's share of the slice", "area", "|", INK),
        ("maps of other nodules", "swapped", "x", VERMILION),
        ("the most that such coarse maps can reach", "best", "D", GREEN),
    )

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        for place, one in enumerate(found.values()):
            if one is None:
                axis.text(50, place, "no share could be measured", va="center", ha="center")
                continue
            for name, field, marker, colour in levels:
                value = 100 * getattr(one, field).value
                axis.plot(value, place + 0.17, marker, color=colour, markersize=7, label=name, markerfacecolor="none")
            value, low, high = 100 * one.inside.value, 100 * one.inside.low, 100 * one.inside.high
            axis.hlines(place - 0.17, low, high, color=BLUE, linewidth=2)
            axis.plot(
                value, place - 0.17, "o", color=BLUE, markersize=6, label="inside the outline, with its 95 % interval"
            )
        named = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=2, frameon=False)
        axis.set_yticks(range(len(found)), [short(title) for title in found])
        axis.set(xlim=(0, 100), ylim=(len(found) - 0.4, -0.6), xlabel="share of attention, percent")
        axis.grid(axis="x", color="#dddddd", linewidth=0.6)

    counted = [one for one in found.values() if one is not None]
    numbers = {f"{one.nodules:,} nodules" + f" ({one.left_out:,} left out)" * (one.left_out > 0) for one in counted}
    about = f"Means over {' or '.join(sorted(numbers))}; intervals by resampling patients." if counted else NO_SHARES
    return page(7.2, 0.42 * len(found) + 1.3, f"{about} {note}", kind, draw)


def words_of(cohort: Cohort, row: int, class_name: str) -> str:
    """Return what is known of a nodule, in short lines for `attention_maps`; what is unknown is left out."""
    score, diameter, readers = cohort.malignancy[row], cohort.diameter_mm[row], cohort.n_readers[row]
    known = [
        textwrap.shorten(cohort.nodule_ids[row], 24, placeholder="..."),
        class_name + (f", malignancy {score:.1f}" if np.isfinite(score) else ""),
        f"{diameter:.1f} mm" if np.isfinite(diameter) else "",
        f"{readers} reader{'s' if readers > 1 else ''}" if readers else "",
        *(f"{name} {rating:.1f}" for name, rating in zip(cohort.attribute_names, cohort.ratings[row], strict=True)),
    ]
    return "\n".join(filter(None, known))


def _bare(axis: Axes) -> None:
    """Take a picture's frame away."""
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _heat(axis: Axes, heat: Float[np.ndarray, "rows columns"]) -> None:
    """Lay attention over a slice, the more opaque the stronger; a map of zeros leaves the slice as it is."""
    strength = heat / max(float(heat.max()), np.finfo(np.float64).tiny)
    axis.imshow(strength, cmap=HEAT, vmin=0, vmax=1, alpha=0.7 * strength, interpolation="nearest")


def _outline(axis: Axes, mask: Bool[np.ndarray, "rows columns"]) -> None:
    """Draw an outline that is seen on black and on white; one that is empty or everywhere has no line."""
    if mask.any() and not mask.all():
        for width, colour in ((1.8, "black"), (0.9, "white")):
            axis.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=[width])


def _share(inside: float, area: float) -> str:
    return f"{inside:.0%} inside (area {area:.0%})" if np.isfinite(inside) else f"no share (area {area:.0%})"
