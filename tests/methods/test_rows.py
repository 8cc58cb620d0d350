"""The registry: which rows there are, in which order, and how a plugin adds one."""

import inspect

import pytest
import torch
from torch import nn

import methods
from benchmark.contracts import Method
from methods import ROWS
from methods.ce import CrossEntropy
from methods.poisson import Poisson
from vision import vision_task

PAPER = ["ce", "poisson", "nsb", "udm", "corf", "clip", "cocoop", "clip_lung", "mv_dar", "mv_dar_text"]
CONTROLS = [
    *("multitask", "clip_lung_shuffled_attributes", "clip_lung_shuffled_classes", "clip_lung_orthogonal"),
    *("ce_diameter", "ldl"),
]
ADDED = [
    *("clip_lung_released", "binomial", "coral", "corn", "sord", "clm", "cdw_ce", "emd", "qwk", "morf"),
    *("ordinal_clip", "numclip", "coop", "kgcoop", "clip_adapter", "mv_dar_wide"),
]
ABLATIONS = ["clip_lung_ic", "clip_lung_ic_ia", "clip_lung_ia_ca", "clip_lung_ic_ca"]


@pytest.fixture
def rows(monkeypatch):
    """A copy that the test may add to."""
    monkeypatch.setattr(methods, "ROWS", copy := dict(ROWS))
    return copy


def test_rows_stand_in_the_order_of_the_tables():
    built_in = [(row.kind, key) for key, row in ROWS.items()]
    kinds = [("paper", PAPER), ("control", CONTROLS), ("added", ADDED), ("ablation", ABLATIONS)]
    expected = [(kind, key) for kind, keys in kinds for key in keys]
    assert built_in[: len(expected)] == expected
    assert {kind for kind, _ in built_in[len(expected) :]} == {"variant"}


def test_keys_are_the_rows_own_and_no_two_rows_have_one_title():
    assert all(key == row.key for key, row in ROWS.items())
    assert all(row.title.startswith(row.method.title) and row.method.__doc__ for row in ROWS.values())
    assert len({row.title for row in ROWS.values()}) == len(ROWS)


def test_a_method_stands_in_the_tables_above_the_rows_that_change_a_setting_of_it():
    plain = {row.method for row in ROWS.values() if not row.hyperparameters}
    assert all(
        row.method in plain and row.hyperparameters for row in ROWS.values() if row.kind in ("ablation", "variant")
    )
    assert all(row.method in plain for row in ROWS.values())


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_hyperparameters_are_the_methods_own_with_defaults_and_settings_hold_them_all(row):
    task, *own = inspect.signature(row.method).parameters.values()
    assert task.name == "task" and all(p.default is not p.empty for p in own)
    assert row.defaults == {p.name: p.default for p in own}
    assert row.hyperparameters.keys() <= row.defaults.keys()
    assert row.settings.keys() == row.defaults.keys() and row.settings.items() >= dict(row.hyperparameters).items()
    assert all(row.defaults[name] != value for name, value in row.hyperparameters.items())


def test_table_3_ticks_for_clip_lung_the_losses_that_it_has_unless_told_otherwise():
    row = ROWS["clip_lung"]
    assert row.losses == " + ".join(row.defaults["losses"]).upper() and not row.hyperparameters


def test_a_plugin_adds_a_row_below_the_others(rows):
    methods.register("mine", CrossEntropy)
    methods.register("mine_too", Poisson, title="Poisson, sharp", tau=0.3)
    *_, mine, other = rows.values()
    assert (mine.key, mine.title, mine.kind, mine.method) == ("mine", "CE Loss", "plugin", CrossEntropy)
    assert (other.title, other.kind, other.settings) == ("Poisson, sharp", "plugin", {"tau": 0.3, "learn_tau": False})


@pytest.mark.parametrize("key", ["ce", "clip_lung_ic", "udm_balanced"])
def test_a_taken_key_is_refused(rows, key):
    with pytest.raises(ValueError, match=f"method key '{key}' is taken by .*; choose another"):
        methods.register(key, CrossEntropy)


@pytest.mark.parametrize("key", ["Mine", "my-method", "1st", "m\u00e9thode", ""])
def test_a_key_that_could_not_name_a_folder_is_refused(rows, key):
    with pytest.raises(ValueError, match="must be lower-case letters, digits and underscores"):
        methods.register(key, CrossEntropy)


def test_a_hyperparameter_that_the_method_lacks_is_refused(rows):
    with pytest.raises(ValueError, match="mine sets 'taus', but Poisson has the hyperparameters: tau, learn_tau"):
        methods.register("mine", Poisson, taus=0.3)
    assert "mine" not in rows


def test_a_misspelt_name_to_spare_from_weight_decay_is_an_error():
    class Misspelt(CrossEntropy):
        no_weight_decay = ("scael",)

        def __init__(self, task) -> None:
            super().__init__(task)
            self.scale = nn.Parameter(torch.zeros(()))

    with pytest.raises(ValueError, match="no_weight_decay names 'scael', and Misspelt has no such parameter"):
        Misspelt(vision_task()).param_groups()


def test_what_a_row_spares_from_weight_decay_is_a_parameter_of_it():
    for row in ROWS.values():
        torch.manual_seed(0)
        method: Method = row.method(vision_task(), **row.hyperparameters)
        spared = [p for group in method.param_groups() if group.get("weight_decay") == 0 for p in group["params"]]
        assert len(spared) == len(method.no_weight_decay)


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        (torch.nn.Linear, "cannot be registered: a method is a class that inherits"),
        (lambda task: None, "cannot be registered"),
        (type("Untitled", (CrossEntropy,), {"title": ""}), "Untitled has no title: give its class one"),
        (type("Mute", (Method,), {"title": "M", "loss": lambda *_: {}}), "Mute has no predict_proba: define it"),
        (type("Idle", (Method,), {"title": "I", "predict_proba": lambda *_: None}), "Idle has no loss: define it"),
    ],
)
def test_what_is_no_method_is_refused_in_words(rows, method, sentence):
    with pytest.raises(ValueError, match=sentence):
        methods.register("mine", method)
    assert "mine" not in rows
