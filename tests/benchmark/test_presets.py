import argparse
import re
from dataclasses import replace
from typing import get_args, get_type_hints

import pytest

from benchmark import commandline
from benchmark.contracts import EncoderSpec, InputError, Row, TextConfig, TextTowerSpec
from benchmark.presets import Changes, parse_settings, read, resolve
from benchmark.recipe import PRESETS
from datasets.crops import SIZE
from fakes import LINEAR, Linear

QUICK = PRESETS["quick"]


class Many(Linear):
    def __init__(self, task, alpha: float = 1.0, trees: int = 5, learn: bool = False, link="logit", losses=("ic",)):
        super().__init__(task)


class Plain(Linear):
    def __init__(self, task):
        super().__init__(task)


ROWS = {
    "many": Row("many", "Many", "paper", Many, {"trees": 3}),
    "linear": LINEAR,
    "plain": Row("plain", "Plain one", "paper", Plain),
}


def test_a_preset_is_what_it_is_unless_something_is_changed():
    assert resolve("quick", "cpu", Changes()) == ("quick", QUICK)


@pytest.mark.parametrize(
    ("device", "name"), [("cpu", "quick"), ("mps", "quick"), ("cuda", "paper"), ("cuda:1", "paper")]
)
def test_auto_is_the_papers_preset_where_cuda_is(device, name):
    assert resolve("auto", device, Changes()) == (name, PRESETS[name])


def test_changes_of_the_recipe_are_part_of_the_presets_name():
    name, preset = resolve("quick", "cpu", Changes(epochs=2, batch_size=16, lr=0.05))
    assert name == "quick-epochs=2-batch_size=16-lr=0.05"
    assert preset == replace(QUICK, recipe=replace(QUICK.recipe, epochs=2, batch_size=16, lr=0.05))


def test_a_change_to_what_it_is_already_is_none():
    assert resolve("quick", "cpu", Changes(epochs=QUICK.recipe.epochs, lr=QUICK.recipe.lr)) == ("quick", QUICK)


def test_a_sample_is_part_of_the_presets_name_but_where_it_is_the_presets_own():
    assert resolve("quick", "cpu", Changes(nodules=300)) == ("quick-nodules=300", replace(QUICK, nodules=300))
    smoke = PRESETS["smoke"]
    assert resolve("smoke", "cpu", Changes(nodules=smoke.nodules)) == ("smoke", smoke)
    assert resolve("smoke", "cpu", Changes(nodules=201, epochs=2))[0] == "smoke-epochs=2-nodules=201"


@pytest.mark.parametrize("number", ["0", "-3", "many", "2,651", "3.5", "", "nan", "1e3"])
def test_a_sample_is_a_whole_number_above_zero(number):
    with pytest.raises(InputError, match=f"argument --nodules: '{re.escape(number)}' is no whole number of 1 or more"):
        commandline.parse([f"--nodules={number}"])


def test_a_prepared_cohort_takes_no_sample():
    with pytest.raises(InputError, match="--cohort is prepared already and takes no --nodules: leave one of the two"):
        commandline.parse(["--cohort", "some.npz", "--nodules", "300"])
    assert commandline.parse(["--collection", "folder", "--nodules", "300"]).nodules == 300


def test_folds_and_text_tower_can_be_changed(tmp_path):
    assert resolve("quick", "cpu", Changes(folds=10))[1] == replace(QUICK, folds=10)
    assert resolve("quick", "cpu", Changes(text_tower="openai"))[1].text_tower == TextTowerSpec(name="openai")
    assert resolve("quick", "cpu", Changes(text_tower="random"))[1] == QUICK
    assert resolve("paper", "cpu", Changes(text_tower="random"))[1].text_tower == TextTowerSpec(
        name="random", width=512
    )
    file = tmp_path / "weights.pt"
    file.write_bytes(b"")
    assert resolve("quick", "cpu", Changes(text_tower=str(file)))[1].text_tower == TextTowerSpec(path=str(file))


def test_another_text_tower_is_described_by_whoever_knows_it_and_a_folder_by_its_full_path(tmp_path, monkeypatch):
    asked, other = [], TextTowerSpec("causal", "hf-hub:a/b", 768, config=TextConfig(768, "gelu", 3072))

    def describe(name: str) -> TextTowerSpec | None:
        asked.append(name)
        return other if ":" in name else None

    monkeypatch.chdir(tmp_path)
    for name in ("hf-hub:a/b", "local-dir:model"):
        assert resolve("quick", "cpu", Changes(text_tower=name), describe)[1] == replace(QUICK, text_tower=other)
    assert asked == ["hf-hub:a/b", f"local-dir:{tmp_path.resolve() / 'model'}"]
    (tmp_path / "weights.pt").write_bytes(b"")
    assert resolve("quick", "cpu", Changes(text_tower="weights.pt"), describe)[1].text_tower.name == "openai"


def test_changes_are_those_of_the_command_line():
    args = commandline.parse(["--epochs", "3", "--lr", "0.5", "--folds", "4", "--text-tower", "random"])
    assert Changes.of(args) == Changes(folds=4, epochs=3, batch_size=None, lr=0.5, text_tower="random")
    assert isinstance(args, argparse.Namespace)


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("quik", Changes(), "choose from smoke, quick, paper, auto or the path of a .toml file; did you mean 'quick'?"),
        ("nowhere.toml", Changes(), "nowhere.toml: cannot be read"),
        ("quick", Changes(text_tower="nowhere.pt"), "'nowhere.pt' is neither 'openai', 'random', another tower that"),
    ],
)
def test_what_is_not_there_is_said(name, changes, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        resolve(name, "cpu", changes)


WHOLE = """\
base = "quick"
folds = 4
nodules = 300
purpose = "mine"

[recipe]
epochs = 7
lr = 1
window_hu = [-1200, 600.5]

[encoder]
channels = [4, 8, 16, 64]

[text_tower]
layers = 3
"""


def written(tmp_path, text: str, name: str = "mine.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_preset_file_changes_a_builtin_preset(tmp_path):
    preset = read(written(tmp_path, WHOLE))
    assert preset == replace(
        QUICK,
        folds=4,
        nodules=300,
        purpose="mine",
        recipe=replace(QUICK.recipe, epochs=7, lr=1.0, window_hu=(-1200.0, 600.5)),
        encoder=replace(QUICK.encoder, channels=(4, 8, 16, 64)),
        text_tower=replace(QUICK.text_tower, layers=3),
    )
    assert isinstance(preset.recipe.lr, float) and isinstance(preset.encoder.channels, tuple)


def test_a_preset_file_averages_weights_and_no_builtin_preset_does(tmp_path):
    averaging = read(written(tmp_path, WHOLE.replace("lr = 1", "ema = 0.999")))
    assert averaging.recipe == replace(QUICK.recipe, epochs=7, ema=0.999, window_hu=(-1200.0, 600.5))
    assert {preset.recipe.ema for preset in PRESETS.values()} == {0.0}


def test_a_preset_file_is_called_by_its_name_and_may_be_changed_too(tmp_path):
    path = written(tmp_path, 'base = "smoke"\n')
    assert resolve(str(path), "cpu", Changes()) == ("mine", PRESETS["smoke"])
    assert resolve(str(path), "cpu", Changes(epochs=9))[0] == "mine-epochs=9"


def test_a_preset_file_may_not_pass_for_a_builtin_one(tmp_path):
    with pytest.raises(InputError, match=r"may not be called quick\.toml, like the built-in preset; rename it"):
        resolve(str(written(tmp_path, 'base = "smoke"\n', "quick.toml")), "cpu", Changes())


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("epochs = 7", "epoch = 7", "line 7, key recipe.epoch: is unknown; allowed here: augment, batch_size, ema"),
        ("folds", "fold", "line 2, key fold: is unknown"),
        ("[encoder]", "[encode]", "key encode: is unknown"),
        ('base = "quick"', 'base = "quik"', "line 1, key base: must name the preset that this one changes: smoke"),
        ('base = "quick"\n', "", "key base: must name the preset"),
        ("epochs = 7", 'epochs = "7"', "line 7, key recipe.epochs: must be a whole number, not '7'"),
        ("epochs = 7", "epochs = 0", "line 7, key recipe.epochs: must be a whole number >= 1, not 0"),
        ("epochs = 7", "epochs = 1.5", "line 7, key recipe.epochs: must be a whole number, not 1.5"),
        ("lr = 1", "lr = -0.1", "line 8, key recipe.lr: must be a number > 0.0, not -0.1"),
        ("lr = 1", "momentum = 1", "line 8, key recipe.momentum: must be a number < 1"),
        ("lr = 1", "ema = 1", "line 8, key recipe.ema: must be a number < 1"),
        ("lr = 1", "ema = -0.5", "line 8, key recipe.ema: must be a number >= 0"),
        ("lr = 1", "ema = nan", "line 8, key recipe.ema: must be a number >= 0.0, not nan"),
        ("lr = 1", "batch_size = 1", "line 8, key recipe.batch_size: must be a whole number >= 2, not 1"),
        ("lr = 1", "nesterov = 1", "line 8, key recipe.nesterov: must be true or false, not 1"),
        ("[-1200, 600.5]", "[600, -1200]", "line 9, key recipe.window_hu: must be a lower and an upper end"),
        ("[-1200, 600.5]", "[600]", "line 9, key recipe.window_hu: must be an array of length 2, not [600]"),
        ("[4, 8, 16, 64]", "[4, 8, 16, 0]", "line 12, key encoder.channels: must be four numbers of 2 or more"),
        ("channels = [4, 8, 16, 64]", "slices = 0", "line 12, key encoder.slices: must be 1 to 32, which is the whole"),
        ("channels = [4, 8, 16, 64]", "layers = [1, 1, 0, 1]", "key encoder.layers: must be four numbers of 1 or more"),
        ("channels = [4, 8, 16, 64]", 'stem = "wide"', "line 12, key encoder.stem: must be 3x3, deep or pooled"),
        ("layers = 3", "layers = 0", "line 15, key text_tower.layers: must be 1 or more"),
        ("layers = 3", "heads = 3", "line 15, key text_tower.heads: must be a divisor of the width"),
        ("folds = 4", "folds = 1", "line 2, key folds: must be a whole number >= 2, not 1"),
        ('base = "quick"', 'base = ["quick"]', "line 1, key base: must name the preset"),
        ("lr = 1", "lr = inf", "line 8, key recipe.lr: must be a finite number"),
        ("[-1200, 600.5]", "[-inf, 600]", "line 9, key recipe.window_hu: must be a lower and an upper end"),
        ("lr = 1", "momentum = 0.0", "key recipe.nesterov: must be false where momentum is 0"),
        ("layers = 3", 'name = "causal"', "line 15, key text_tower.name: must be openai or random (give others"),
        ("layers = 3", 'path = "x.pt"', "line 15, key text_tower.path: must be left out: give the file with --text-to"),
        ("nodules = 300", "nodules = 0", "line 3, key nodules: must be a whole number >= 1, not 0"),
        ("layers = 3", 'name = "foo"', "line 15, key text_tower.name: must be openai or random (give others"),
        ("layers = 3", "config = {}", "line 15, key text_tower.config: must be left out (it stands beside the weights"),
        ("64]", '"x"]', "key encoder.channels: must be an array, each value a whole number, not [4, 8, 16, 'x']"),
        ("folds = 4", "recipe = 4", "line 2, key recipe: must be a table [recipe]"),
        ("folds = 4", "folds = ", "line 2, key folds: this is not valid TOML"),
    ],
)  # fmt: skip
def test_a_wrong_preset_file_names_file_line_key_and_what_to_do(tmp_path, old, new, sentence):
    text = WHOLE.replace(old, new, 1)
    if new == "recipe = 4":
        text = 'base = "quick"\nrecipe = 4\n'
    path = written(tmp_path, text)
    with pytest.raises(InputError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}, line ") and sentence in str(refused.value)


def test_an_encoder_is_given_no_more_slices_than_a_crop_has(tmp_path):
    whole = "base = 'quick'\n[encoder]\nslices = "
    assert read(written(tmp_path, f"{whole}{SIZE}")).encoder.slices == SIZE
    with pytest.raises(InputError, match=f"line 3, key encoder.slices: must be 1 to {SIZE}, which is the whole crop"):
        read(written(tmp_path, f"{whole}{SIZE + 1}"))


def test_the_stems_that_a_wrong_one_is_refused_with_are_all_that_there_are():
    assert get_args(get_type_hints(EncoderSpec)["stem"]) == ("3x3", "deep", "pooled")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("many.alpha=0.5", "alpha", 0.5),
        ("many.alpha=2", "alpha", 2.0),
        ("many.trees=9", "trees", 9),
        ("many.learn=true", "learn", True),
        ("many.link=probit", "link", "probit"),
        ('many.link = "clog log"', "link", "clog log"),
        ('many.losses=["ic", "ia"]', "losses", ("ic", "ia")),
    ],
)
def test_a_hyperparameter_can_be_set_from_outside(text, name, value):
    rows, kept = parse_settings([text], ROWS)
    assert rows["many"].settings[name] == value and type(rows["many"].settings[name]) is type(value)
    assert rows["many"].settings == ROWS["many"].settings | {name: value}  # and no other
    assert rows["many"].title == f"Many, {name} = {value}" and rows["many"].losses == ""
    assert kept == {f"many.{name}": list(value) if isinstance(value, tuple) else value}
    assert rows["linear"] is LINEAR and ROWS["many"].hyperparameters == {"trees": 3}


@pytest.mark.parametrize("last", ["many.alpha=3", "many.alpha=4", "many.alpha=1"])
def test_a_hyperparameter_that_is_set_twice_is_refused_whatever_its_values_are(last):
    with pytest.raises(InputError, match=f"--set '{last}': many.alpha was set before; set it once"):
        parse_settings(["many.alpha=3", last], ROWS)


def test_a_row_of_table_3_says_there_what_was_changed():
    rows, _ = parse_settings(["many.alpha=3"], {"many": replace(ROWS["many"], losses="IC + IA")})
    assert rows["many"].losses == "IC + IA, alpha = 3.0"


def test_what_is_so_already_changes_nothing():
    assert parse_settings(["many.alpha=1", "many.trees=3", 'many.losses=["ic"]'], ROWS) == (ROWS, {})


def test_several_settings_add_up_and_are_kept_in_order_of_their_names():
    rows, kept = parse_settings(["many.trees=9", "many.alpha=3"], ROWS)
    assert rows["many"].settings["trees"] == 9 and rows["many"].settings["alpha"] == 3.0
    assert list(kept) == ["many.alpha", "many.trees"]
    assert parse_settings([], ROWS) == (ROWS, {})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("many.alpha", "--set 'many.alpha': write row.name=value, such as clip_lung.alpha=0.5"),
        ("alpha=1", "--set 'alpha=1': write row.name=value"),
        ("mani.alpha=1", "there is no row 'mani': choose from many, linear, plain; did you mean 'many'?"),
        ("plain.x=1", "--set 'plain.x=1': Plain one has no hyperparameter with a default that could be changed"),
        (
            "many.alfa=1",
            "there is no hyperparameter of many 'alfa': choose from alpha, trees, learn, link, losses",
        ),
        ("many.alpha=much", "--set 'many.alpha=much': must be a number, like the default 1.0"),
        ("many.trees=1.5", "--set 'many.trees=1.5': must be a whole number, like the default 3"),
        ("many.trees=true", "must be a whole number"),
        ("many.learn=1", "must be true or false, like the default False"),
        ("many.link=3", "must be a text, like the default 'logit'"),
        ("many.alpha={a = 1}", "'{a = 1}' is no value as TOML writes it, nor a bare word"),
        ("many.alpha=nan", "must be a finite number"),
        ("many.alpha=inf", "must be a finite number"),
        ("many.losses=ic", "must be an array in brackets, like the default ['ic']"),
        ('many.losses=["ic"', "is no value as TOML writes it"),
        ("many.link=a\nb = 3", "is no value as TOML writes it"),
        ("many.link=", "is no value as TOML writes it"),
        ("absent.alpha=1", "the row absent is not made; add it to --methods"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(text, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        parse_settings([text], ROWS, {*ROWS, "absent"})
