"""What a run's comparison with accepted numbers says, sentence by sentence, on golden and run built by hand."""

import datetime
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmark.check.golden import Golden
from benchmark.check.measured import MEAN, Measured
from benchmark.check.regression import Comparison
from benchmark.check.verdict import Verdict, judge
from benchmark.contracts import InputError, Protocol
from benchmark.scores import Score, ScoreKey, sections_of
from fakes import IDENTITY, A, B, C

OWN = Protocol("own", "Own", "own", ("small", "large"), (0, 1), (0, 1))  # its section stands behind "mean" by name
SECTIONS = {section.key: section for section in sections_of([A, B, C, OWN])}
SCORE = Score(np.full(5, 0.5), tuple(range(5)))
DIGEST, OTHER_DIGEST = "0123456789abcdef" * 4, "f123456789abcdef" * 4


def afresh(content: Any) -> Any:
    """Return an equal value, of which nothing is the same object: as a file gives it."""
    return json.loads(json.dumps(content))


def scores(keys: Iterable[tuple[str, str, str]], score: Score = SCORE) -> dict[ScoreKey, Score]:
    return {ScoreKey(*afresh(key)): score for key in keys}


def accepted(cells: Mapping[ScoreKey, Score], tests: Mapping[str, str] | None = None, **identity: Any) -> Golden:
    return Golden(
        path=Path("golden.toml"),
        reason="the first",
        accepted=datetime.date(2025, 1, 1),
        identity=afresh(IDENTITY.plain()) | identity,
        versions={},
        tests=tests or {},
        cells=cells,
    )


def measured(cells: Mapping[ScoreKey, Score], **changes: Any) -> Measured:
    run = Measured(
        folder=Path("run"),
        identity=IDENTITY,
        versions={},
        sections=SECTIONS,
        cells=cells,
        nodules=dict.fromkeys(cells, 40.0),
        shares={},
        references=frozenset(),
        tests={},
        failed={},
        keys={},
        weights="",
    )
    return replace(run, **changes)


ONE = [("ce", "A-open", "accuracy")]


def refusal(golden: Golden, run: Measured) -> str:
    with pytest.raises(InputError) as caught:
        judge(golden, run)
    return str(caught.value)


def test_a_run_that_is_as_accepted_passes_with_nothing_to_say():
    verdict = judge(accepted(scores(ONE)), measured(scores(ONE)))
    assert verdict.passes and verdict.faults == verdict.absent == verdict.new == verdict.regressions == []
    assert [(c.key, c.golden, c.run) for c in verdict.comparisons] == [(("ce", "A-open", "accuracy"), 0.5, 0.5)]


OUTSIDE = Comparison(ScoreKey("ce", "A-open", "accuracy"), golden=0.5, run=0.25, allowed=0.125)
WITHIN = replace(OUTSIDE, run=0.375)


@pytest.mark.parametrize(
    ("comparisons", "faults", "passes"),
    [
        ([WITHIN], [], True),
        ([], [], True),
        ([WITHIN, OUTSIDE], [], False),
        ([WITHIN], ["row ce is missing on A-open"], False),
        ([OUTSIDE], ["row ce is missing on A-open"], False),
    ],
)
def test_a_run_passes_without_regressions_and_without_faults_only(comparisons, faults, passes):
    assert Verdict(comparisons, faults, absent=["row udm"], new=["row mine"]).passes is passes


def test_the_regressions_are_the_scores_outside_their_bound():
    assert Verdict([WITHIN, OUTSIDE, WITHIN], [], [], []).regressions == [OUTSIDE]


def test_a_verdict_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Verdict([], [], [], []).faults = ["another"]


def test_a_row_that_fell_in_all_folds_is_a_regression():
    lower = replace(SCORE, folds=SCORE.folds - 0.4)
    verdict = judge(accepted(scores(ONE)), measured(scores(ONE, lower)))
    (one,) = verdict.regressions
    assert one.difference == pytest.approx(-0.4) and not verdict.passes and not verdict.faults


def test_a_score_is_judged_by_its_own_nodules_and_a_reference_as_one():
    cells = scores([("ce", "A-open", "accuracy"), ("majority", "A-open", "accuracy")])
    run = measured(cells, nodules=dict(zip(cells, (100.0, 400.0), strict=True)), references=frozenset({"majority"}))
    method, reference = judge(accepted(cells), run).comparisons
    quantile = stats.norm.isf(0.01 / 2 / 2)  # two scores of one family, two sides
    assert method.allowed == pytest.approx(quantile * math.sqrt(0.1 / 100 / 5))
    assert reference.allowed == pytest.approx(quantile * math.sqrt(0.02 / 400 / 5))


SENTENCE = (
    "cannot compare run with golden.toml: other {} ({}); run the preset as it stands, "
    "or accept this run with --accept REASON"
)


@pytest.mark.parametrize(
    ("identity", "what", "how"),
    [
        ({"folds": 2}, "folds", "2 accepted, 5 here"),
        ({"folds": 10}, "folds", "10 accepted, 5 here"),
        ({"settings": {"udm.alpha": 0.5}}, "settings", "udm.alpha 0.5 accepted, None here"),
        ({"folds": {"a": 1}}, "folds", "{'a': 1} accepted, 5 here"),
        ({"settings": 3}, "settings", "3 accepted, {} here"),
        ({"folds": 2, "settings": {"udm.alpha": 0.5}}, "folds", "2 accepted, 5 here"),
    ],
)
def test_a_run_of_other_settings_cannot_be_compared(identity, what, how):
    assert refusal(accepted(scores(ONE), **identity), measured(scores(ONE))) == SENTENCE.format(what, how)


def test_numbers_accepted_before_weights_could_be_averaged_are_those_of_a_run_without():
    recipe = afresh(IDENTITY.plain()["recipe"])
    assert recipe.pop("ema") == 0.0
    assert judge(accepted(scores(ONE), recipe=recipe), measured(scores(ONE))).passes
    averaging = replace(IDENTITY, recipe=replace(IDENTITY.recipe, ema=0.5))
    said = refusal(accepted(scores(ONE), recipe=recipe), measured(scores(ONE), identity=averaging))
    assert said.startswith("cannot compare run with golden.toml: another recipe (ema 0.0 accepted, 0.5 here)")


def test_of_a_recipe_only_the_parts_that_differ_are_named():
    recipe = afresh(IDENTITY.plain()["recipe"]) | {"epochs": 1, "lr": 0.75}  # the run's: 2 and 0.05
    del recipe["batch_size"]
    said = refusal(accepted(scores(ONE), recipe=recipe), measured(scores(ONE)))
    inside = said[said.index("(") + 1 : said.index(")")]
    assert said.startswith("cannot compare run with golden.toml: another recipe (")
    assert sorted(inside.split(", ")) == sorted(
        ["epochs 1 accepted", "2 here", "lr 0.75 accepted", "0.05 here", "batch_size None accepted", "8 here"]
    )


@pytest.mark.parametrize(("key", "what"), [("text_tower", "text tower"), ("encoder", "encoder")])
def test_another_encoder_or_text_tower_is_named_in_words(key, what):
    said = refusal(accepted(scores(ONE), **{key: {}}), measured(scores(ONE)))
    assert said.startswith(f"cannot compare run with golden.toml: another {what} (") and " None accepted, " in said


def test_settings_that_the_run_adds_are_named():
    run = measured(scores(ONE), identity=replace(IDENTITY, settings={"udm.alpha": 0.5}))
    assert refusal(accepted(scores(ONE)), run) == SENTENCE.format("settings", "udm.alpha None accepted, 0.5 here")


def test_accepted_numbers_that_lack_an_identity_key_cannot_be_compared():
    golden = accepted(scores(ONE))
    lacking = replace(golden, identity={key: value for key, value in golden.identity.items() if key != "folds"})
    assert refusal(lacking, measured(scores(ONE))) == SENTENCE.format("folds", "None accepted, 5 here")


def test_an_accepted_score_that_is_not_compared_is_named_with_its_reason():
    others = [("ce", "A-open", "f1"), ("ce", "A-open", "auc_ovr"), ("ce", "mean", "accuracy")]
    not_asked_for = ("ce", "C-open", "f1")  # which is of no account, and ends nothing
    golden = accepted(scores([*ONE, not_asked_for, *others]))
    undefined = scores([("ce", "A-open", "f1")], replace(SCORE, folds=np.full(5, np.nan)))
    here = {key: section for key, section in SECTIONS.items() if key != "C-open"}
    verdict = judge(golden, measured(scores(ONE) | undefined, sections=here))
    assert verdict.passes and verdict.left == {
        "undefined in every fold, here or there": ["ce A-open f1"],
        "this run has no such score": ["ce A-open auc_ovr"],
        "a mean over label sets, which this run lacks": ["ce mean accuracy"],
    }


@pytest.mark.parametrize(
    ("ours", "sentence"),
    [
        ({"cohort": DIGEST}, "another cohort: abc accepted, 0123456789ab here"),
        ({"cohort": "zz"}, "another cohort: abc accepted, zz here"),
        ({"cohort": "zz", "nodules": 31}, "another cohort: abc accepted, zz here"),
        ({"cohort": "zz", "fold_assignment": "x"}, "another cohort: abc accepted, zz here"),
        ({"fold_assignment": OTHER_DIGEST}, "another assignment of nodules to folds: def accepted, f123456789ab here"),
        ({"fold_assignment": "aa"}, "another assignment of nodules to folds: def accepted, aa here"),
    ],
)
def test_another_cohort_or_assignment_is_the_one_fault_and_nothing_is_compared(ours, sentence):
    cells = scores([("new", "A-open", "accuracy"), *ONE])
    verdict = judge(accepted(scores(ONE)), measured(cells, identity=replace(IDENTITY, **ours)))
    assert verdict == Verdict([], [sentence], [], []) and not verdict.passes


def test_a_long_accepted_digest_is_named_by_its_beginning():
    verdict = judge(accepted(scores(ONE), cohort=DIGEST), measured(scores(ONE)))
    assert verdict.faults == ["another cohort: 0123456789ab accepted, abc here"]


def test_what_is_neither_chosen_nor_given_does_not_matter():
    assert judge(accepted(scores(ONE), collection="other"), measured(scores(ONE))).passes


def test_new_rows_are_named_in_order_once_and_are_no_fault():
    new = [(row, section, "accuracy") for row in ("zebra", "ant") for section in ("A-open", "B-open")]
    verdict = judge(accepted(scores(ONE)), measured(scores([*new, *ONE])))
    assert (
        verdict.new == ["rows ant, zebra", "section B-open"]
        and verdict.absent == []
        and verdict.passes
        and len(verdict.comparisons) == 1
    )


def test_a_row_that_the_run_does_not_have_is_absent_and_no_fault():
    golden = [("udm", "A-open", "accuracy"), ("udm", "A-open", "macro_f1"), ("ant", "C-open", "accuracy"), *ONE]
    verdict = judge(accepted(scores(golden)), measured(scores(ONE)))
    assert verdict.absent == ["rows ant, udm"] and verdict.new == [] and verdict.faults == [] and verdict.passes
    assert [comparison.key for comparison in verdict.comparisons] == ONE


def test_a_dataset_that_the_run_does_not_have_is_absent_and_no_fault():
    golden = [("ce", section, "accuracy") for section in ("C-open", MEAN, "B-restricted", "A-open")]
    run = measured(scores(ONE), sections={"A-open": SECTIONS["A-open"]})
    verdict = judge(accepted(scores(golden)), run)
    assert verdict.absent == ["sections B-restricted, C-open"] and verdict.faults == [] and verdict.passes


def test_a_row_that_failed_is_not_absent():
    golden = accepted(scores([*ONE, ("udm", "A-open", "accuracy")]))
    verdict = judge(golden, measured(scores(ONE), failed={("udm", "three"): "failed: the loss is nan"}))
    assert verdict.absent == [] and verdict.faults == ["row udm is missing on A-open (failed: the loss is nan)"]


def test_of_a_complete_run_what_is_absent_is_a_fault_behind_the_others():
    verdict = Verdict([WITHIN], ["first"], ["row udm", "sections B-open, C-open"], ["row mine"]).of_a_complete_run()
    assert verdict.faults == ["first", "not in this run: row udm", "not in this run: sections B-open, C-open"]
    assert (verdict.comparisons, verdict.absent, verdict.new) == ([WITHIN], [], ["row mine"])
    assert Verdict([WITHIN], [], [], []).of_a_complete_run().passes


NOTHING_SHARED = (
    "cannot compare run with golden.toml: they have no score in common; "
    "run rows and datasets that were accepted, or accept this run with --accept REASON"
)


@pytest.mark.parametrize("other", [[("udm", "A-open", "accuracy")], [("ce", "C-open", "accuracy")], []])
def test_where_no_score_is_shared_nothing_is_judged(other):
    sections = {"A-open": SECTIONS["A-open"]}
    assert refusal(accepted(scores(other)), measured(scores(ONE), sections=sections)) == NOTHING_SHARED


def test_where_all_failed_there_is_a_fault_and_no_refusal():
    run = measured({}, failed={("ce", "three"): "failed: the loss is nan"})
    assert judge(accepted(scores(ONE)), run).faults == ["row ce is missing on A-open (failed: the loss is nan)"]


def test_a_row_is_missing_on_the_sections_that_it_lacks_alone_whatever_others_have():
    around = [(row, s, "accuracy") for row in ("ant", "zebra") for s in ("A-open", "B-open", "C-open", "own-open")]
    kept = [*around, ("ce", "A-open", "accuracy"), ("ce", "C-open", "accuracy")]
    golden = [*kept, ("ce", "B-open", "accuracy"), ("ce", "own-open", "accuracy")]
    assert judge(accepted(scores(golden)), measured(scores(kept))).faults == ["row ce is missing on B-open, own-open"]


def test_each_row_that_lacks_a_section_has_its_own_sentence():
    kept = [(row, "C-open", "accuracy") for row in ("udm", "ant")]
    golden = [*kept, *((row, "A-open", metric) for row in ("udm", "ant") for metric in ("accuracy", "macro_f1"))]
    faults = judge(accepted(scores(golden)), measured(scores(kept))).faults
    assert faults == ["row udm is missing on A-open", "row ant is missing on A-open"]


def test_a_mean_that_is_gone_is_no_fault_of_its_own():
    golden = accepted(scores([*ONE, ("ce", MEAN, "accuracy")]))
    assert judge(golden, measured(scores(ONE))).passes


def test_one_metric_that_is_gone_is_no_missing_section():
    golden = accepted(scores([*ONE, ("ce", "A-open", "macro_f1")]))
    assert judge(golden, measured(scores(ONE))).faults == []


def test_a_missing_row_says_why_it_failed_on_those_label_sets_and_no_other_row():
    golden = scores([("ce", "A-open", "accuracy"), ("ce", "B-open", "accuracy")])
    failed = {
        ("ant", "three"): "failed: an ant",
        ("ce", "three"): "failed: the loss is nan",
        ("ce", "two"): "failed: elsewhere",
        ("zebra", "three"): "failed: a zebra",
    }
    run = measured({}, failed={(afresh(row), label_set): why for (row, label_set), why in failed.items()})
    assert judge(accepted(golden), run).faults == ["row ce is missing on A-open, B-open (failed: the loss is nan)"]


def test_a_row_missing_on_two_label_sets_says_both_reasons():
    golden = scores([("ce", "A-open", "accuracy"), ("ce", "C-open", "accuracy")])
    failed = {("ce", "three"): "failed: the loss is nan", ("ce", "two"): "unsupported: two classes"}
    assert judge(accepted(golden), measured({}, failed=failed)).faults == [
        "row ce is missing on A-open, C-open (failed: the loss is nan) (unsupported: two classes)"
    ]


@pytest.mark.parametrize(("theirs", "ours"), [(DIGEST, OTHER_DIGEST), (OTHER_DIGEST, DIGEST)])
def test_a_row_tested_on_other_nodules_is_a_fault_by_name(theirs, ours):
    golden = accepted(scores(ONE), tests={"three": theirs, "two": DIGEST})
    tests = {("ant", "three"): afresh(theirs), ("ce", "three"): ours, ("ce", "two"): afresh(DIGEST)}
    verdict = judge(golden, measured(scores(ONE), tests=tests))
    assert verdict.faults == ["row ce was tested on other nodules or labels than accepted on label set three"]
    assert not verdict.passes


def test_a_label_set_that_nobody_accepted_has_no_wrong_nodules():
    assert judge(accepted(scores(ONE)), measured(scores(ONE), tests={("ce", "three"): DIGEST})).passes


def test_missing_rows_are_told_before_other_nodules():
    golden = accepted(scores([*ONE, ("ce", "B-open", "accuracy")]), tests={"three": DIGEST})
    run = measured(scores(ONE), tests={("ce", "three"): OTHER_DIGEST})
    first, second = judge(golden, run).faults
    assert first == "row ce is missing on B-open" and second.startswith("row ce was tested on other nodules")


def test_the_text_towers_weights_are_compared_where_both_have_them():
    cells = scores(ONE)
    own = accepted(cells, text_tower=IDENTITY.plain("a" * 64)["text_tower"])
    assert judge(own, measured(cells, weights="a" * 64)).passes
    assert judge(own, measured(cells)).passes  # a run without a row that reads text
    assert judge(accepted(cells), measured(cells, weights="a" * 64)).passes
    sentence = refusal(own, measured(cells, weights="b" * 64))
    assert "another text tower (weights aaaaaaaaaaaa" in sentence and "bbbbbbbbbbbb" in sentence
