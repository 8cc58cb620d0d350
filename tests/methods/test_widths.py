"""Every row that reads text works with a tower of any width, through the one projection that they share."""

import dataclasses

import pytest
import torch

import towers
from benchmark.contracts import TextTowerSpec
from methods import ROWS
from methods._describe import describe
from methods._parallel import narrowed
from vision import TOWER, vision_batch, vision_task

READERS = [key for key, row in ROWS.items() if row.reads_text]
WIDTHS = {key: narrowed(vision_task().encoder, ROWS[key].traits.narrowing).width for key in READERS}
NARROW = TextTowerSpec(name="random", width=32, layers=1, heads=2)


@pytest.fixture(scope="module")
def odd_tower(tmp_path_factory) -> TextTowerSpec:
    """A tower whose tokens, features and layers are all others than the encoder's."""
    config = towers.model_cfg(quick=False, features=40, width=48, heads=3)
    state = towers.clip_of(config).state_dict()
    return describe(towers.write(tmp_path_factory.mktemp("tower") / "odd", config, state))


@pytest.mark.parametrize("key", READERS)
def test_a_row_learns_and_predicts_with_a_tower_of_other_widths(key, odd_tower):
    batch = vision_batch()
    for tower in (NARROW, odd_tower):
        torch.manual_seed(0)
        method = ROWS[key].build(vision_task(text_tower=tower))
        torch.stack(list(method.loss(batch).values())).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)
        proba = method.predict_proba(batch.images)
        torch.testing.assert_close(proba.sum(dim=1), torch.ones(len(batch)))
        said = method.metadata()["text_tower"]["projection"]
        assert (said["from"], said["to"], said["seed"]) == (tower.features, WIDTHS[key], 0)


@pytest.mark.parametrize("key", [key for key in READERS if WIDTHS[key] == TOWER.features])
def test_the_projection_adds_nothing_to_train_and_equal_widths_have_none(key):
    methods = [ROWS[key].build(vision_task(text_tower=tower)) for tower in (TOWER, NARROW)]
    names = [{name for name, _ in method.named_parameters()} for method in methods]
    assert names[0] == names[1] and methods[0].metadata()["text_tower"]["projection"] is None
    assert not [name for method in methods for name in method.state_dict() if "project" in name]


def test_all_rows_of_a_run_have_the_same_projection_and_another_seed_has_another():
    wide = [key for key in READERS if WIDTHS[key] == TOWER.features]
    said = [ROWS[key].build(vision_task(text_tower=NARROW)).metadata()["text_tower"]["projection"] for key in wide]
    assert all(one == said[0] for one in said)
    other = ROWS["clip"].build(vision_task(text_tower=dataclasses.replace(NARROW, seed=1)))
    assert other.metadata()["text_tower"]["projection"]["sha256"] != said[0]["sha256"]
