"""What the mutation check counts; the check itself is no part of the suite."""

from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent / "mutation"
SOURCE = "a = 1 if b == c else 2\n"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOL))
    import mutants
    import report

    return mutants, report


def test_a_survivor_with_a_reason_is_left_out_of_the_share_and_one_without_is_not(tool):
    mutants, report = tool
    one, other, killed, *_ = mutants.mutants_of(mutants.Room("m.py", SOURCE, (), "key"))
    results = {mutant.job_id: ended(survived=mutant is not killed) for mutant in (one, other, killed)}
    before, after = one.change()
    reasons = {("m.py", "".join(before.split()), "".join(after.split())): "it changes nothing"}
    counted = report.tally([one, other, killed], results, report.Explanations(frozenset(), reasons))
    assert counted == report.Tally(killed=1, survived=1, timeout=0, explained=1) and counted.share == 0.5


def test_is_for_equals_is_no_mutant_and_the_other_comparisons_are(tool):
    mutants, _ = tool
    named = {one.spec.operator_name for one in mutants.mutants_of(mutants.Room("m.py", SOURCE, (), "key"))}
    compared = {name.removeprefix("core/ReplaceComparisonOperator_") for name in named if "Comparison" in name}
    assert compared == {"Eq_NotEq", "Eq_Lt", "Eq_LtE", "Eq_Gt", "Eq_GtE", "Eq_IsNot"}


def test_every_module_answers_to_the_conventions(tool):
    mutants, _ = tool
    rooms = mutants.read_rooms(TOOL / "rooms.toml", TOOL.parents[1])
    assert all(room.tests[-1] == "tests/test_conventions.py" and len(room.tests) > 1 for room in rooms)


def ended(survived: bool):
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

    return WorkResult(WorkerOutcome.NORMAL, test_outcome=TestOutcome.SURVIVED if survived else TestOutcome.KILLED)
