import sys

import numpy as np
import pytest
from matplotlib.image import imread

from datasets.lidc.phantom import gallery
from datasets.protocols import classify


def test_shows_six_of_each_class_and_two_of_each_look(nodules):
    chosen = list(gallery.rows(nodules).values())
    assert [len(row) for row in chosen] == [6, 6, 6, 6]
    for number, row in enumerate(chosen[:3]):
        assert {int(classify(np.array([n.malignancy]), "three")[0]) for n in row} == {number}
    looks = chosen[3]
    assert all(nodule.rating("texture") <= 1.5 for nodule in looks[:2])
    assert all(nodule.rating("calcification") < 6 for nodule in looks[2:4])
    assert all(nodule.rating("spiculation") >= 4 for nodule in looks[4:])


def test_writes_a_small_picture(nodules, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery.lidc, "load", lambda: nodules)
    monkeypatch.setattr(sys, "argv", ["gallery", str(tmp_path / "out.png")])
    gallery.main()
    assert 50_000 < (tmp_path / "out.png").stat().st_size < 400_000
    assert imread(tmp_path / "out.png").shape[2] in (3, 4)


def test_quantiles_are_evenly_spaced(square):
    nodules = [square([(10, 20, 30, edge)]) for edge in (4, 5, 6, 7, 8, 9)]
    assert gallery.spread(nodules[::-1], 3) == [nodules[1], nodules[3], nodules[5]]


@pytest.mark.parametrize("count", [1, 2])
def test_spread_gives_as_many_as_asked(square, count):
    assert len(gallery.spread([square([(10, 20, 30, 5)])], count)) == count
