"""`kill -9` at any moment loses nothing that was done, and makes nothing that is wrong."""

import random
import sys
import time
from pathlib import Path

import pytest

import idc
import killed

MOMENTS = 20
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")


@pytest.fixture(scope="module")
def requests(bucket, tmp_path_factory):
    """How many requests an undisturbed run makes."""
    from objectstore import Front, Objects, serving

    with serving(Front(Objects(bucket.objects))) as front:
        idc.fetch(front, tmp_path_factory.mktemp("calm"))
        return len(front.seen)


def run_and_kill(bucket, front, work: Path, after: int, delay_s: float) -> bool:
    """Kill a run so long after so many requests; return whether it was still alive."""
    front.forget()
    options = ["--source", "idc", "--idc-endpoint", front.url, "--work", work, "--workers", 0, "--connections", 4]
    process = killed.start(bucket.patients, bucket.objects, options)
    while len(front.seen) < after and process.is_alive():
        time.sleep(0.0005)
    time.sleep(delay_s)
    process.kill()
    process.join()
    return process.exitcode == -9


@pytest.mark.parametrize("seed", range(MOMENTS))
def test_a_killed_run_goes_on(bucket, front, tmp_path, requests, seed):
    dice = random.Random(seed)
    after = dice.randrange(1, requests + 1)
    run_and_kill(bucket, front, tmp_path, after, dice.choice((0.0, 0.002, 0.02, 0.1)))
    cropped = {path.name.partition("-")[0] for path in (tmp_path / "cohorts" / "idc" / "parts").glob("*.npz")}
    done = {one.folder for one in bucket.patients if one.scan.series_uid in cropped}
    front.forget()
    found = idc.fetch(front, tmp_path)
    assert idc.crops(found) == bucket.truth
    assert not done & set(idc.folders(seen.key for seen in front.seen))


def test_a_run_killed_again_and_again_ends(bucket, front, tmp_path, requests):
    dice, bodies, kills = random.Random(1), [], 0
    for _ in range(6):
        kills += run_and_kill(bucket, front, tmp_path, max(1, requests // 6), dice.uniform(0, 0.01))
        bodies += front.bodies()
    front.forget()
    assert idc.crops(idc.fetch(front, tmp_path)) == bucket.truth
    bodies += front.bodies()
    assert kills >= 3
    assert len(bodies) - len(set(bodies)) <= 4 * kills, "only what was under way when it died is asked for again"


def test_kept_slices_are_not_fetched_again_after_a_kill(bucket, front, tmp_path, requests):
    options = ("--keep-dicom", tmp_path / "kept")
    front.forget()
    process = killed.start(
        bucket.patients,
        bucket.objects,
        ["--source", "idc", "--idc-endpoint", front.url, "--work", tmp_path / "w", "--workers", 0, *options],
    )
    while len(front.bodies()) < 20 and process.is_alive():
        time.sleep(0.0005)
    process.kill()
    process.join()
    kept = {path.stem for path in (tmp_path / "kept").rglob("*.dcm")}
    first = front.bodies()
    front.forget()
    assert idc.crops(idc.fetch(front, tmp_path / "w", *options)) == bucket.truth
    assert len(first) + len(front.bodies()) <= 3 * idc.NEEDED + len(first) - len(kept)
