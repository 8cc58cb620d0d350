"""Whatever a store does: a nodule is made as it is, or left out with its reason; and a rerun makes what is missing."""

import time

import pytest

import faults
import idc
from benchmark.contracts import InputError

ALL, IN_CI = 300, 60
TIMEOUT_S = 1.0
PASSING = ("500", "503", "reset in mid-body", "closed in mid-body", "closed before an answer", "stall before an answer")


def strike(bucket, front, work, plan):
    """Prepare under a plan of faults; return the ids that were made, and the sentence if that was refused."""
    front.forget()
    front.plan = plan
    try:
        found = idc.fetch(front, work, timeout_s=TIMEOUT_S)
    except InputError as error:
        assert list((work / "cohorts").glob("*.npz")) == []
        assert len(str(error)) > 30 and "\n" not in str(error)
        return [], str(error)
    finally:
        front.plan = None
    left_out = found.provenance.preparation.left_out
    assert sorted([*found.nodule_ids, *left_out]) == sorted(bucket.truth)
    assert all(len(reason) > 10 and "\n" not in reason for reason in left_out.values()), left_out
    for name, crop in idc.crops(found).items():
        assert crop == bucket.truth[name], name
    return list(found.nodule_ids), ""


def recovers(bucket, front, work):
    """Prepare without faults, and compare."""
    assert idc.crops(idc.fetch(front, work, timeout_s=TIMEOUT_S)) == bucket.truth


@pytest.mark.parametrize("first", range(0, ALL, 10))
def test_seeded_schedules_of_faults(bucket, front, tmp_path, request, first):
    """Sixty schedules, and three hundred by `--all-faults`."""
    if first >= IN_CI and not request.config.getoption("--all-faults"):
        pytest.skip("the larger figure: --all-faults")
    for seed in range(first, first + 10):
        strike(bucket, front, tmp_path / f"{seed}", faults.seeded(seed))
        recovers(bucket, front, tmp_path / f"{seed}")


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_strikes_once_costs_no_nodule(bucket, front, tmp_path, name):
    fault, struck = faults.named(name), set(sorted(bucket.objects)[::9])

    def plan(request, again):
        return fault if again == 0 and (request.kind == "listing" or request.key in struck) else None

    made, sentence = strike(bucket, front, tmp_path, plan)
    assert sorted(made) == sorted(bucket.truth), sentence
    assert {seen.kind for seen in front.seen if seen.fault} >= {"listing", "head"}


def test_one_slice_that_is_gone_leaves_only_its_nodule_out(bucket, front, tmp_path):
    idc.fetch(front, tmp_path / "calm")
    victim = front.bodies()[0]
    plan = faults.always(faults.named("gone"), "body")
    made, _ = strike(bucket, front, tmp_path / "work", lambda r, again: plan(r, again) if r.key == victim else None)
    assert len(made) == 2
    recovers(bucket, front, tmp_path / "work")


def test_a_rerun_fetches_only_what_the_faults_took(bucket, front, tmp_path):
    first, second = (one.folder for one in bucket.patients)
    gone = faults.named("gone")
    made, _ = strike(
        bucket, front, tmp_path, lambda r, _: gone if r.kind == "body" and r.key.startswith(second) else None
    )
    assert len(made) == 1
    front.forget()
    recovers(bucket, front, tmp_path)
    assert front.bodies() and set(idc.folders(front.bodies())) == {second}
    assert [one.key for one in front.seen if one.kind == "head" and one.key.startswith(first)] == []


def test_a_store_that_stalls_is_given_up_in_time(bucket, front, tmp_path):
    start = time.monotonic()
    strike(bucket, front, tmp_path, faults.always(faults.named("stall before an answer")))
    assert time.monotonic() - start < 60 * TIMEOUT_S
