"""Gallery: a picture of 24 phantom nodules. `python -m datasets.lidc.phantom.gallery OUT.png` made docs/phantom.png."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from datasets.crops import SIZE
from datasets.lidc import nodules as lidc
from datasets.lidc.nodules import Nodule
from datasets.lidc.phantom import render
from datasets.lidc.phantom.structures import Calcium
from datasets.protocols import LABEL_SETS, classify

WINDOW_HU = (-1350, 150)  # the usual lung window
CAPTION = (
    "Phantom nodules, not CT: rendered from the outlines and ratings that LIDC-IDRI's radiologists gave real nodules.\n"
    f"Central axial slice, {WINDOW_HU[0]} to {WINDOW_HU[1]} HU; each side is twice the diameter, which stands below."
)


def spread(nodules: Sequence[Nodule], count: int) -> list[Nodule]:
    """Return nodules at evenly spaced quantiles of diameter."""
    ordered = sorted(nodules, key=lambda nodule: (nodule.diameter_mm, nodule.id))
    return [ordered[int((number + 0.5) / count * len(ordered))] for number in range(count)]


def rows(nodules: Sequence[Nodule]) -> dict[str, list[Nodule]]:
    """Choose six nodules of each class, then two each of three looks, of at least 8 mm and three readers."""
    classes = classify(np.array([nodule.malignancy for nodule in nodules]), "three")
    chosen = {
        name: spread([nodule for nodule, label in zip(nodules, classes, strict=True) if label == number], 6)
        for number, name in enumerate(LABEL_SETS["three"])
    }
    read = [nodule for nodule in nodules if len(nodule.readings) >= 3 and nodule.diameter_mm >= 8]
    ground_glass = [nodule for nodule in read if nodule.rating("texture") <= 1.5]
    calcified = [
        nodule for nodule in read if all(r.ratings["calcification"] != Calcium.ABSENT for r in nodule.readings)
    ]
    spiculated = [nodule for nodule in read if nodule.rating("spiculation") >= 4.5]
    looks = [*spread(ground_glass, 2), *spread(calcified, 2), *spread(spiculated, 2)]
    return {**chosen, "2 ground glass, 2 calcified, 2 spiculated": looks}


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description="Draw 24 phantom nodules.")
    parser.add_argument("out", type=Path, help="where to write the PNG")
    out = parser.parse_args().out
    chosen = rows(lidc.load())
    figure = Figure(figsize=(7.6, 6.3))
    axes = figure.subplots(len(chosen), 6)
    for row, (name, nodules) in zip(axes, chosen.items(), strict=True):
        for axis, nodule in zip(row, nodules, strict=True):
            image = render.render(nodule)[SIZE // 2]
            axis.imshow(image, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], interpolation="bicubic")
            axis.set_xlabel(f"{nodule.diameter_mm:.0f} mm", fontsize=7, labelpad=2)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=8)
    figure.text(0.5, 0.012, CAPTION, ha="center", fontsize=7.5)
    figure.subplots_adjust(left=0.075, right=0.995, bottom=0.085, top=0.995, wspace=0.04, hspace=0.13)
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main()
