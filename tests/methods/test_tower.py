import json

import pytest
import torch

from benchmark.contracts import TextTowerSpec
from methods._tower import load_text_tower, loaded

RANDOM = TextTowerSpec(name="random", width=16, layers=2, heads=2)


def test_the_image_tower_is_dropped_and_the_rest_frozen():
    clip = load_text_tower(RANDOM).clip
    assert not hasattr(clip, "visual") and not clip.training
    assert not any(parameter.requires_grad for parameter in clip.parameters())


def test_the_random_tower_neither_reads_nor_disturbs_the_global_random_state():
    loaded.cache_clear()
    torch.manual_seed(1)
    first = load_text_tower(RANDOM)
    after_loading = torch.rand(3)
    loaded.cache_clear()
    torch.manual_seed(2)
    assert load_text_tower(RANDOM).metadata() == first.metadata()
    torch.manual_seed(1)
    torch.testing.assert_close(after_loading, torch.rand(3), atol=0, rtol=0)


def test_another_seed_gives_another_tower():
    other = TextTowerSpec(name="random", width=16, layers=2, heads=2, seed=1)
    assert load_text_tower(other).metadata() != load_text_tower(RANDOM).metadata()


def test_the_random_tower_is_open_clips_architecture_and_start():
    spec = TextTowerSpec(name="random", width=64, layers=2, heads=2)
    tower = load_text_tower(spec)
    clip = tower.clip
    assert clip.vocab_size == 49408 and clip.context_length == 77 and tower.width == 64
    assert [type(block.mlp.gelu).__name__ for block in clip.transformer.resblocks] == ["QuickGELU"] * 2
    assert clip.transformer.resblocks[0].attn.num_heads == 2
    assert tower.metadata()["exp_logit_scale"] == pytest.approx(1 / 0.07, abs=1e-3)
    assert clip.token_embedding.weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert clip.positional_embedding.std().item() == pytest.approx(0.01, rel=0.05)
    assert clip.text_projection.std().item() == pytest.approx(64**-0.5, rel=0.05)


def test_a_tower_is_loaded_once():
    assert load_text_tower(RANDOM) is load_text_tower(TextTowerSpec(name="random", width=16, layers=2, heads=2))


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of its heads, not 16 by 3"):
        load_text_tower(TextTowerSpec(name="random", width=16, layers=2, heads=3))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("benign", [1465, 2326]),
        ("Unsure", [26396]),
        ("malignant.", [41122, 773, 269]),
        ("internal structure", [11285, 5285]),
        ("a nodule image of", [320, 578, 691, 579, 2867, 539]),
    ],
)
def test_tokens_are_clips(text, tokens):
    assert load_text_tower(RANDOM).tokenize(text) == tokens


def test_embeddings_are_the_rows_of_the_tokens():
    tower = load_text_tower(RANDOM)
    torch.testing.assert_close(tower.embed("unsure.")[0], tower.clip.token_embedding.weight[26396])


def test_text_that_spells_a_special_token_is_refused():
    with pytest.raises(ValueError, match="start or end token"):
        load_text_tower(RANDOM).tokenize("benign<end_of_text>")


@pytest.mark.parametrize(("tokens", "fits"), [(74, True), (75, False)])
def test_a_prompt_needs_room_for_start_end_and_a_name_of_one_token(tokens, fits):
    tower = load_text_tower(RANDOM)
    if fits:
        tower.require_room(tokens)
        return
    with pytest.raises(ValueError, match="75 tokens leaves no room for a name: CLIP reads 77"):
        tower.require_room(tokens)


def test_random_weights_are_named_so_and_by_their_seed_and_belong_to_no_file():
    tower = load_text_tower(RANDOM)
    assert tower.weights is None and tower.metadata()["name"] == "random weights" and tower.metadata()["seed"] == 0


def test_metadata_can_be_written_as_json():
    assert json.loads(json.dumps(load_text_tower(RANDOM).metadata()))["seed"] == 0
