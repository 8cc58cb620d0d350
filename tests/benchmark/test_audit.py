"""The audit of the paper, and the command."""

import json
import time
from pathlib import Path

import pytest

from benchmark.audit.__main__ import main
from benchmark.audit.paper import audit
from benchmark.audit.report import as_data, markdown
from benchmark.published import load

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results" / "published"

SMALL = """\
[paper]
title = "A study"
authors = "Doe"
venue = "Journal 2020"
nodules = 400
folds = 1
[protocols.C]
title = "Two classes"
classes = ["benign", "malignant"]
[methods]
one = "One"
two = "Two"
three = "Three"
[[tables]]
place = "Table 4"
decimals = 1
columns = ["C.accuracy", "C.recall_benign", "C.f1_benign", "C.recall_malignant", "C.f1_malignant"]
[tables.rows]
one   = [85.5, 91.5, 89.7, 72.3, 75.6]
two   = [84.0, 87.9, 88.3, 75.2, 74.5]
three = [84.9, 91.0, 89.2, 71.3, 74.6]
"""


@pytest.fixture(scope="module")
def paper():
    """The audit of the paper, within a minute of one core."""
    start = time.process_time()
    result = audit(load(PUBLISHED / "clip_lung_2023.toml"))
    assert time.process_time() - start < 60
    return result


def rows(audited, test_set):
    return {(v.protocol, v.method) for v in audited.verdicts if (v.fit.test_set if v.fit else None) == test_set}


def cross(**protocols):
    return {(protocol, method) for protocol, methods in protocols.items() for method in methods.split()}


def test_finds_the_test_sets_of_the_paper_and_who_was_scored_on_which(paper):
    assert [dict(zip(found.classes, found.sizes, strict=True)) for found in paper.test_sets] == [
        {"benign": 223, "unsure": 200, "malignant": 101},
        {"benign": 200, "unsure": 178, "malignant": 87},
    ]
    assert rows(paper, 1) == cross(A="ce poisson nsb udm", B="ce poisson nsb udm", C="ce poisson nsb udm corf")
    assert rows(paper, 2) == cross(A="clip clip_lung", B="clip cocoop", C="cocoop")
    assert rows(paper, None) == cross(A="corf cocoop", B="corf clip_lung", C="clip clip_lung")


def test_says_which_changes_would_mend_the_rows_that_fit_nothing(paper):
    mends = {
        (v.protocol, v.method): (v.misfits[0].test_set, v.misfits[0].mend.changes)
        for v in paper.verdicts
        if v.misfits and v.misfits[0].mend and v.misfits[0].mend.size[0] == 1
    }
    assert mends == {
        ("A", "cocoop"): (2, ((4, 592, 591),)),
        ("B", "clip_lung"): (2, ((2, 723, 713),)),
        ("C", "clip"): (2, ((3, 910, 911),)),
        ("C", "clip_lung"): (2, ((0, 895, 899),)),
    }
    mended = next(v.misfits[0] for v in paper.verdicts if (v.protocol, v.method) == ("B", "clip_lung"))
    assert mended.outside is not None and mended.outside[0] > 0
    cut = {(v.protocol, v.method): v.misfits[0].cut for v in paper.verdicts if v.method == "corf" and v.misfits}
    assert cut == {("A", "corf"): "cut", ("B", "corf"): "cut_or_nearest"}


def test_no_sizes_at_all_fit_some_rows(paper):
    alone = {(v.protocol, v.method): (v.alone, v.alone_restricted) for v in paper.verdicts}
    assert {key for key, (count, _) in alone.items() if count == 0} == cross(C="clip clip_lung")
    assert {key for key, (_, count) in alone.items() if count == 0} == cross(B="nsb udm corf clip_lung")
    assert paper.most_at_once == {"A": 6, "B": 5, "C": 5}


def test_tells_whether_errors_include_the_unsure_class(paper):
    outside = {v.method: v.fit.outside for v in paper.verdicts if v.protocol == "B" and v.fit}
    assert outside == {
        "ce": (0, 0),
        "poisson": (0, 0),
        "nsb": (9, 9),
        "udm": (12, 12),
        "clip": (0, 0),
        "cocoop": (0, 0),
    }


def test_finds_rows_printed_twice_and_deviations_that_differ(paper):
    assert [(c.methods, len(c.shared), len(c.differing)) for c in paper.coincidences] == [
        (("cocoop", "clip_lung_ic"), 3, 0),
        (("clip_lung", "clip_lung_ic_ia_ca"), 3, 1),
    ]
    ((one, other),) = paper.coincidences[1].differing
    assert (one.protocol, str(one.std), str(other.std)) == ("B", "0.3", "0.5")


def test_says_which_misfits_could_be_means_over_folds(paper):
    answers = {
        (v.protocol, v.method): {misfit.test_set: misfit.folds.answer for misfit in v.misfits}
        for v in paper.verdicts
        if v.misfits
    }
    assert answers["A", "cocoop"] == {1: "possible", 2: "possible"}
    assert answers["C", "clip"] == {1: "impossible", 2: "possible"}
    assert all(
        set(answers[key].values()) == {"impossible"} for key in cross(A="corf", B="corf clip_lung", C="clip_lung")
    )


def test_deviations_are_compared_with_sampling(paper):
    row = next(row for row in paper.evenness if (row.protocol, row.method) == ("B", "ce"))
    # 223 nodules at recall .924 and 101 at .634: sqrt(223 * .924 * .076 + 101 * .634 * .366) / 324.
    assert row.sampling == pytest.approx(1.930, abs=1e-3) and row.printed == 0.6
    assert row.as_deviation < row.as_standard_error


def test_the_page_in_the_repository_is_what_the_command_prints(paper):
    assert (PUBLISHED / "AUDIT.md").read_text() == markdown(paper)


def test_the_data_in_the_repository_is_what_the_command_prints(paper):
    assert json.loads((PUBLISHED / "AUDIT.json").read_text()) == json.loads(json.dumps([as_data(paper)]))


def test_the_data_is_json_and_holds_the_verdicts(paper):
    data = json.loads(json.dumps(as_data(paper)))
    assert data["paper"] == "clip_lung_2023" and len(data["verdicts"]) == 24
    assert data["test_sets"][0]["sizes"] == [223, 200, 101]
    assert data["verdicts"][0]["fit"]["matrix"][0][0] == 161


def test_the_command_prints_the_same_page_each_time(tmp_path, capsys):
    path = tmp_path / "study.toml"
    path.write_text(SMALL)
    pages = []
    for _ in range(2):
        assert main([str(path)]) == 0
        pages.append(capsys.readouterr().out)
    assert (
        pages[0] == pages[1] and "Test set 1, 324 nodules (223 benign, 101 malignant): 3 of 3 rows fit it" in pages[0]
    )
    assert main([str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["test_sets"][0]["members"] == [0, 1, 2]


def test_claims_nothing_where_nothing_can_be_found(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text("\n".join(line for line in SMALL.splitlines() if not line.startswith(("two   =", "three ="))))
    result = audit(load(path))
    assert result.test_sets == () and not result.verdicts[0].misfits
    assert "None: no class sizes fit so many rows" in markdown(result)


def test_rows_that_cannot_be_audited_are_named_with_the_reason(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(
        SMALL + '[[tables]]\nplace = "Text"\ndecimals = 1\ncolumns = ["C.auc"]\n[tables.rows]\none = [90.0]\n'
    )
    path.write_text(
        path.read_text().replace("[[tables]]", 'four = "Four"\n[[tables]]', 1).replace("one = [90.0]", "four = [90.0]")
    )
    assert audit(load(path)).unaudited == (("C", "four", "accuracy, or recall or F1 of some class, is not printed"),)


def test_bad_input_is_one_sentence_and_status_2(tmp_path, capsys):
    path = tmp_path / "study.toml"
    path.write_text(SMALL.replace("91.5", "191.5"))
    assert main([str(path)]) == 2
    out, err = capsys.readouterr()
    where, what = f"{path}, line 19, key tables[0].rows.one", "C.recall_benign is 191.5, not a percentage"
    assert out == "" and err == f"benchmark.audit: {where}: {what} between 0 and 100\n"
