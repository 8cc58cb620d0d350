"""Pairs of real and rendered slices are chosen by rule and stand one above the other."""

import numpy as np
import pytest

from benchmark.contracts import InputError
from benchmark.fidelity.picture import draw, mosaic, spread


def whole(count: int) -> np.ndarray:
    return np.ones((count, 2, 32), dtype=bool)


def test_pairs_go_from_the_smallest_to_the_largest_nodule_that_is_covered_whole() -> None:
    covered = whole(4)
    covered[1, 0, 31] = False  # the smallest
    assert spread(covered, np.array([6.0, 3.0, 9.0, 4.0]), 24).tolist() == [3, 0, 2]


def test_a_rendered_slice_stands_below_its_real_one_in_grey_values_of_the_window() -> None:
    real = np.stack([np.full((32, 32), hu, dtype=np.int16) for hu in (-1000, 400, -300)])
    page = mosaic(real, np.full_like(real, 3000), columns=2)
    assert page.shape == (2 * 200 - 4 + 4, 196)
    assert [page[0, 0], page[0, 100], page[204, 0]] == [0, 255, 128]
    assert page[100, 0] == page[304, 0] == 255
    assert (page[204:300, 100:] == 255).all()  # nothing stands there
    assert (page[96:100] == 255).all()


def test_a_picture_that_cannot_be_is_refused_in_a_sentence(tmp_path) -> None:  # type: ignore[no-untyped-def]
    hu, diameter = np.zeros((1, 32, 32), dtype=np.int16), np.array([5.0])
    with pytest.raises(InputError, match="no slice is covered whole"):
        draw(tmp_path / "a.png", hu, hu, np.zeros((1, 2, 32), dtype=bool), diameter)
    with pytest.raises(InputError, match=r"cannot write the picture .*absent"):
        draw(tmp_path / "absent" / "a.png", hu, hu, whole(1), diameter)
    draw(tmp_path / "a.png", hu, hu, whole(1), diameter)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
