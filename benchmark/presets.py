"""Which settings a run is made with: a built-in preset or the user's own file, and the command line's changes."""

import argparse
import math
import re
import tomllib
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from pathlib import Path

import msgspec

from benchmark.choose import choose
from benchmark.contracts import InputError, Json, Row, Setting, TextTowerSpec
from benchmark.places import expanded
from benchmark.recipe import PRESETS, Preset
from benchmark.tomlfile import TomlFile, plain

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "array": "an array",
    "object": "a table",
}
_CHOICES: dict[tuple[str, ...], str] = {
    ("encoder", "stem"): "3x3, deep or pooled",
    ("text_tower", "name"): "openai or random (give others with --text-tower)",
    ("text_tower", "config"): "left out (it stands beside the weights)",
}


@dataclass(frozen=True)
class Changes:
    """What the command line changes of a preset; None leaves it as it is."""

    folds: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    nodules: int | None = None
    text_tower: str | None = None

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Changes":
        """Return those of a command line."""
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})


def _no_other_tower(name: str) -> TextTowerSpec | None:
    """Know no text tower by name."""


def resolve(
    name: str,
    device: str,
    changes: Changes,
    describe: Callable[[str], TextTowerSpec | None] = _no_other_tower,
) -> tuple[str, Preset]:
    """Return the preset's name and the preset, with the command line's changes in both.

    Args:
        name: A built-in preset, `auto` or a TOML file.
        device: What `auto` goes by.
        changes: Of the command line. Those of the recipe, and the sample, are named behind the preset's name, since
            they make another run: `quick-epochs=10`, `quick-nodules=300`.
        describe: Says what a text tower other than OpenAI's and the random one is; None where the name is none's.

    Raises:
        InputError: No such preset, or a file that is none: the file, the line and the key; a tower that is not
            there or cannot be used.
    """
    if name == "auto":
        name = "paper" if device.startswith("cuda") else "quick"
    if name.endswith(".toml"):
        preset, name = read(expanded(name)), Path(name).stem
        if name in (*PRESETS, "auto"):
            raise InputError(f"a preset file may not be called {name}.toml, like the built-in preset; rename it")
    else:
        preset = PRESETS[choose("preset", name, [*PRESETS, "auto"], "or the path of a .toml file")]
    given = {key: value for key in ("epochs", "batch_size", "lr") if (value := getattr(changes, key)) is not None}
    changed = {key: value for key, value in given.items() if getattr(preset.recipe, key) != value}
    name += "".join(f"-{key}={value:g}" for key, value in changed.items())
    preset = replace(preset, recipe=replace(preset.recipe, **changed))
    if changes.nodules not in (None, preset.nodules):
        name += f"-nodules={changes.nodules}"
        preset = replace(preset, nodules=changes.nodules)
    if changes.folds is not None:
        preset = replace(preset, folds=changes.folds)
    if changes.text_tower is not None:
        preset = replace(preset, text_tower=_tower(changes.text_tower, preset, describe))
    return name, preset


def _tower(name: str, preset: Preset, describe: Callable[[str], TextTowerSpec | None]) -> TextTowerSpec:
    if name == "openai":
        return TextTowerSpec(name="openai")
    if name == "random":
        if preset.text_tower.name == "random":
            return preset.text_tower
        return TextTowerSpec(name="random", width=preset.encoder.width)
    scheme, colon, place = name.partition(":")
    other = describe(f"local-dir:{expanded(place).resolve()}" if (scheme, colon) == ("local-dir", ":") else name)
    if other is not None:
        return other
    path = expanded(name)
    if not path.is_file():
        raise InputError(
            f"--text-tower {name!r} is neither 'openai', 'random', another tower that --list names, "
            "hf-hub:OWNER/NAME, local-dir:PATH nor a file"
        )
    return TextTowerSpec(name="openai", path=str(path.absolute()))


def read(path: Path) -> Preset:
    """Read a user's preset: `base`, the built-in preset that it changes, and what it changes.

    Raises:
        InputError: The file, the line, the key, and what is wrong there.
    """
    file = TomlFile(path)
    names = {field.name for field in fields(Preset)}
    file.only((), names | {"base"})
    base = file.data.get("base")
    if not isinstance(base, str) or base not in PRESETS:
        file.fail(("base",), f"must name the preset that this one changes: {', '.join(PRESETS)}")
    content: dict[str, Json] = msgspec.to_builtins(PRESETS[base])
    for name in file.data.keys() - {"base"}:
        value, part = plain(file.get((name,))), content[name]
        if isinstance(part, dict):
            file.mapping((name,))
            file.only((name,), set(part))
        content[name] = part | value if isinstance(part, dict) and isinstance(value, dict) else value
    try:
        preset = msgspec.convert(content, Preset)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$.")
        key = tuple(part.partition("[")[0] for part in place.removesuffix("`").split("."))
        each = "an array, each value " * ("[" in place)
        file.fail(key, f"must be {each}{_wanted(problem, key)}, not {plain(file.get(key))!r}")
    for key, is_right, wanted in _sense(preset):
        if not is_right:
            file.fail(key, f"must be {wanted}")
    return preset


def _wanted(problem: str, key: tuple[str, ...]) -> str:
    """Say in words what a value must be, which msgspec says in its types' names: "Expected `int` >= 1"."""
    expected = re.match(r"Expected `(\w+)[^`]*`([^,]*)", problem)
    if key[:2] in _CHOICES or expected is None:
        return _CHOICES.get(key[:2], "a value that can be used here")
    kind, bound = expected.groups()
    return _KINDS.get(kind, kind) + bound


def _sense(preset: Preset) -> list[tuple[tuple[str, str], bool, str]]:
    """Return what no type can say: the key, whether it holds, and what it must be."""
    encoder, tower, (low, high) = preset.encoder, preset.text_tower, preset.recipe.window_hu
    recipe = preset.recipe
    numbers = ("lr", "weight_decay", "momentum", "warmup")
    return [
        *((("recipe", name), math.isfinite(getattr(recipe, name)), "a finite number") for name in numbers),
        (("recipe", "nesterov"), recipe.momentum > 0 or not recipe.nesterov, "false where momentum is 0"),
        (("text_tower", "name"), tower.name in ("openai", "random"), _CHOICES["text_tower", "name"]),
        (("text_tower", "path"), tower.path is None, "left out: give the file with --text-tower"),
        (("text_tower", "config"), tower.config is None, _CHOICES["text_tower", "config"]),
        (
            ("recipe", "window_hu"),
            low < high and math.isfinite(high - low),
            "a lower and an upper end in Hounsfield units",
        ),
        (("encoder", "channels"), min(encoder.channels) >= 2, "four numbers of 2 or more"),
        (("encoder", "layers"), min(encoder.layers) >= 1, "four numbers of 1 or more"),
        (
            ("encoder", "slices"),
            encoder.slices is None or 1 <= encoder.slices <= 32,
            "1 to 32, which is the whole crop",
        ),
        (("text_tower", "layers"), tower.layers >= 1, "1 or more"),
        (("text_tower", "heads"), tower.heads >= 1 and tower.width % tower.heads == 0, "a divisor of the width"),
    ]


def parse_settings(
    texts: Sequence[str], rows: Mapping[str, Row], known: Container[str] = ()
) -> tuple[dict[str, Row], dict[str, Json]]:
    """Apply `--set row.name=value` to the rows that are made; `known` has the keys of all that there are.

    Returns:
        The rows, and the changes as a run's identity keeps them, by `row.name`.

    Raises:
        InputError: No such row or hyperparameter, one that is set twice, or a value of another kind than the default.
    """
    changed, kept, seen = dict(rows), dict[str, Json](), set[tuple[str, str]]()
    for text in texts:
        place, equals, value = text.partition("=")
        key, dot, name = place.strip().partition(".")
        if not (equals and dot):
            raise InputError(f"--set {text!r}: write row.name=value, such as clip_lung.alpha=0.5")
        if key in known and key not in rows:
            raise InputError(f"--set {text!r}: the row {key} is not made; add it to --methods")
        row = rows[choose("row", key, rows)]
        if not row.defaults:
            raise InputError(f"--set {text!r}: {row.title} has no hyperparameter with a default that could be changed")
        choose(f"hyperparameter of {key}", name, row.defaults)
        if (key, name) in seen:
            raise InputError(f"--set {text!r}: {key}.{name} was set before; set it once")
        seen.add((key, name))
        setting = _setting(text, value.strip(), row.settings[name])
        if setting == row.settings[name]:
            continue  # it is so already
        changed[key] = _changed(changed[key], name, setting)
        kept[f"{key}.{name}"] = list(setting) if isinstance(setting, tuple) else setting
    return changed, dict(sorted(kept.items()))


def _changed(row: Row, name: str, setting: Setting) -> Row:
    """Return a row with another setting, which its title and its place in Table 3 then name."""
    said = f"{name} = {setting}"
    losses = f"{row.losses}, {said}" if row.losses else ""
    hyperparameters = {**row.hyperparameters, name: setting}
    return replace(row, title=f"{row.title}, {said}", losses=losses, hyperparameters=hyperparameters)


def _setting(text: str, value: str, now: object) -> Setting:
    """Read a value as TOML; a bare word is a text."""
    kind = _KINDS.get(type(now).__name__)
    found: Setting = value
    try:
        read_so = plain(tomllib.loads(f"value = {value}", parse_float=Decimal)["value"])
        found = msgspec.convert(read_so, bool | int | float | str | tuple[bool | int | float | str, ...])
    except (ValueError, RecursionError) as error:  # of tomllib, of msgspec, and of a number with thousands of digits
        if not value or value[0] in "[{\"'" or "\n" in value:
            raise InputError(f"--set {text!r}: {value!r} is no value as TOML writes it, nor a bare word") from error
    if isinstance(found, float) and not math.isfinite(found):
        raise InputError(f"--set {text!r}: must be a finite number")
    if isinstance(now, tuple) and not isinstance(found, tuple):
        raise InputError(f"--set {text!r}: must be an array in brackets, like the default {list(now)}")
    if type(now) is float and type(found) is int:
        found = float(found)
    if kind and type(found) is not type(now):
        raise InputError(f"--set {text!r}: must be {kind}, like the default {now!r}")
    return found
