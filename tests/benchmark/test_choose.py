import re

import pytest
import torch

import methods
from benchmark import choose, references, torchbuild
from benchmark.choose import choose_all, choose_device, choose_rows, choose_workers, join
from benchmark.contracts import InputError, Row
from fakes import Linear

ROWS = join(methods.ROWS, references.ROWS)


def kinds(rows: dict[str, Row]) -> set[str]:
    return {row.kind for row in rows.values()}


def test_names_come_each_once_and_in_the_order_of_the_choices():
    assert choose_all("letter", ["c", "a", "c"], ["a", "b", "c"]) == ["a", "c"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("poison", "there is no method 'poison': choose from ce, poisson; did you mean 'poisson'?"),
        ("CE", "there is no method 'CE': choose from ce, poisson; did you mean 'ce'?"),
        ("xyz", "there is no method 'xyz': choose from ce, poisson"),
    ],
)
def test_an_unknown_name_is_told_what_there_is_and_what_is_nearest(name, sentence):
    with pytest.raises(InputError, match=re.escape(sentence) + "$"):
        choose.choose("method", name, ["ce", "poisson"])


def test_the_papers_rows_the_controls_and_a_plugins_are_made_unless_something_else_is_asked_for():
    rows = ROWS | {"mine": Row("mine", "Mine", "plugin", Linear)}
    chosen, asked = choose_rows(None, rows), ("paper", "ablation", "control", "plugin", "reference")
    assert list(chosen) == [key for key, row in rows.items() if row.kind in asked]
    assert {"ce", "clip_lung_ic", "multitask", "mine", "majority"} <= chosen.keys()
    assert not {"coral", "clip_lung_literal"} & chosen.keys()


def test_a_row_is_asked_for_by_its_key_and_references_always_stand_beside():
    chosen = choose_rows(["clip_lung_literal", "ce"], ROWS)
    assert list(chosen) == ["ce", "clip_lung_literal", *references.ROWS]


def test_groups_stand_for_their_rows():
    assert kinds(choose_rows(["paper"], ROWS)) == {"paper", "ablation", "reference"}
    assert kinds(choose_rows(["controls"], ROWS)) == {"control", "reference"}
    assert list(choose_rows(["paper", "controls"], ROWS)) == list(choose_rows(None, ROWS))
    assert choose_rows(["all"], ROWS) == ROWS
    assert list(choose_rows(["paper", "coral"], ROWS)) == [
        key for key, row in ROWS.items() if row.kind in ("paper", "ablation", "reference") or key == "coral"
    ]


def test_a_reference_cannot_be_asked_for():
    with pytest.raises(InputError, match="there is no method 'majority'"):
        choose_rows(["majority"], ROWS)


def test_rows_are_joined_in_table_order_and_no_two_have_one_key():
    assert list(ROWS) == [*methods.ROWS, *references.ROWS]
    taken = {"majority": Row("majority", "Mine", "plugin", Linear)}
    with pytest.raises(InputError, match="'majority' belongs to a reference row and a plugin row; register"):
        join(taken, references.ROWS)


def test_the_listing_names_every_choice_with_what_it_is():
    from datasets import SOURCES
    from datasets.protocols import DATASETS, LABEL_RULES

    found = choose.listing(ROWS, DATASETS, SOURCES, LABEL_RULES, {"openai": "the paper's"})
    said = {(option, name): what for option, name, what in found}
    assert said["--datasets", "B"] == "LIDC-B: train on benign, unsure, malignant; test on benign, malignant"
    assert said["--methods", "clip"] == "CLIP, reads the text tower" and said["--methods", "ce"] == "CE Loss"
    assert said["--methods", "clip_lung_ic"].startswith("CLIP-Lung (IC), ablation")
    assert said["--methods", "ce_diameter"] == "CE + log diameter, control, reads the diameter"
    assert ("--methods", "majority") not in said
    assert {name for option, name in said if option == "--methods"} - methods.ROWS.keys() == set(choose.GROUPS)
    for group in choose.GROUPS:
        assert choose_rows([group], ROWS)  # what is listed can be asked for
    assert {name for option, name in said if option == "--preset"} == {"smoke", "quick", "paper"}
    assert {"phantom", "dicom", "idc"} == {name for option, name in said if option == "--source"}
    assert said["--text-tower", "openai"] == "the paper's"


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torchbuild, "may_have_cards", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(InputError, match="the device 'cuda:1' is not on this machine: choose from cpu"):
        choose_device("cuda:1")
    with pytest.raises(InputError, match="there is no device 'gpu'"):
        choose_device("gpu")


def test_cuda_is_taken_where_it_is_and_one_card_can_be_named(monkeypatch):
    monkeypatch.setattr(torchbuild, "may_have_cards", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == "cuda" and choose_device("cuda:1") == "cuda:1"
    with pytest.raises(InputError, match="choose from cpu, cuda, cuda:0, cuda:1"):
        choose_device("cuda:2")


def test_there_are_as_many_workers_as_cores_or_cards_or_as_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr("joblib.cpu_count", lambda: 5)  # it knows affinity and cgroups
    assert choose_workers(None, "cpu") == 5 and choose_workers(None, "cuda") == 3
    assert choose_workers(None, "cuda:1") == choose_workers(None, "mps") == 1
    assert choose_workers(0, "cuda") == 0 and choose_workers(7, "cpu") == 7


def test_workers_that_only_a_slip_of_the_hand_can_mean_are_refused(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    assert choose_workers(16, "cpu") == 16 and choose_workers(17, "cuda") == 17
    with pytest.raises(InputError, match="--workers 17: this process may use 2 cores"):
        choose_workers(17, "cpu")
