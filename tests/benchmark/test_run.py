import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.contracts import InputError, Provenance
from benchmark.recipe import Recipe
from benchmark.records import FitSpec, Unusable
from benchmark.run import Run, RunMetadata, differing
from fakes import IDENTITY, A, B, record

SPEC = FitSpec("three", "linear", 0, 0)
METADATA = RunMetadata({"torch": "2.9"}, "cpu", "abc", Provenance(None, "f", None))


def one(spec: FitSpec = SPEC, **changes: object):
    return record(spec, [0, 1], [[0.5, 0.25, 0.25]] * 2, **changes)


def test_a_record_is_found_where_it_was_put(run):
    assert run.read(SPEC) is None
    run.write(one())
    assert run.read(SPEC).labels.tolist() == [0, 1]
    assert run.path(SPEC) == run.folder / "fits" / "three" / "linear" / "fold0-seed0.json"


def test_every_fit_with_a_record_is_listed_and_nothing_else(run):
    specs = [FitSpec("three", "ce", 0, 0), FitSpec("three", "ce", 10, 2), FitSpec("two", "udm", 1, 0)]
    for spec in specs:
        run.write(one(spec))
    (run.folder / "fits" / "three" / "ce" / "notes.json").write_text("{}")
    (run.folder / "fits" / "three" / "ce" / ".fold0-seed1.json.tmp").write_text("{}")
    assert sorted(run.specs(), key=str) == sorted(specs, key=str)


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"spec": FitSpec("three", "linear", 1, 0)}, None, "of another run or fit"),
        ({"identity": replace(IDENTITY, cohort="xyz")}, None, "of another run or fit"),
        ({"key": "old"}, "key", "made by other code or settings of its row"),
        ({"data": "old"}, "key", "made from other nodules or labels"),
    ],
)
def test_a_record_of_something_else_cannot_be_used(run, changes, key, reason):
    run.write(one())
    run.path(SPEC).write_bytes(one(**changes).to_bytes())
    with pytest.raises(Unusable, match=reason):
        run.read(SPEC, key, key and "data")


def test_a_record_of_the_wanted_key_and_of_any_key_is_read(run):
    run.write(one())
    assert run.read(SPEC, "key").key == run.read(SPEC).key == "key"


def test_a_record_set_aside_is_kept_under_a_name_of_its_own(run):
    run.write(one())
    run.path(SPEC).write_bytes(b"damaged")
    kept = run.set_aside(SPEC)
    assert kept.parent == run.folder / "aside" and kept.name.startswith("three-linear-fold0-seed0-")
    assert kept.read_bytes() == b"damaged" and run.read(SPEC) is None
    run.path(SPEC).write_bytes(b"again damaged")
    assert run.set_aside(SPEC) != kept and len(list(kept.parent.iterdir())) == 2


def test_a_run_is_unfinished_from_start_to_finish(run):
    run.start("first command", METADATA)
    run.start("second command", METADATA)
    with pytest.raises(InputError, match="key protocols: missing, so the run is half done; finish it with: second"):
        run.protocols()
    run.finish([A, B])
    assert Run.open(run.folder).protocols() == [A, B]
    run.start("third", METADATA)
    with pytest.raises(InputError, match="half done"):
        run.protocols()
    assert json.loads((run.folder / "run.json").read_text())["commands"] == ["first command", "second command", "third"]


def test_a_run_says_what_was_true_at_its_last_start(run):
    run.start("first", METADATA)
    run.start("second", replace(METADATA, device="cuda"))
    assert run.metadata().device == "cuda"


def test_a_folder_opens_with_the_identity_that_it_holds(run):
    run.start("command", METADATA)
    assert Run.open(run.folder).identity == IDENTITY


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cohort": "xyz"}, r"another cohort: the nodules, .* known of them \(abc there, xyz now\)"),
        ({"label_rule": "text"}, r"another label rule \(published there, text now\)"),
        ({"fold_assignment": "ghi"}, "another fold assignment"),
        ({"folds": 10}, r"another folds \(5 there, 10 now\)"),
        ({"nodules": 31}, "another nodules"),
        ({"collection": "mine"}, "another collection"),
        ({"source": "dicom"}, "another source"),
        ({"preset": "paper"}, "another preset"),
        ({"settings": {"ce.x": 1}}, r"another settings \(ce.x: None there, 1 now\)"),
        (
            {"recipe": Recipe(epochs=3, batch_size=8, lr=0.05)},
            r"another recipe \(epochs: 2 there, 3 now\)",
        ),
        ({"encoder": replace(IDENTITY.encoder, stem="deep")}, r"another encoder \(stem: 3x3 there, deep now\)"),
        ({"text_tower": replace(IDENTITY.text_tower, seed=1)}, r"another text tower \(seed: 0 there, 1 now\)"),
    ],
)
def test_results_of_two_identities_never_mix(run, change, sentence):
    run.start("command", METADATA)
    before = (run.folder / "run.json").read_bytes()
    with pytest.raises(InputError, match=sentence + ".*give another folder with --out"):
        Run(run.folder, replace(IDENTITY, **change))
    assert (run.folder / "run.json").read_bytes() == before


def test_a_folder_with_fits_and_without_run_json_is_refused(run):
    run.write(one())
    with pytest.raises(InputError, match=r"holds fits but no run\.json; give another folder with --out"):
        Run(run.folder, IDENTITY)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"identity": {}, "commands": []}', "\xff\xfe"])
def test_a_damaged_run_json_is_refused_by_name(tmp_path, text):
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    for open_it in (Run.open, lambda folder: Run(folder, IDENTITY)):
        with pytest.raises(InputError, match=r"run\.json is damaged, or of another version"):
            open_it(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no run\.json; give the folder of a run"):
        Run.open(Path(tmp_path))


def test_only_the_parts_that_differ_are_named():
    assert differing({"a": 1, "b": 2}, {"a": 1, "c": 3}) == "b: 2 there, None now, c: None there, 3 now"
    assert differing(1, 2) == "1 there, 2 now"
    assert differing("a" * 64, "b" * 64) == f"{'a' * 12} there, {'b' * 12} now"
