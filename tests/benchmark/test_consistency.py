"""The exact search against brute force: every confusion matrix of small test sets, written out and printed."""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.audit.consistency import Row, example, fits, numerators, outside_errors, row_fits
from benchmark.audit.search import MOST_CANDIDATES, candidate_count, fitting_sizes

STRICT = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN}


def printed(count: int, total: int, rounding: str = ROUND_HALF_UP) -> int:
    """Tenths of a percent."""
    return int((Decimal(1000 * count) / Decimal(total)).quantize(Decimal(1), rounding)) if total else 0


def compositions(total: int, parts: int):
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in compositions(total - first, parts - 1):
            yield first, *rest


@cache
def matrices(sizes: tuple[int, ...], outside: bool) -> list[np.ndarray]:
    columns = len(sizes) + outside
    return [np.array(lines) for lines in product(*(list(compositions(n, columns)) for n in sizes))]


def scores(matrix: np.ndarray, rounding: str = ROUND_HALF_UP) -> tuple[int, ...]:
    right, sizes, called = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    return (
        printed(int(right.sum()), int(sizes.sum()), rounding),
        *(printed(int(c), int(n), rounding) for c, n in zip(right, sizes, strict=True)),
        *(printed(int(2 * c), int(n + m), rounding) for c, n, m in zip(right, sizes, called, strict=False)),
    )


def row_of(numbers: tuple[int, ...], outside: bool = False) -> Row:
    half = len(numbers) // 2
    return Row(numbers[0], numbers[1 : 1 + half], numbers[1 + half :], 1000, outside)


@pytest.mark.parametrize(
    ("sizes", "outside"), [((7, 9), False), ((16, 8), False), ((4, 6), True), ((3, 4, 3), False), ((2, 2, 2), True)]
)
@pytest.mark.parametrize("rule", ["half_up", "half_even"])
def test_accepts_exactly_the_rows_that_some_matrix_prints(sizes, outside, rule):
    true = {scores(matrix, STRICT[rule]) for matrix in matrices(sizes, outside)}
    digits = np.random.default_rng(0)
    neighbours = set()
    for row in true:
        changed = np.array(row)
        changed[digits.integers(len(row))] += digits.choice([-1, 1, 7, -30])
        neighbours.add(tuple(int(n) for n in changed.clip(0, 1000)))
    rows = sorted(true | neighbours)
    found = fits(np.array([sizes]), np.array(rows), 1000, outside, rule)
    assert found.tolist() == [row in true for row in rows]


@pytest.mark.parametrize(("sizes", "outside"), [((16, 8), False), ((3, 4, 3), False), ((4, 6), True)])
def test_a_value_half_way_fits_both_its_neighbours(sizes, outside):
    rows = [scores(matrix, rounding) for matrix in matrices(sizes, outside) for rounding in STRICT.values()]
    assert fits(np.array([sizes]), np.array(rows), 1000, outside).all()


def test_cut_digits_fit_the_rule_that_cuts():
    rows = [scores(matrix, ROUND_DOWN) for matrix in matrices((3, 4, 3), False)]
    assert fits(np.array([(3, 4, 3)]), np.array(rows), 1000, False, "cut").all()
    assert fits(np.array([(3, 4, 3)]), np.array(rows), 1000, False, "cut_or_nearest").all()
    assert not fits(np.array([(3, 4, 3)]), np.array(rows), 1000, False).all()


@given(st.integers(1, 2026), st.data())
def test_percentages_from_floating_point_are_never_refused(total, data):
    count = data.draw(st.integers(0, total))
    for text in (f"{100 * count / total:.1f}", f"{count / total:.1%}"[:-1], str(round(count / total * 100, 1))):
        low, high = numerators(np.array([int(Decimal(text) * 10)]), np.array([total]), 1000)
        assert low <= count <= high


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=4, max_size=4), min_size=3, max_size=3), st.booleans())
def test_the_example_is_a_matrix_of_the_sizes_that_prints_the_row(cells, outside):
    matrix = np.array(cells)[:, : 3 + outside] + np.eye(3, 3 + outside, dtype=int)
    row = row_of(scores(matrix), outside)
    sizes = tuple(int(n) for n in matrix.sum(1))
    found = np.array(example(row, sizes))
    assert found.shape == matrix.shape and (found >= 0).all()
    assert tuple(found.sum(1)) == sizes
    assert row_fits(row_of(scores(found), outside), sizes)
    assert fits(
        np.array([sizes]), np.array([scores(found, r) for r in STRICT.values()] + [row.scores]), 1000, outside
    ).all()
    low, high = outside_errors(row, sizes)
    assert low <= int(matrix[:, 3:].sum()) <= high
    assert int(found[:, 3:].sum()) == low or not outside


def test_the_range_of_errors_outside_the_test_classes_is_exact():
    all_of_them = matrices((5, 6), True)
    for matrix in all_of_them[::37]:
        row = row_of(scores(matrix), True)
        same = [m for m in all_of_them if any(scores(m, r) == tuple(row.scores) for r in STRICT.values())]
        counts = [int(m[:, 2].sum()) for m in same]
        assert outside_errors(row, (5, 6)) == (min(counts), max(counts))


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("numbers", [(833, 924, 634, 884, 703), (500, 500, 500, 500, 500), (906, 1000, 0, 951, 0)])
def test_the_search_finds_every_size_for_two_classes(numbers, outside):
    row, limit = row_of(numbers, outside), 330
    every = np.array([(a, b) for a in range(1, limit) for b in range(1, limit - a + 1)])
    expected = every[fits(every, row.scores[None], 1000, outside)]
    assert sorted(map(tuple, fitting_sizes(row, limit))) == sorted(map(tuple, expected))


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("cells", [((8, 3, 1), (4, 9, 2), (0, 2, 7)), ((5, 5, 0), (1, 3, 1), (0, 2, 2))])
def test_the_search_finds_every_size_for_three_classes(cells, outside):
    row, limit = row_of(scores(np.array(cells)), outside), 70
    every = np.array(
        [(a, b, c) for a in range(1, limit) for b in range(1, limit - a) for c in range(1, limit - a - b + 1)]
    )
    expected = every[fits(every, row.scores[None], 1000, outside)]
    assert len(expected) > 1 and sorted(map(tuple, fitting_sizes(row, limit))) == sorted(map(tuple, expected))


def test_a_row_worked_by_hand():
    # 206 of 223 and 64 of 101: accuracy 270/324 = 83.33, F1 412/(223 + 243) = 88.41 and 128/(101 + 81) = 70.33.
    row = Row(833, (924, 634), (884, 703))
    assert row_fits(row, (223, 101)) and example(row, (223, 101)) == ((206, 17), (37, 64))
    assert not row_fits(row, (224, 101))
    assert not row_fits(Row(833, (924, 634), (884, 704)), (223, 101))


def test_a_row_that_says_nothing_about_its_sizes_is_not_searched():
    row = Row(600, (600, 600, 600), (600, 600, 600))
    assert candidate_count(row, 2026) > MOST_CANDIDATES
    with pytest.raises(ValueError, match="class sizes to be checked"):
        fitting_sizes(row, 2026)
    assert len(fitting_sizes(row, 60)) > 0
