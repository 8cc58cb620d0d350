"""From kept weights to figures: the right nodules, what is left out and why, and what the numbers are."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import methods
from benchmark import weights
from benchmark.commands import figures
from benchmark.commands.figures import main
from benchmark.contracts import InputError, Provenance
from benchmark.extras import Extras
from benchmark.figures import compose, folder
from benchmark.figures.draw import NO_OUTLINES
from benchmark.figures.gradcam import maps_of
from benchmark.identity import fit_key
from benchmark.recipe import PRESETS
from benchmark.records import FitSpec
from benchmark.run import Run
from benchmark.runfile import RunMetadata
from benchmark.runner import Setup, run_fit
from benchmark.voxels import to_images
from datasets import store
from fakes import IDENTITY, A, Opened, fold_data, make_cohort

CPU = torch.device("cpu")
PRESET = replace(PRESETS["smoke"], recipe=replace(PRESETS["smoke"].recipe, batch_size=7), folds=2)
KEYS = ("ce", "cocoop", "poisson", "mv_dar")
TEST = np.array([1, 4, 7, 8, 11, 12, 14])
TRAIN = np.setdiff1d(np.arange(21), TEST)


@pytest.fixture(scope="module")
def cohort():
    hu = np.random.default_rng(1).integers(-1000, 400, (21, 32, 32, 32)).astype(np.int16)
    made = make_cohort(21, volumes=hu, collection="Mine", source="folder-mine", note="My own CT.")
    return replace(made, content_hash=store.content_hash(made))


@pytest.fixture(scope="module")
def file(cohort, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cohorts") / "mine.npz"
    store.write(cohort, path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, cohort) -> Run:
    identity = replace(
        IDENTITY,
        cohort=cohort.content_hash,
        folds=2,
        encoder=PRESET.encoder,
        text_tower=PRESET.text_tower,
        recipe=PRESET.recipe,
    )
    made = Run(tmp_path_factory.mktemp("runs") / "run", identity)
    made.start("python run_all.py", RunMetadata({}, "cpu", "", Provenance(None, "", None)), [A])
    data = fold_data(
        cohort,
        open=Opened(cohort),
        train=TRAIN,
        test=TEST,
        train_labels=TRAIN % 3,
        test_labels=TEST % 3,
        test_ids=tuple(f"n{row}" for row in TEST),
    )
    for key in KEYS:
        setup = Setup(PRESET, CPU, fit_key(identity, methods.ROWS[key]), Extras(weights=key != "poisson"))
        assert run_fit(made, FitSpec("three", key, 0, 0), methods.ROWS[key], data, setup).status == "done"
    return made


@pytest.fixture(scope="module")
def looked(run, cohort) -> compose.Looked:
    row = methods.ROWS["ce"]
    return compose.look(run, row, compose.fit_of(run, row, "three", 0), cohort, PRESET.text_tower)


@pytest.fixture
def call(run, file, capsys):
    def called(*arguments: object, cohort: Path | None = file) -> tuple[int, str, str]:
        given = ["--cohort", cohort] if cohort else []
        capsys.readouterr()
        status = main([str(run.folder), *map(str, [*given, *arguments])])
        return status, *capsys.readouterr()

    return called


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Draw nothing: a test of numbers need not wait for it."""
    monkeypatch.setattr(compose, "_file", lambda name, drawn: (name, b""))


def shares(run: Run) -> tuple[list[folder.Line], str]:
    return folder.parse((run.folder / "figures" / "shares.csv").read_bytes())


def test_a_fits_own_test_nodules_are_looked_at(run, cohort, looked, monkeypatch):
    asked = []
    monkeypatch.setattr(compose, "_AT_ONCE", 3)
    monkeypatch.setattr(compose, "maps_of", lambda *given: (asked.append(given[1].shape[1:]), maps_of(*given))[1])
    again = compose.look(run, methods.ROWS["ce"], looked.fit, cohort, PRESET.text_tower)
    assert asked == [(1, 32, 32)] * 3  # the slice that the encoder reads
    kept = weights.read(run, looked.fit)
    assert kept.about.task.image_shape == (32, 32, 32)
    method = kept.into(methods.ROWS["ce"].build(kept.about.task))
    images = to_images(torch.from_numpy(cohort.volumes[TEST]), PRESET.recipe.window_hu)
    for one in (looked, again):
        torch.testing.assert_close(one.maps, maps_of(method, images))
    np.testing.assert_allclose(looked.features, method.encoder.pooled(images).detach(), atol=1e-6)


def test_shares_of_outlines_that_are_everywhere_and_over_the_right_half(looked, cohort, undrawn):
    everywhere = [np.ones((32, 32, 32), dtype=bool)] * len(TEST)
    _, lines = compose.compose([looked], cohort, everywhere, "note")
    value = {line.share: line.value for line in lines}
    assert value["inside"] == pytest.approx(1) and value["area"] == 1 and value["gain"] == pytest.approx(0)
    half = np.zeros((32, 32, 32), dtype=bool)
    half[..., 16:] = True
    _, lines = compose.compose([looked], cohort, [half] * len(TEST), "note")
    value = {line.share: line.value for line in lines}
    large = torch.nn.functional.interpolate(looked.maps[:, None].double(), (32, 32), mode="bilinear")[:, 0]
    inside = (large[..., 16:].sum((1, 2)) / large.sum((1, 2))).nanmean()
    assert value["area"] == 0.5 and value["inside"] == pytest.approx(float(inside))
    assert {line.weights for line in lines} == {looked.fit.metadata.weights} != {""}


def test_only_the_slices_that_the_encoder_sees_make_the_outline(looked, cohort, undrawn):
    end = np.zeros((32, 32, 32), dtype=bool)
    end[0] = True  # beyond the central slice
    of_one = replace(looked, task=replace(looked.task, encoder=replace(looked.task.encoder, slices=1)))
    _, lines = compose.compose([of_one], cohort, [end] * len(TEST), "note")
    assert [line.share for line in lines] == ["alike", "alike_by_chance"]


def test_what_would_be_a_large_svg_is_a_png(looked, cohort, monkeypatch):
    monkeypatch.setattr(compose, "LARGEST_SVG", 30_000)
    files, _ = compose.compose([looked], cohort, None, "note")
    assert list(files) == ["tsne.svg", "attention.png", "shares.svg"]
    assert files["attention.png"].startswith(b"\x89PNG") and files["shares.svg"].startswith(b"<?xml")


def test_rows_of_one_title_are_told_apart_by_their_keys(looked, cohort, undrawn):
    other = replace(looked, fit=replace(looked.fit, spec=replace(looked.fit.spec, method="mine")))
    _, lines = compose.compose([looked, other], cohort, None, "note")
    assert [line.title for line in lines if line.share == "alike"] == ["CE Loss (ce)", "CE Loss (mine)"]


def test_fits_that_were_tested_on_other_nodules_are_not_set_beside_each_other(looked, cohort):
    other = replace(looked, title="Other", fit=replace(looked.fit, data="other"))
    with pytest.raises(InputError, match="Other and CE Loss were tested on other nodules"):
        compose.compose([looked, other], cohort, None, "note")


def test_the_command_draws_what_it_can_and_names_what_it_cannot(run, call):
    (run.folder / "figures").mkdir(exist_ok=True)
    (run.folder / "figures" / "tsne.png").write_bytes(b"of an earlier call")
    status, out, err = call("--methods", "ce", "cocoop", "poisson", "mv_dar")
    said = " ".join(err.split())
    assert status == 0 and "report" in out
    assert "Left out: " in said and "did not keep the weights of poisson" in said and "--keep-weights" in said
    assert "mv_dar cannot be looked into" in said and "no single image encoder" in said
    there = {path.name for path in (run.folder / "figures").iterdir()}
    assert there == {"tsne.svg", "attention.svg", "shares.svg", "shares.csv"}
    lines, note = shares(run)
    assert [(line.method, line.share) for line in lines] == [
        (key, share) for key in ("ce", "cocoop") for share in ("alike", "alike_by_chance")
    ]
    assert "My own CT." in note and "random weights" in note and "the 7 nodules of fold 0" in note
    assert NO_OUTLINES[:30] in (run.folder / "figures" / "attention.svg").read_text()
    assert "Other code" not in note + said


def test_the_same_call_leaves_the_same_bytes_and_says_where_other_code_made_the_fits(run, call, monkeypatch):
    def made() -> dict[str, bytes]:
        assert call("--methods", "ce")[0] == 0
        return {path.name: path.read_bytes() for path in (run.folder / "figures").iterdir()}

    before = made()
    assert made() == before and "random" not in shares(run)[1]  # ce reads no text
    monkeypatch.setattr(figures, "fit_key", lambda *_, **__: "another")
    monkeypatch.setattr(compose, "_file", lambda name, drawn: (f"{name}.svg", b""))
    assert made() != before and "Other code than this checkout's" in shares(run)[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--methods", "poisson"], "make the run anew in another --out with --keep-weights; or name other rows with"),
        ([], "has no fit of clip, cocoop, clip_lung"),
        (["--methods", "ce", "--fold", "1"], "no finished fit of ce on fold 1 with seed 0: give another --fold"),
        (["--methods", "cee"], "there is no method 'cee'"),
        (["--fold", "-1"], "argument --fold"),
    ],
)
def test_bad_input_is_one_sentence(call, arguments, sentence, monkeypatch):
    if not arguments:
        monkeypatch.setattr(Run, "specs", lambda _: [FitSpec("three", "ce", 0, 0)])
    status, _, err = call(*arguments)
    assert status == 2 and sentence in err and "Traceback" not in err and len(err.splitlines()) == 1


def test_without_its_own_cohort_nothing_is_drawn(call, cohort, tmp_path, monkeypatch):
    monkeypatch.setenv("LUNG_NODULE_BENCHMARK_WORK", str(tmp_path))
    status, _, err = call("--methods", "ce", cohort=None)
    assert status == 2 and "is not in" in err and "--cohort FILE" in err
    other = replace(cohort, note="Another.")
    store.write(replace(other, content_hash=store.content_hash(other)), tmp_path / "other.npz")
    status, _, err = call("--methods", "ce", cohort=tmp_path / "other.npz")
    assert status == 2 and "and the run was made on" in err
    (tmp_path / "cohorts").mkdir()
    (tmp_path / "cohorts" / "a.npz").write_bytes(b"no cohort")
    store.write(cohort, tmp_path / "cohorts" / "b.npz")
    assert call("--methods", "ce", cohort=None)[0] == 0


def test_outlines_are_asked_for_lidc_idri_alone_in_the_order_of_the_nodules(cohort, monkeypatch):
    asked = []
    monkeypatch.setattr(
        figures, "outlines", lambda ids: (asked.append(ids), iter([np.ones((32, 32, 32), bool)] * 2))[1]
    )
    err = Console(file=io.StringIO())
    lidc = replace(cohort, collection="LIDC", source="dicom")
    assert len(list(figures.outlines_of(lidc, ["b", "a"], err))) == 2 and asked == [["b", "a"]]
    assert figures.outlines_of(cohort, ["b"], err) is None
    assert figures.outlines_of(replace(lidc, collection="Mine"), ["b"], err) is None
