from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.audit.consistency import Row, row_fits
from benchmark.audit.foldmean import mean_of_folds, tied


def mean_scores(matrices: list[np.ndarray]) -> list[Fraction]:
    lines = []
    for matrix in matrices:
        right, sizes, called = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        line = [Fraction(int(right.sum()), int(sizes.sum()))]
        line += [Fraction(int(c), int(n)) for c, n in zip(right, sizes, strict=True)]
        line += [Fraction(int(2 * c), int(n + m)) for c, n, m in zip(right, sizes, called, strict=False)]
        lines.append(line)
    return [sum(column) / len(matrices) for column in zip(*lines, strict=True)]


def print_row(means: list[Fraction], outside: bool = False) -> Row:
    accuracy, *rest = (round(1000 * mean) for mean in means)
    half = len(rest) // 2
    return Row(accuracy, tuple(rest[:half]), tuple(rest[half:]), outside=outside)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from([(2, False), (2, True), (3, False)]))
def test_a_true_mean_over_folds_is_never_called_impossible(data, kind):
    classes, outside = kind
    sizes = data.draw(st.lists(st.integers(5, 90), min_size=classes, max_size=classes))
    matrices = []
    for _ in range(5):
        cells = np.zeros((classes, classes + outside), dtype=int)
        for k, size in enumerate(sizes):
            cells[k, k] = data.draw(st.integers(0, size))
            cells[k, (k + 1) % (classes + outside)] = size - cells[k, k]
        matrices.append(cells)
    row = print_row(mean_scores(matrices), outside)
    assert tied(row.scores[None], tuple(sizes), 1000, 5)[0]


@pytest.mark.parametrize(
    ("row", "sizes"),
    [
        (Row(568, (590, 551, 552), (592, 528, 600)), (200, 178, 87)),  # dealt out evenly
        (Row(875, (920, 770), (910, 788)), (200, 87)),  # only with uneven folds
        (Row(781, (906, 505), (858, 607), outside=True), (223, 101)),
    ],
)
def test_an_example_proves_what_it_claims(row, sizes):
    found = mean_of_folds(row, sizes, 5)
    assert found.answer == "possible" and len(found.matrices) == 5
    matrices = [np.array(matrix) for matrix in found.matrices]
    assert all(tuple(matrix.sum(1)) == sizes and (matrix >= 0).all() for matrix in matrices)
    assert print_row(mean_scores(matrices), row.outside) == row
    assert np.mean(found.accuracies) == pytest.approx(row.accuracy / 10, abs=0.05)


def test_recalls_that_do_not_make_the_accuracy_are_impossible():
    assert mean_of_folds(Row(895, (940, 805), (928, 828)), (200, 87), 5).answer == "impossible"


def test_a_row_that_one_matrix_fits_is_a_mean_of_equal_folds():
    row = Row(833, (924, 634), (884, 703))
    assert row_fits(row, (223, 101)) and mean_of_folds(row, (223, 101), 5).answer == "possible"


def test_says_so_where_no_example_turns_up():
    restricted = Row(781, (906, 505), (858, 607))
    assert mean_of_folds(restricted, (223, 101), 5).answer == "undecided"
