from dataclasses import replace

import numpy as np
import pytest

import methods
from benchmark.contracts import Preparation, Provenance, TextConfig, TextTowerSpec, TextWeights
from benchmark.habits import BANNER
from benchmark.identity import SPLIT
from benchmark.origin import Origin, folder_name, write_tables
from benchmark.recipe import Recipe
from benchmark.records import FitSpec, Found
from benchmark.tables import tables_of
from fakes import IDENTITY, LINEAR, A, B, make_cohort, record

RANDOM = replace(IDENTITY, text_tower=TextTowerSpec("random"))
TEXT = {"clip": methods.ROWS["clip"]}


ROWS = {"linear": LINEAR}


def notes(cohort=None, identity=IDENTITY, found=None, rows=ROWS, weights=None) -> list[str]:
    return Origin(cohort or make_cohort(), identity, "the rule", found or {}, rows, weights).notes()


def fits(*seeds: int, kind: str = "paper") -> Found:
    """Fold by fold so many trainings."""
    specs = [FitSpec("three", kind, fold, seed) for fold, count in enumerate(seeds) for seed in range(count)]
    return {spec: record(spec, [0], [[1.0, 0.0, 0.0]], kind=kind) for spec in specs}


def said(sentence: str, found: list[str]) -> bool:
    return any(sentence in note for note in found)


def test_the_first_note_is_what_the_voxels_are():
    assert notes()[0] == "Phantom: not CT."
    real = Origin(make_cohort(note="CT: crops."), replace(IDENTITY, source="idc"), "the rule", {}, ROWS)
    assert real.notes()[0] == "CT: crops." and real.warnings() == []


def test_a_sample_says_its_size_and_a_whole_cohort_does_not():
    sample = make_cohort(provenance=Provenance(25, "", None, 2651))
    sentence = "A sample of whole patients, spread evenly: 30 of 2,651 nodules. Its figures are noisier"
    assert said(sentence, notes(sample)) and not said("these numbers mean nothing", notes(sample))
    assert not said("A sample", notes()) and not said("noisier", notes())
    older = make_cohort(provenance=Provenance(25, "", None))  # prepared before the number was kept
    assert said("spread evenly: 30 nodules. Its", notes(older))


def test_a_sample_and_one_epoch_say_that_the_numbers_mean_nothing():
    one, sample = replace(IDENTITY, recipe=Recipe(epochs=1)), make_cohort(provenance=Provenance(25, "", None, 2651))
    assert said("for testing the machinery: these numbers mean nothing.", notes(sample, one))
    assert not said("mean nothing", notes(identity=one))


@pytest.mark.parametrize(("drawn_from", "is_said"), [(40, False), (35, True), (0, True)])
def test_a_sample_of_a_partial_download_says_that_too_and_one_of_a_whole_does_not(drawn_from, is_said):
    came = Preparation(40, 30, {}, {}, 0, "prepare.json")
    sample = make_cohort(provenance=Provenance(25, "", came, drawn_from))
    assert said("A partial cohort: 30 of the 40 nodules", notes(sample)) == is_said


def test_a_random_tower_is_named_where_a_row_reads_text_and_only_there():
    assert said(
        "Text tower: random weights. Rows that read text show what their losses do", notes(None, RANDOM, rows=TEXT)
    )
    assert not said("Text tower", notes(None, RANDOM))


def test_only_weights_whose_file_openai_published_are_called_openais():
    own, other = TextWeights("a" * 64, published=True), TextWeights("b" * 64, published=False)
    assert said("Text tower: OpenAI's CLIP ViT-B/16, frozen.", notes(rows=ROWS | TEXT, weights=own))
    named = f"unverified weights (hash {'b' * 12})"
    assert said(f"Text tower: {named}, frozen.", notes(rows=TEXT, weights=other))
    assert not said("OpenAI", notes(rows=TEXT, weights=other))
    origin = Origin(make_cohort(), IDENTITY, "", {}, TEXT, other)
    assert origin.tag() == f"phantom, preset quick, text tower: {named}"
    assert origin.columns()["text_tower"] == named
    assert replace(origin, text_weights=None).columns()["text_tower"] == "not read"


def test_another_tower_is_named_by_where_it_came_from_and_by_its_hash():
    weights = TextWeights("b" * 64, published=False, name="hf-hub:a/b")
    sentence = f"Text tower: hf-hub:a/b, unverified weights (hash {'b' * 12}), frozen."
    assert said(sentence, notes(rows=TEXT, weights=weights))
    assert not said("projection", notes(rows=TEXT, weights=weights))


def test_a_projection_between_texts_and_images_is_said_where_a_row_reads_text():
    sentence = (
        "The text tower's 64 features meet the encoder's 512 through a random projection (seed 3) that nothing trains."
    )
    tower = TextTowerSpec("random", width=64, seed=3)
    for identity in (
        replace(IDENTITY, text_tower=tower),
        replace(IDENTITY, text_tower=replace(tower, name="causal", width=9, config=TextConfig(64, "gelu", 4))),
    ):
        assert said(sentence, notes(None, identity, rows=TEXT)) and not said("projection", notes(None, identity))


@pytest.mark.parametrize(
    ("known", "sentence"), [(30, "The whole collection: 30 of the 30"), (40, "A partial cohort: 30")]
)
def test_a_download_says_how_much_of_the_collection_it_holds(known, sentence):
    came = Preparation(known, 30, {}, {}, 0, "prepare.json")
    assert said(sentence, notes(make_cohort(provenance=Provenance(None, "", came))))
    assert not said("collection:", notes())


def test_the_preset_the_encoder_and_the_epochs_are_named():
    one = replace(IDENTITY, recipe=Recipe(epochs=1))
    assert said("Preset quick: resnet18 with stages 64-128-256-512, 2 epochs, the last epoch tested", notes())
    assert said("1 epoch, the last", notes(identity=one))


def test_averaged_weights_are_told_and_others_not():
    averaged = replace(IDENTITY, recipe=replace(IDENTITY.recipe, ema=0.999))
    assert said("weights averaged over the training steps (decay 0.999 a step)", notes(identity=averaged))
    assert not said("averaged", notes())


def test_settings_changed_by_hand_are_named():
    changed = replace(IDENTITY, settings={"ce.x": 1, "clip.prompt": "a {}"})
    assert said("Changed by hand: ce.x = 1, clip.prompt = a {}.", notes(identity=changed))
    assert not said("Changed by hand", notes())


def test_nodules_patients_rule_and_cohort_are_named():
    assert said("30 nodules of 30 patients; label rule 'published': the rule; cohort abc.", notes())
    given = make_cohort(given_labels=np.zeros(30, dtype=np.int64), patient_ids=("p",) * 30)
    assert said("30 nodules of 1 patients; classes as the collection gives them; cohort abc.", notes(given))


def test_the_last_note_says_what_the_plus_minus_is():
    sentence = "Percent, mean ± sample standard deviation (ddof=1) over 5 patient-disjoint folds"
    for counts, of_seeds in (((1, 1), ""), ((3, 3), " of 3 seeds each"), ((1, 3), " of 1 to 3 seeds each"), ((), "")):
        assert notes(found=fits(*counts))[-1].startswith(f"{sentence}{of_seeds};")


def test_references_have_one_seed_which_is_not_counted():
    assert " of 3 seeds each;" in notes(found=fits(3, 3) | fits(1, 1, kind="reference"))[-1]


def test_the_tag_and_the_columns_are_the_same_in_short():
    origin = Origin(make_cohort(), RANDOM, "", {}, TEXT)
    assert origin.tag() == "phantom, preset quick, text tower: random weights"
    assert replace(origin, rows=ROWS).tag() == "phantom, preset quick"
    assert origin.columns() == {
        "source": "phantom",
        "preset": "quick",
        "text_tower": "random weights",
        "label_rule": "published",
        "cohort": "abc",
    }


def test_every_file_says_what_its_numbers_are(tmp_path):
    origin = Origin(make_cohort(), RANDOM, "", {}, TEXT)
    write_tables(tmp_path, tables_of([A, B], {"linear": LINEAR}, {}, 5), origin)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"table{n}.{kind}" for n in "12" for kind in ("md", "tex", "csv")
    }
    for kind in ("md", "tex"):
        assert "Phantom: not CT." in (tmp_path / f"table1.{kind}").read_text()
        assert "Text tower: random weights" in (tmp_path / f"table2.{kind}").read_text()


@pytest.mark.parametrize("value", ["a/b", "..", "x" * 200, "é ", ["a", "b"]])
def test_a_setting_never_leads_out_of_the_folder_of_runs(value):
    name = folder_name("quick", "phantom", "published", {"clip.prompt": value})
    assert "/" not in name and len(name) < 60 and name.startswith("quick-phantom-published-")
    assert name != folder_name("quick", "phantom", "published", {"clip.prompt": "other/"})


def test_a_run_whose_folds_ignore_patients_says_so_wherever_its_numbers_stand(tmp_path):
    identity = replace(IDENTITY, fold_assignment=f"{SPLIT}abc")
    assert notes(identity=identity)[0] == BANNER and not said("patient-disjoint", notes(identity=identity))
    spec = FitSpec("three", "linear", 0, 0)
    found = {spec: record(spec, [0, 2], [[1.0, 0, 0], [0, 0, 1]])}
    origin = Origin(make_cohort(), identity, "the rule", found, ROWS)
    assert origin.tag() == "phantom, preset quick, folds ignore patients"
    write_tables(tmp_path, tables_of([A], ROWS, found, 5), origin)
    told = "nodules of one patient stand in training and test"
    assert all(told in (tmp_path / f"table1.{form}").read_text() for form in ("md", "tex"))
    assert all(told in line for line in (tmp_path / "table1.csv").read_text().splitlines()[1:])
    assert not said("ignore patients", notes())
    assert "note" not in Origin(make_cohort(), IDENTITY, "", {}, ROWS).columns()
