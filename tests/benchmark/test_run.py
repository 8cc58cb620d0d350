import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.contracts import InputError, Provenance, TextWeights
from benchmark.files import sealed, sha256
from benchmark.recipe import Recipe
from benchmark.records import FitSpec, Unusable
from benchmark.run import Run
from benchmark.runfile import RunMetadata, differing, noted_hash
from fakes import IDENTITY, A, B, C, record

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
    for astray in ("fold0-seed0.json", "three/fold0-seed0.json"):
        (run.folder / "fits" / astray).write_text("{}")
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
    run.start("second command", METADATA, [A])
    with pytest.raises(InputError, match="does not say finished, so the run is half done; finish it with: second"):
        run.protocols()
    run.finish([A, B])
    assert Run.open(run.folder).protocols() == [A, B]
    run.start("third", METADATA)
    with pytest.raises(InputError, match="half done"):
        run.protocols()
    assert json.loads((run.folder / "run.json").read_text())["commands"] == ["first command", "second command", "third"]


def test_a_call_for_less_takes_no_protocol_away(run):
    run.start("all", METADATA, [B, C])
    assert run.with_earlier([]) == [B, C]
    run.start("less", METADATA, [A])  # and it may be stopped here
    assert run.with_earlier([A]) == [A, B, C]
    run.finish([A])
    assert run.protocols() == [A, B, C]
    run.finish([C])
    assert run.protocols() == [A, B, C]


OWN, OTHER = TextWeights("a" * 64, published=False), TextWeights("b" * 64, published=False)


def test_a_run_keeps_the_text_weights_that_it_began_with(run):
    run.start("without text", METADATA)
    assert run.text_weights() is None and run.text_weights(OWN) == OWN
    run.start("with text", METADATA, [A], OWN)
    run.start("without text again", METADATA)
    assert run.text_weights() == OWN == run.text_weights(OWN)
    before = (run.folder / "run.json").read_bytes()
    there, given = "a" * 12, "b" * 12
    sentence = rf"unverified weights \(hash {there}\), hash {there}, and those given have {given}; give the same file"
    for refused in (run.text_weights, lambda weights: run.start("other", METADATA, [A], weights)):
        with pytest.raises(InputError, match=sentence):
            refused(OTHER)
    assert (run.folder / "run.json").read_bytes() == before


def test_the_same_weights_from_a_published_file_are_published_whichever_came_first(run):
    published = replace(OWN, published=True)
    run.start("from the hub", METADATA, [A], OWN)
    assert run.text_weights(published) == published
    run.finish([A], published)  # nothing was missing, so that it did not start again
    assert Run.open(run.folder).text_weights() == published
    run.start("from openai", METADATA, [A], published)
    assert run.text_weights(OWN) == published


def test_the_same_weights_from_another_place_keep_the_name_that_the_run_began_with(run):
    run.start("from the hub", METADATA, [A], replace(OWN, name="hf-hub:a/b"))
    assert run.text_weights(replace(OWN, name="local-dir:b")).name == "hf-hub:a/b"


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
        ({"folds": 10}, r"with other folds \(5 there, 10 now\)"),
        ({"nodules": 31}, "with other nodules"),
        ({"collection": "mine"}, "another collection"),
        ({"source": "dicom"}, "another source"),
        ({"preset": "quick-epochs=10"}, r"another preset \(quick there, quick-epochs=10 now\)"),
        ({"settings": {"ce.x": 1}}, r"with other settings \(ce.x: None there, 1 now\)"),
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


def test_a_run_json_that_was_lost_is_made_anew_where_the_fits_are_of_the_same_run(run):
    run.write(one())
    run.path(replace(SPEC, fold=1)).write_bytes(b"damaged")  # which is made anew in any case
    assert Run(run.folder, IDENTITY).read(SPEC).labels.tolist() == [0, 1]
    with pytest.raises(InputError, match=r"holds fits of another run and no run\.json; give another folder"):
        Run(run.folder, replace(IDENTITY, folds=10))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"identity": {}, "commands": []}', pytest.param("\xff\xfe", id="no UTF-8")]
)
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


def test_only_hashes_are_cut_and_no_other_text():
    assert differing("smoke", "smoke-epochs=2-lr=0.5") == "smoke there, smoke-epochs=2-lr=0.5 now"
    assert differing("a" * 64, f"ignores patients {'b' * 64}").endswith(f" there, ignores patients {'b' * 12} now")


def test_a_part_of_a_run_that_cannot_be_read_is_named(run):
    run.write(one())
    run.path(SPEC).unlink()
    run.path(SPEC).mkdir()
    with pytest.raises(InputError, match=r"fold0-seed0\.json cannot be read \(Is a directory\): see to it"):
        run.read(SPEC)
    (run.folder / "run.json").mkdir()
    with pytest.raises(InputError, match=r"run\.json cannot be read \(Is a directory\): see to it"):
        Run(run.folder, IDENTITY)


def test_fits_that_cannot_be_listed_are_not_taken_for_none(run):
    assert run.specs() == []
    run.folder.mkdir(exist_ok=True)
    (run.folder / "fits").write_text("no folder")
    with pytest.raises(InputError, match=r"fits cannot be read \(Not a directory\): see to it, or move the run's"):
        run.specs()


def test_the_fits_of_the_folder_that_one_is_in_are_found_by_its_short_name(run, monkeypatch):
    run.write(one())
    monkeypatch.chdir(run.folder)
    assert Run(Path(), run.identity).specs() == run.specs() == [one().spec]


def test_fits_may_lie_behind_links(run, tmp_path):
    run.write(one())
    (run.folder / "fits" / "three").rename(tmp_path / "elsewhere")
    (run.folder / "fits" / "three").symlink_to(tmp_path / "elsewhere")
    assert run.specs() == [SPEC]


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("identity", {"folds": 0}),
        ("identity", {"folds": -5}),
        ("protocols", {"test_classes": [7]}),
        ("protocols", {"test_classes": []}),
        ("protocols", {"printed_classes": [1]}),
        ("protocols", {"decisions": []}),
    ],
)
def test_a_run_json_that_cannot_be_scored_is_damaged(run, part, change):
    run.start("command", METADATA, [B])
    run.finish([B])
    content = json.loads((run.folder / "run.json").read_text())
    (content[part][0] if part == "protocols" else content[part]).update(change)
    del content["sha256"]
    (run.folder / "run.json").write_bytes(sealed(json.dumps(content).encode()))
    with pytest.raises(InputError, match=r"run\.json is damaged, .*move it away, and the command that made the run"):
        Run.open(run.folder)


def test_an_edited_run_json_is_damaged(run):
    run.start("command", METADATA, [B])
    file = run.folder / "run.json"
    file.write_bytes(file.read_bytes().replace(b'"LIDC-B"', b'"LIDC-A"'))
    with pytest.raises(InputError, match=r"run\.json is damaged, .*its content does not match its own hash"):
        Run.open(run.folder)


def test_the_run_json_of_an_earlier_version_has_no_seal_and_is_read(run):
    run.start("command", METADATA, [B])
    content = json.loads((run.folder / "run.json").read_text())
    del content["sha256"], content["files"]
    (run.folder / "run.json").write_text(json.dumps(content))
    assert Run.open(run.folder).identity == IDENTITY
    (run.folder / "run.json").write_text(json.dumps(content | {"sha257": "0"}))
    with pytest.raises(InputError, match="it has a part 'sha257'"):
        Run.open(run.folder)


def test_a_kept_file_is_lacking_where_it_is_missing_or_damaged_or_run_json_is(run):
    assert run.lacks("cohort.csv")
    run.start("first", METADATA)
    run.keep("cohort.csv", b"nodule_id\n")
    run.start("second", METADATA)  # which forgets nothing
    assert not run.lacks("cohort.csv") and noted_hash(run.folder / "cohort.csv") == sha256(b"nodule_id\n")
    (run.folder / "cohort.csv").write_bytes(b"nodule_ib\n")
    assert run.lacks("cohort.csv")
    (run.folder / "cohort.csv").unlink()
    assert run.lacks("cohort.csv")
