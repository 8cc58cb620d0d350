"""The audit on invented tables: rows printed from true confusion matrices, then altered."""

from dataclasses import dataclass

import jaxtyping
import numpy as np
import pytest

from benchmark.audit.alterations import altered
from benchmark.audit.claims import Claim
from benchmark.audit.consistency import Row, row_fits
from benchmark.audit.testsets import PROOF, expectation, find, most_at_once
from benchmark.audit.verdicts import power

NAMES = ("benign", "malignant", "unsure")


def printed(count: int, total: int, half_up: bool) -> int:
    """Tenths of a percent, in integers."""
    unit, rest = divmod(1000 * count, total)
    return unit + (2 * rest > total or (2 * rest == total and (half_up or unit % 2 == 1)))


def invented_row(rng: np.random.Generator, sizes: tuple[int, ...], outside: bool, half_up: bool) -> Row:
    classes = len(sizes)
    matrix = []
    for k, size in enumerate(sizes):
        recall = rng.uniform(0.5, 0.95)
        wrong = (1 - recall) * rng.dirichlet(np.ones(classes - 1 + outside))
        matrix.append(rng.multinomial(size, np.insert(wrong, k, recall)))
    right = [int(matrix[k][k]) for k in range(classes)]
    called = [int(sum(line[k] for line in matrix)) for k in range(classes)]
    return Row(
        printed(sum(right), sum(sizes), half_up),
        tuple(printed(c, n, half_up) for c, n in zip(right, sizes, strict=True)),
        tuple(printed(2 * c, n + m, half_up) for c, n, m in zip(right, sizes, called, strict=True)),
        outside=outside,
    )


def invented_sizes(rng: np.random.Generator, classes: int, least: int, most: int) -> tuple[int, ...]:
    total = int(rng.integers(least, most))
    return tuple(max(5, int(share * total)) for share in rng.dirichlet(np.full(classes, 4.0)))


@pytest.fixture
def unchecked():
    """Leave out the shape checks of each call, which take longer than the calls; the other tests have them."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@dataclass
class Tally:
    tables: int = 0
    alarms: int = 0
    power: float = 0.0
    caught: int = 0


def audit_tables(tables: int, limit: int, sizes_from: tuple[int, int]) -> Tally:
    """Invent tables of one test set; look for alarms, then alter one last digit and look whether that is caught."""
    rng, tally = np.random.default_rng(limit), Tally(tables)
    for table in range(tables):
        classes = 2 + table % 2
        sizes = invented_sizes(rng, classes, *sizes_from)
        kind = {"outside": table % 4 == 0, "half_up": bool(rng.integers(2))}
        claims = [Claim(invented_row(rng, sizes, **kind), NAMES[:classes]) for _ in range(rng.integers(4, 9))]
        found = find(claims, limit)
        members = {member for test_set in found for member in test_set.members}
        tally.alarms += bool(found) and len(members) < len(claims)

        which = int(rng.integers(len(claims)))
        row = claims[which].row
        if which in members:
            tally.power += power(row, found[0].sizes, found[0].expected)
        accuracy, *rest = map(int, rng.choice(altered(row)))
        changed = Row(accuracy, tuple(rest[:classes]), tuple(rest[classes:]), outside=row.outside)
        found = find([*claims[:which], Claim(changed, claims[which].classes), *claims[which + 1 :]], limit)
        tally.caught += bool(found) and not any(which in test_set.members for test_set in found)
    return tally


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("tables", "limit", "sizes_from"), [(1500, 150, (40, 150)), (400, 450, (100, 450)), (100, 900, (400, 900))]
)
def test_true_tables_raise_no_alarm_and_altered_digits_are_caught_as_often_as_promised(tables, limit, sizes_from):
    tally = audit_tables(tables, limit, sizes_from)
    assert tally.alarms == 0
    assert tally.caught / tables == pytest.approx(tally.power / tables, abs=0.03)


def test_two_test_sets_in_one_table_are_told_apart():
    rng = np.random.default_rng(1)
    for table in range(60):
        classes = 2 + table % 2
        truth, claims = [], []
        for _ in range(2):
            sizes = invented_sizes(rng, classes, 60, 300)
            truth.append(sizes)
            claims += [Claim(invented_row(rng, sizes, False, True), NAMES[:classes]) for _ in range(4)]
        assert sorted(found.sizes for found in find(claims, 400)) == sorted(truth)


def test_protocols_share_the_sizes_of_the_classes_that_they_share():
    rng = np.random.default_rng(2)
    sizes = (90, 41, 77)
    three = [Claim(invented_row(rng, sizes, False, True), NAMES) for _ in range(2)]
    two = [Claim(invented_row(rng, sizes[:2], True, True), NAMES[:2]) for _ in range(2)]
    (found,) = find([*two, *three], 400)
    assert found.sizes == sizes and found.members == (0, 1, 2, 3)
    assert found.sizes_of(("malignant", "benign")) == (41, 90) and found.sizes_of(("solid",)) is None
    assert all(row_fits(claim.row, found.sizes_of(claim.classes)) for claim in two + three)


def test_multiples_of_the_sizes_fit_too_and_the_smallest_is_preferred():
    rng = np.random.default_rng(3)
    claims = [Claim(invented_row(rng, (40, 25), False, True), NAMES[:2]) for _ in range(5)]
    (found,) = find(claims, 200)
    assert found.sizes == (40, 25)
    assert {(80, 50), (120, 75)} <= set(found.same_rows)
    assert found.expected < PROOF < expectation([claims[0].row], [(40, 25)], (40, 25))


def test_rows_without_a_common_test_set_reveal_none():
    rng = np.random.default_rng(4)
    claims = [Claim(invented_row(rng, invented_sizes(rng, 2, 60, 250), False, True), NAMES[:2]) for _ in range(4)]
    assert find(claims, 250) == []
    assert most_at_once(claims, 250) < 4
