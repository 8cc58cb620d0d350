import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import methods
from benchmark import identity
from benchmark.contracts import EncoderSpec, InputError, Row, Task, TextConfig, TextTowerSpec
from benchmark.identity import SPLIT, Identity, commit, fit_key, identity_of, plain_settings
from benchmark.recipe import Preset, Recipe
from benchmark.references import ROWS as REFERENCES
from fakes import IDENTITY, LINEAR, PRESET, Linear, make_cohort

ROOT = identity.ROOT
FOLD_OF = np.arange(30) % 5


def made(
    cohort=None, fold_of=FOLD_OF, rule: str = "published", name: str = "quick", preset: Preset = PRESET, **settings
):
    cohort = cohort or make_cohort()
    return identity_of(cohort, fold_of[: len(cohort)], rule, name, preset, settings)


def test_a_runs_identity_says_what_was_asked_for():
    found = made(make_cohort(collection="Mine", source="dicom", content_hash="xyz"), **{"ce.x": 1})
    assert (found.collection, found.source, found.cohort, found.nodules) == ("Mine", "dicom", "xyz", 30)
    assert (found.label_rule, found.preset, found.folds) == ("published", "quick", 5)
    assert (found.recipe, found.encoder, found.settings) == (PRESET.recipe, PRESET.encoder, {"ce.x": 1})


@pytest.mark.parametrize(
    "change",
    [
        {"cohort": make_cohort(content_hash="other")},
        {"cohort": make_cohort(source="dicom")},
        {"cohort": make_cohort(collection="Mine")},
        {"cohort": make_cohort(29)},
        {"fold_of": (np.arange(30) + 1) % 5},
        {"rule": "text"},
        {"name": "paper"},
        {"preset": replace(PRESET, folds=10)},
        {"preset": replace(PRESET, encoder=EncoderSpec(stem="deep"))},
        {"preset": replace(PRESET, text_tower=TextTowerSpec(name="random"))},
        {"preset": replace(PRESET, text_tower=TextTowerSpec(seed=1))},
        {"preset": replace(PRESET, text_tower=TextTowerSpec(config=TextConfig(512, "gelu", 2048)))},
        {"clip_lung.alpha": 0.5},
        *({"preset": replace(PRESET, recipe=replace(PRESET.recipe, **{name: value}))} for name, value in {
            "epochs": 3, "batch_size": 9, "lr": 0.1, "warmup": 0.5, "momentum": 0.5, "nesterov": True,
            "weight_decay": 0.1, "augment": False, "ema": 0.9, "window_hu": (-900.0, 400.0),
        }.items()),
    ],
    ids=lambda change: str(change)[:60],
)  # fmt: skip
def test_another_setting_is_another_identity_and_another_key(change):
    assert made(**change) != made()
    assert fit_key(made(**change), LINEAR) != fit_key(made(), LINEAR)


def test_every_part_of_a_recipe_is_part_of_the_identity():
    assert {f.name for f in fields(Recipe)} == set(made().plain()["recipe"])


def test_the_place_of_the_towers_file_and_the_integers_width_do_not_count():
    moved = replace(PRESET, text_tower=TextTowerSpec(path="/somewhere/ViT-B-16.pt", weights="abc"))
    assert made(preset=moved) == made() and made().text_tower.path is None
    assert made(fold_of=FOLD_OF.astype(np.int32)) == made()


def test_the_fold_assignment_is_sha_256_of_little_endian_numbers():
    import hashlib

    content = b"".join(int(fold).to_bytes(8, "little") for fold in FOLD_OF)
    assert made().fold_assignment == hashlib.sha256(content).hexdigest()


def test_an_identity_as_plain_data_has_every_part_and_no_path():
    content = made().plain()
    assert content.keys() == {f.name for f in fields(Identity)}
    assert content["recipe"]["lr"] == PRESET.recipe.lr and content["encoder"]["stem"] == "3x3"
    assert content["text_tower"] == {"name": "openai", "width": 512, "layers": 12, "heads": 8, "seed": 0}


CONFIG = TextConfig(512, "gelu", 2048)


@pytest.mark.parametrize(
    "change",
    [
        {"features": 64}, {"activation": "quick_gelu"}, {"hidden": 99}, {"context_length": 32}, {"vocabulary": 9},
        {"tokenizer": "bert"}, {"pooler": "mean_pooler"}, {"head": "mlp"},
    ],
    ids=str,
)  # fmt: skip
def test_every_part_of_a_towers_configuration_counts_and_stands_in_the_plain_identity(change):
    assert set(change) <= {f.name for f in fields(TextConfig)}
    towers = [TextTowerSpec("causal", "hf-hub:a/b", config=config) for config in (CONFIG, replace(CONFIG, **change))]
    one, other = (made(preset=replace(PRESET, text_tower=tower)) for tower in towers)
    assert one != other and fit_key(one, LINEAR) != fit_key(other, LINEAR)
    assert other.plain()["text_tower"]["config"].items() >= change.items()
    elsewhere = replace(towers[0], path="local-dir:/somewhere/b")
    assert made(preset=replace(PRESET, text_tower=elsewhere)) == one and "path" not in one.plain()["text_tower"]


def test_settings_are_all_hyperparameters_with_functions_by_name():
    class Called(Linear):
        def __init__(self, task: Task, link=np.linalg.norm, other=made, scale: float = 2.0, losses=("a", "b")) -> None:
            super().__init__(task)

    row = Row("called", "Called", "plugin", Called, {"scale": 3.0})
    assert plain_settings(row) == {
        "link": "numpy.linalg.norm",
        "other": f"{__name__}.made",
        "scale": 3.0,
        "losses": ["a", "b"],
    }


def test_a_value_without_a_name_of_its_own_is_refused():
    nameless = object()

    class Odd(Linear):
        def __init__(self, task: Task, act=nameless) -> None:
            super().__init__(task)

    with pytest.raises(InputError, match=r"value <object object at 0x.* is named by its place in memory"):
        fit_key(IDENTITY, Row("odd", "Odd", "plugin", Odd))


def test_the_code_may_be_given_by_its_hash():
    assert fit_key(IDENTITY, LINEAR, identity.code_of(LINEAR)) == fit_key(IDENTITY, LINEAR)
    assert fit_key(IDENTITY, LINEAR, "other code") != fit_key(IDENTITY, LINEAR)


def test_other_weights_of_the_tower_are_another_key_for_the_rows_that_read_text_alone():
    clip = methods.ROWS["clip"]
    keys = [fit_key(IDENTITY, clip, weights=weights) for weights in ("", "abc", "def")]
    assert len(set(keys)) == 3 and keys[0] == fit_key(IDENTITY, clip)
    assert fit_key(IDENTITY, LINEAR, weights="abc") == fit_key(IDENTITY, LINEAR)


def test_the_hash_of_the_towers_weights_stands_in_the_plain_identity():
    assert made().plain("abc")["text_tower"]["weights"] == "abc" and "weights" not in made().plain()["text_tower"]
    assert made().plain("abc")["cohort"] == made().plain()["cohort"]


def test_another_hyperparameter_is_another_key():
    assert fit_key(IDENTITY, replace(LINEAR, hyperparameters={"spoil": "x"})) != fit_key(IDENTITY, LINEAR)
    assert fit_key(IDENTITY, replace(LINEAR, hyperparameters={"spoil": ""})) == fit_key(IDENTITY, LINEAR)  # the default


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A copy of the code that a key covers, which a test may change."""
    for package in ("benchmark", "methods"):
        for path in (ROOT / package).rglob("*.py"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    for name, module in list(sys.modules.items()):
        place = getattr(module, "__file__", None)
        if name.partition(".")[0] in ("benchmark", "methods") and place and Path(place).is_relative_to(ROOT):
            monkeypatch.setattr(module, "__file__", str(tmp_path / Path(place).relative_to(ROOT)))
    return tmp_path


def keys() -> dict[str, str]:
    return {key: fit_key(IDENTITY, row) for key, row in (methods.ROWS | REFERENCES).items()}


def changed_rows(checkout: Path, file: str, more: str) -> set[str]:
    before = keys()
    path = checkout / file
    path.write_text(path.read_text() + more)
    after = keys()
    return {key for key in before if before[key] != after[key]}


REFERENCE_KEYS = {"majority", "log_diameter", "number_of_readers", "ratings_forest"}


@pytest.mark.parametrize(
    "name",
    [
        *("trainer.py", "step.py", "graphs.py", "batches.py", "voxels.py"),
        *("contracts/training.py", "contracts/rows.py", "contracts/traits.py", "contracts/tasks.py"),
    ],
)
def test_changed_training_code_is_another_key_for_every_method(checkout, name):
    assert changed_rows(checkout, f"benchmark/{name}", "\nchanged = 1\n") == methods.ROWS.keys()


@pytest.mark.parametrize("file", ["benchmark/runner.py", "benchmark/memory.py", "benchmark/contracts/folds.py"])
def test_what_hands_fold_data_on_is_in_every_key(checkout, file):
    assert changed_rows(checkout, file, "\nchanged = 1\n") == methods.ROWS.keys() | REFERENCE_KEYS


def test_a_changed_loss_is_another_key_for_its_own_rows_alone(checkout):
    assert changed_rows(checkout, "methods/poisson.py", "\nchanged = 1\n") == {
        key for key, row in methods.ROWS.items() if row.module == "methods.poisson"
    }


def test_a_changed_shared_part_is_another_key_for_all_that_read_it(checkout):
    changed = changed_rows(checkout, "methods/_tower.py", "\nchanged = 1\n")
    assert {key for key, row in methods.ROWS.items() if row.reads_text} <= changed
    assert not {"ce", "poisson", "corf"} & changed
    assert changed_rows(checkout, "methods/_encoder.py", "\nchanged = 1\n") == methods.ROWS.keys()


def test_changed_references_leave_methods_alone(checkout):
    assert changed_rows(checkout, "benchmark/references.py", "\nchanged = 1\n") == REFERENCE_KEYS


@pytest.mark.parametrize("file", ["benchmark/trainer.py", "methods/ce.py", "benchmark/references.py"])
def test_a_changed_comment_is_no_other_key(checkout, file):
    assert changed_rows(checkout, file, "\n# a comment\n") == set()


def test_a_plugins_key_covers_what_it_imports_from_beside_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_loss.py").write_text("weight = 1\n")
    (tmp_path / "unread.py").write_text("weight = 1\n")
    (tmp_path / "own_method.py").write_text("import own_loss\nfrom fakes import Linear\n\nclass Mine(Linear): ...\n")
    import own_method

    def key() -> str:
        return fit_key(IDENTITY, Row("mine", "Mine", "plugin", own_method.Mine))

    before = key()
    (tmp_path / "unread.py").write_text("weight = 2\n")
    assert key() == before
    (tmp_path / "own_loss.py").write_text("weight = 2\n")
    assert key() != before


def test_the_registry_and_the_tables_are_in_no_key(checkout):
    for file in ("methods/__init__.py", "benchmark/tables.py", "benchmark/records.py"):
        assert changed_rows(checkout, file, "\nchanged = 1\n") == set()


def test_every_file_that_training_reads_is_in_the_key_or_left_out_for_a_reason():
    """All that the runner imports decides results but errors, records and runs on disk, hashes, the recipe, which is in
    the identity, collections, whose cohort is there by its hash, what is kept once results are there, who writes
    a file, and the pulse.
    """
    code = "import sys, benchmark.runner; print(*(n for n in sys.modules if n.startswith('benchmark.')))"
    names = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    reached = {name.removeprefix("benchmark.").replace(".", "/") + ".py" for name in names.stdout.split()}
    beside = {"files.py", "identity.py", "records.py", "run.py", "runfile.py", "recipe.py", "plugins.py"}
    beside |= {"extras.py", "weights.py", "weightfiles.py", "owners.py", "pulse.py"}
    beside |= {"contracts.py", "contracts/errors.py", "contracts/collections.py"}  # the first is the package itself
    assert reached - beside == {*identity.TRAINING, *identity.ALWAYS}


def test_git_is_asked_once_and_in_words(monkeypatch):
    asked = []

    def answer(command, **how):
        asked.append((command, how))
        return subprocess.CompletedProcess(command, 0, stdout=" abc-dirty\n")

    monkeypatch.setattr(subprocess, "run", answer)
    assert commit.__wrapped__() == "abc-dirty"
    ((command, how),) = asked
    assert command[:3] == ["git", "-C", str(ROOT)] and "--dirty" in command and "--always" in command
    assert how == {"capture_output": True, "text": True, "check": True, "timeout": 30}


def test_the_commit_is_gits_and_says_whether_files_differ_from_it():
    git = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    if git.returncode:
        pytest.skip("not a git checkout")
    assert commit().removesuffix("-dirty") == git.stdout.strip()


@pytest.mark.parametrize(
    "error", [FileNotFoundError, subprocess.TimeoutExpired("git", 1), subprocess.CalledProcessError(1, "git")]
)
def test_without_git_there_is_no_commit_and_no_error(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert commit.__wrapped__() == ""


def test_a_set_and_a_plugins_own_function_have_one_name_in_every_process(tmp_path):
    """Sets have the order of their hashes, another in each process; a plugin's module is named by where it lies."""
    code = (
        "import sys; from pathlib import Path; sys.path[:0] = [sys.argv[2], 'tests/support']\n"
        "import methods; from fakes import IDENTITY\n"
        "from benchmark import plugins; from benchmark.identity import fit_key\n"
        "plugins.load([Path(sys.argv[1])]); print(fit_key(IDENTITY, methods.ROWS['mine']))"
    )
    plugin = (
        "import methods; from fakes import Linear\n\ndef act(x): return x\n\nclass Mine(Linear):\n    title = 'Mine'\n"
        "    def __init__(self, task, names=frozenset({'a', 'b', 'c', 'd'}), act=act): super().__init__(task)\n"
        "methods.register('mine', Mine)\n"
    )
    keys = set()
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(plugin)
        command = [sys.executable, "-c", code, str(tmp_path / folder / "mine.py"), str(ROOT)]
        environment = os.environ | {"PYTHONHASHSEED": str(len(folder))}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        keys.add(done.stdout)
    assert len(keys) == 1


def test_folds_that_split_a_patient_mark_the_run_and_all_its_keys_and_no_others_do():
    pairs = make_cohort(patient_ids=tuple(f"p{i // 2}" for i in range(30)))
    whole = made(pairs, np.arange(30) // 2 % 5)
    one_apart = np.arange(30) // 2 % 5
    one_apart[7] = (one_apart[7] + 1) % 5
    split = made(pairs, one_apart)
    assert split.splits_patients and not whole.splits_patients and not made().splits_patients
    digits = set("0123456789abcdef")
    assert set(whole.fold_assignment) <= digits and len(whole.fold_assignment) == 64  # as ever: no key changes
    assert split.fold_assignment.startswith(SPLIT) and set(split.fold_assignment.removeprefix(SPLIT)) <= digits
    assert fit_key(split, LINEAR, "code") != fit_key(whole, LINEAR, "code")
    assert fit_key(split, LINEAR, "code") != fit_key(made(fold_of=one_apart), LINEAR, "code")
