from itertools import product

import numpy as np
import pytest

from benchmark.audit.alterations import altered, altered_share, chance, digit_power, mend
from benchmark.audit.consistency import Row, fits, row_fits

TWO = Row(833, (924, 634), (884, 703))  # fits (223, 101)
OPEN = Row(781, (906, 505), (858, 607), outside=True)
THREE = Row(542, (722, 290, 644), (620, 366, 613))  # fits (223, 200, 101)
EDGE = Row(998, (1000, 994), (999, 997))


@pytest.mark.parametrize(
    ("row", "sizes"),
    [(TWO, (223, 101)), (TWO, (1400, 640)), (OPEN, (223, 101)), (THREE, (223, 200, 101)), (EDGE, (500, 180))],
)
@pytest.mark.parametrize("rule", ["nearest", "cut_or_nearest"])
def test_chance_is_the_counted_share_of_the_rows_around(row, sizes, rule):
    around = np.array([row.scores + np.array(shift) for shift in product((-1, 0, 1), repeat=len(row.scores))])
    around = around[((around >= 0) & (around <= 1000)).all(axis=1)]
    counted = fits(np.array([sizes]), around, 1000, row.outside, rule).mean()
    assert counted > 0 and chance(row, sizes, rule, reach=1) == pytest.approx(counted)


def test_alterations_are_all_other_last_digits_below_a_hundred_percent():
    assert len(altered(TWO)) == 9 * 5
    assert len(altered(EDGE)) == 9 * 4  # 100.0 has no other last digit
    assert ((altered(TWO) != TWO.scores).sum(axis=1) == 1).all()
    assert (altered(TWO) // 10 == TWO.scores // 10).all()


def test_power_is_the_share_of_alterations_that_do_not_fit():
    caught = [not fits(np.array([[223, 101]]), line[None], 1000, True)[0] for line in altered(OPEN)]
    assert digit_power(OPEN, (223, 101)) == pytest.approx(sum(caught) / 45) and 0 < sum(caught) < 45


def test_a_row_that_fits_nothing_is_compared_with_its_alterations():
    printed = Row(875, (920, 770), (910, 788))
    assert altered_share(printed, 400) == pytest.approx(sum(altered_share_by_hand(printed, 400)) / 45)


def altered_share_by_hand(row, limit):
    every = np.array([(a, b) for a in range(1, limit) for b in range(1, limit - a + 1)])
    return [fits(every, line[None], 1000, False).any() for line in altered(row)]


def test_mends_one_number_by_as_little_as_possible():
    assert mend(Row(875, (920, 770), (910, 788)), (200, 87)).changes == ((3, 910, 911),)
    assert mend(Row(875, (945, 723), (917, 790), outside=True), (200, 87)).changes == ((2, 723, 713),)


def test_mends_two_numbers_where_one_does_not_do():
    true = np.array([833, 924, 634, 884, 703])
    for places in [(1, 2), (0, 4)]:
        wrong = true.copy()
        wrong[list(places)] += 7
        row = Row(int(wrong[0]), (int(wrong[1]), int(wrong[2])), (int(wrong[3]), int(wrong[4])))
        found = mend(row, (223, 101))
        assert found.size <= (2, 14)
        assert row_fits(found.applied(row), (223, 101))


def test_gives_up_on_a_row_that_is_wrong_in_three_places():
    assert mend(Row(868, (713, 385), (633, 443)), (223, 101)) is None
