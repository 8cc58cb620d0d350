from dataclasses import replace

import pytest
import torch

import methods
from benchmark import references
from benchmark.commandline import parse
from benchmark.contracts import EncoderSpec, InputError, Method
from benchmark.experiment import name_fits
from benchmark.extras import LIMIT, PROBABILITIES, Asked, Extras, bytes_of, encoder_bytes
from benchmark.recipe import PRESETS
from benchmark.records import FitSpec, Metadata
from fakes import PRESET, A, C, record
from methods._encoder import Encoder
from methods._parallel import ParallelEncoders
from vision import vision_task

SPECS = [
    PRESETS["quick"].encoder,
    EncoderSpec(channels=(64, 64, 64, 64)),
    EncoderSpec(channels=(8, 8, 16, 64), layers=(1, 2, 1, 1), stem="deep"),
    EncoderSpec(channels=(9, 8, 8, 8), layers=(1, 2, 1, 1), stem="pooled", slices=3),
]


@pytest.mark.parametrize("spec", SPECS)
def test_an_encoders_size_is_known_without_building_it(spec):
    built = Encoder(vision_task(encoder=spec, image_shape=(32, 32, 32)))
    assert encoder_bytes(spec) == sum(part.nbytes for part in built.state_dict().values())


def encoders_of(method: Method) -> list[torch.nn.Module]:
    return [module for module in method.modules() if isinstance(module, Encoder | ParallelEncoders)]


@pytest.mark.parametrize("key", methods.ROWS)
def test_every_row_says_how_many_encoders_it_trains(key):
    built = methods.ROWS[key].build(vision_task(image_shape=(4, 32, 32)))
    found = [module.count if isinstance(module, ParallelEncoders) else 1 for module in encoders_of(built)]
    assert sum(found) == built.encoders


@pytest.mark.parametrize("key", ["mv_dar", "mv_dar_wide"])
@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_what_encoders_side_by_side_take_on_disk_is_about_known(key, preset):
    spec, row = replace(PRESETS[preset].encoder, slices=1), methods.ROWS[key]  # each looks at one plane
    with torch.device("meta"):
        built = row.build(vision_task(encoder=spec, image_shape=(32, 32, 32)))
    (encoders,) = encoders_of(built)
    size = sum(part.nbytes for part in encoders.state_dict().values())
    assert bytes_of([FitSpec("three", key, 0, 0)], methods.ROWS, spec) == pytest.approx(size, rel=0.25)


def plan(preset, seeds=1, **asked):
    rows = {key: (methods.ROWS | references.ROWS)[key] for key in ("ce", "mv_dar_wide", "majority")}
    specs = name_fits([A, C], rows, 5, seeds)
    given = Asked(**asked)
    return bytes_of(specs, rows, preset.encoder), given.extras(specs, rows, preset), given.plan(specs, rows, preset)


def test_a_small_runs_weights_are_kept_unasked_and_references_have_none():
    size, extras, said = plan(PRESETS["quick"])
    assert size == (1 + 9) * 2 * 5 * encoder_bytes(PRESETS["quick"].encoder) == 31_353_600
    assert extras == Extras(weights=True)
    assert said == "Weights of the last epoch: kept beside the records, about 31 MB of weights in all"


def test_a_large_runs_weights_are_kept_by_an_option_alone():
    size, extras, said = plan(PRESETS["paper"])
    assert size == 100 * 44_780_704 and extras == Extras()
    assert said == (
        "Weights of the last epoch: not kept, about 4.5 GB of weights in all, over 500 MB; --keep-weights keeps them"
    )
    _, extras, said = plan(PRESETS["paper"], keep_weights=True)
    assert extras == Extras(weights=True)
    assert said == "Weights of the last epoch: kept beside the records, about 4.5 GB of weights in all"


def test_the_limit_is_on_the_whole_run():
    size, extras, _ = plan(PRESETS["quick"], seeds=16)
    assert size > LIMIT and not extras.weights
    assert plan(PRESETS["quick"], seeds=15)[1].weights


def test_no_curve_is_made_of_weights_that_do_not_predict():
    averaged = replace(PRESET, recipe=replace(PRESET.recipe, ema=0.99))
    assert Asked(test_curve=True).extras([], {}, PRESET) == Extras(weights=True, test_curve=True)
    with pytest.raises(InputError, match=r"--test-curve .*averaged ones \(ema = 0\.99\): leave the option out"):
        Asked(test_curve=True).extras([], {}, averaged)
    assert not Asked().extras([], {}, averaged).test_curve


def test_fits_that_nobody_will_look_into_keep_no_weights_however_small():
    rows = {"ce": methods.ROWS["ce"]}
    assert PROBABILITIES.extras(name_fits([C], rows, 5, 1), rows, PRESETS["smoke"]) == Extras()


def test_habits_are_measured_by_a_curve_of_every_fit():
    given = {name: Asked.of(parse(name.split())).test_curve for name in ("", "--habits", "--test-curve")}
    assert given == {"": False, "--habits": True, "--test-curve": True}


def test_what_finished_fits_lack_is_said_where_it_was_asked_for():
    full = Metadata(weights="abc", test_curve=[0.5])
    found = {}
    for fold, (metadata, changes) in enumerate(
        [(full, {}), (Metadata(), {}), (Metadata(), {"kind": "reference"}), (Metadata(), {"status": "failed"})]
    ):
        spec = FitSpec("three", "ce", fold, 0)
        found[spec] = record(spec, [0], [[1.0, 0.0, 0.0]], metadata=metadata, **changes)
    found[FitSpec("three", "ce", 9, 0)] = None
    assert Asked().lacking(found) == []
    (said,) = Asked(keep_weights=True).lacking(found)
    assert said.startswith(
        "1 of 2 finished fits were made without keeping their weights, three/ce/fold1-seed0.json first"
    )
    assert said.endswith("are not made again; delete their records, or give another --out, to make them with it")
    assert "their test curve" in Asked(test_curve=True).lacking(found)[0]
