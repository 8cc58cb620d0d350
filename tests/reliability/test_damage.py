"""Whatever happened to a file that is read back, it is noticed: what is read is what was written, or is not used.

Damage is bits turned, bytes changed, zeroed, cut off, taken out, doubled or added, in every class of places, files in
each other's place, and digits edited. It is no forgery: who computes the hashes anew is believed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import checkpoint, nodules, weights
from benchmark.contracts import Batch, InputError, Provenance
from benchmark.extras import Extras
from benchmark.records import FitRecord, FitSpec, Unusable
from benchmark.run import Run
from benchmark.runfile import RunMetadata
from benchmark.runner import Setup, run_fit
from benchmark.step import Step
from datasets import store
from datasets.lidc import series
from fakes import IDENTITY, LINEAR, PRESET, A, fold_data, make_cohort

SPEC, OTHER = FitSpec("three", "linear", 0, 0), FitSpec("three", "linear", 0, 1)


@dataclass(frozen=True)
class Kept:
    """A kind of file: where it is, another that could stand there, and how it is read.

    `read` raises Unusable or InputError, or returns something: what `same` says is what was written, None if it is
    passed over.
    """

    path: Path
    other: bytes
    read: Callable[[], object]
    same: Callable[[object], bool] = lambda found: False


def damaged(content: bytes, other: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield a content damaged in each way in turn, over and over."""
    size = len(content)
    newline = content.find(b"\n") + 1 or 64
    while True:
        edges = (0, min(newline, size // 2), min(8 + newline, size // 2), size // 4, size // 2, size - 64, size)
        for start, end in pairwise(edges):  # seal, length, header, payload, trailer
            at = int(rng.integers(max(start, 0), max(end, start + 1)))
            turned = bytearray(content)
            turned[min(at, size - 1)] ^= 1 << int(rng.integers(8))
            yield bytes(turned)
        at, length = int(rng.integers(size)), int(rng.integers(1, 600))
        yield content[:at]
        yield content[:at] + bytes(len(content[at : at + length])) + content[at + length :]
        yield content[:at] + rng.bytes(len(content[at : at + length])) + content[at + length :]
        yield content[:at] + content[at + length :]
        yield content[:at] + content[at : at + length] + content[at:]
        yield content + rng.bytes(length)
        yield other
        yield other[:at] + content[at:]
        digits = [place for place in rng.integers(size, size=200).tolist() if content[place] in b"0123456789"]
        if digits:
            edited = bytearray(content)
            edited[digits[0]] = b"1234567890"[edited[digits[0]] - 48]
            yield bytes(edited)


def interrupted(step: Callable, steps: int) -> Callable:
    """Return a step that is interrupted once so many were taken."""
    left = iter(range(steps))

    def take(self: Step, batch: Batch) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        step(self, batch)

    return take


@pytest.fixture(scope="module")
def kinds(tmp_path_factory) -> dict[str, Kept]:
    folder = tmp_path_factory.mktemp("kept")
    run = Run(folder / "run", IDENTITY)
    metadata = RunMetadata({"torch": "2.9"}, "cpu", "abc", Provenance(None, "f", None))
    run.start("a command", metadata, [A])
    data = fold_data(make_cohort())
    setup = Setup(PRESET, torch.device("cpu"), "key", Extras(weights=True, checkpoint_s=0.0))
    halves = {}
    for spec in (SPEC, OTHER):  # each interrupted in its second epoch, then made
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Step, "__call__", interrupted(Step.__call__, 3))
            run_fit(run, spec, LINEAR, data, setup)
        halves[spec] = run.checkpoint_path(spec).read_bytes()
        run_fit(run, spec, LINEAR, data, setup)
    record = run.read(SPEC)
    half, about = folder / "one.checkpoint", None

    def checkpoint_there() -> object:
        return checkpoint.Checkpoints(half, about, 60.0)._found

    half.write_bytes(halves[SPEC])
    about = checkpoint._head(halves[SPEC].partition(b"\n")[2]).about
    crops = np.random.default_rng(0).integers(-1000, 400, (4, 32, 32, 32)).astype(np.int16)
    cohort = make_cohort(4, volumes=crops, n_readers=np.full(4, 4))
    cohort = replace(cohort, content_hash=store.content_hash(cohort))
    other = replace(cohort, malignancy=cohort.malignancy[::-1].copy())
    for name, one in (("a.npz", cohort), ("b.npz", replace(other, content_hash=store.content_hash(other)))):
        store.write(one, folder / name)
    of_this = fold_data(cohort, cohort_file=folder / "a.npz", open=store.load)
    table, changed = (store.csv_of(one, "published", np.arange(4)) for one in (cohort, other))
    run.keep("cohort.csv", table)
    elsewhere = Run(folder / "elsewhere", IDENTITY)
    elsewhere.start("another command", metadata)
    volumes, outcome = np.arange(2 * 32**3, dtype=np.int16).reshape(2, 32, 32, 32), series.Outcome(["a"], {"b": "c"})
    with (folder / "a.part").open("wb") as file:
        np.savez(file, volumes=volumes, outcome=np.array('{"made":["a"],"left_out":{"b":"c"},"faults":[]}'))

    def same_cohort(found) -> bool:
        return (
            found.provenance == cohort.provenance
            and found.content_hash == store.content_hash(found) == cohort.content_hash
        )

    def same_part(found) -> bool:
        return np.array_equal(found[0], volumes) and found[1] == outcome

    return {
        "record": Kept(run.path(SPEC), run.path(OTHER).read_bytes(), lambda: run.read(SPEC, "key", data.digest)),
        "weights": Kept(
            run.weights_path(SPEC), run.weights_path(OTHER).read_bytes(), lambda: weights.read(run, record)
        ),
        "checkpoint": Kept(half, halves[OTHER], checkpoint_there),
        "run": Kept(
            run.folder / "run.json", (elsewhere.folder / "run.json").read_bytes()[:-1], lambda: Run.open(run.folder)
        ),
        "cohort.csv": Kept(run.folder / "cohort.csv", changed, lambda: nodules.read_nodules(run.folder)),
        "cohort": Kept(folder / "a.npz", (folder / "b.npz").read_bytes(), of_this.cohort, same_cohort),
        "part": Kept(folder / "a.part", b"", lambda: series.load(folder / "a.part"), same_part),
    }


@pytest.mark.parametrize("number", range(7))
def test_no_damage_is_taken_for_what_was_written(kinds, number, request):
    name, kept = list(kinds.items())[number]
    whole, tried, without_effect = kept.path.read_bytes(), 0, 0
    assert kept.read() is not None
    ways = damaged(whole, kept.other, np.random.default_rng(number))
    while tried < -(-request.config.getoption("--damages") // len(kinds)):
        content = next(ways)
        if content == whole:
            continue
        tried += 1
        kept.path.write_bytes(content)
        try:
            found = kept.read()
        except (Unusable, InputError) as error:
            assert str(error) and "\n" not in str(error)
            continue
        if found is None:
            continue
        assert kept.same(found), f"damage {tried} of {name} was not noticed"
        without_effect += 1  # in what a zip says beside its members' content, which is the same
    kept.path.write_bytes(whole)
    assert kept.read() is not None and (not without_effect or name in ("cohort", "part"))


def test_a_record_sealed_anew_over_nonsense_is_refused_all_the_same():
    from benchmark.records import seal

    for nonsense in (b"[" * 100_000, b'{"labels":[1e400]}', b'{"labels":[99999999999999999999],"proba":[]}', b"null"):
        with pytest.raises(Unusable):
            FitRecord.from_bytes(seal(nonsense))
