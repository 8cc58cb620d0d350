"""BERT towers, held to open_clip's HFTextEncoder; with a stand-in for transformers, and with itself if it is there."""

import copy
import importlib.util
import json
import sys

import open_clip
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

import bert
import towers
from benchmark.contracts import InputError, TextConfig, TextTowerSpec, TextWeights, Unsupported
from methods import ROWS
from methods._describe import describe
from methods._padded import PaddedEncoder
from methods._text import encode_texts, prompt_encoder
from methods._tower import TextTower, for_images, load_text_tower, loaded
from vision import CLASSES, vision_batch, vision_task

REAL = importlib.util.find_spec("transformers") is not None
TEXTS = ["a nodule image of benign.", "spiculation", "a photo of a nodule."]
TEXT_CFG = {
    "hf_model_name": "somebody/bert",
    "hf_tokenizer_name": "somebody/bert",
    "hf_proj_type": "mlp",
    "hf_pooler_type": "cls_last_hidden_state_pooler",
    "context_length": 20,
}
MODEL = {"embed_dim": 24, "vision_cfg": dict(towers.IMAGES), "text_cfg": TEXT_CFG}


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.skipif(not REAL, reason="no transformers"))])
def package(request, monkeypatch):
    """transformers as open_clip sees it."""
    if request.param == "stand-in":
        found = bert.stand_in()
        monkeypatch.setitem(sys.modules, "transformers", found)
        for name in ("AutoConfig", "AutoModel"):
            monkeypatch.setattr(open_clip.hf_model, name, getattr(found, name), raising=False)
        monkeypatch.setattr(open_clip.hf_model, "transformers", found)
    loaded.cache_clear()
    yield request.param
    loaded.cache_clear()


def folder_of(tmp_path, model=MODEL):
    """Write a model as its folder on the hub is when copied, with its BERT's configuration and words beside it."""
    folder = tmp_path / "biomed"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(bert.CONFIG))
    (folder / "vocab.txt").write_text("\n".join(bert.WORDS))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    text = model["text_cfg"] | {"hf_model_name": str(folder), "hf_model_pretrained": False}
    torch.manual_seed(0)
    clip = open_clip.CustomTextCLIP(model["embed_dim"], model["vision_cfg"], text).requires_grad_(False).eval()
    for parameter in clip.text.parameters():
        parameter += 0.1 * torch.randn(parameter.shape)
    state = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    state["text.transformer.embeddings.position_ids"] = torch.arange(24)[None]  # of older transformers
    towers.write(folder, model, state)
    return folder, clip


@pytest.fixture
def tower(package, tmp_path) -> tuple[TextTower, nn.Module]:
    folder, clip = folder_of(tmp_path)
    return load_text_tower(describe(f"local-dir:{folder}")), clip


def test_fixed_texts_are_open_clips_padded_to_its_context(tower):
    tower, clip = tower
    expected = clip.encode_text(tower.tokenizer(TEXTS), normalize=True)
    assert tower.tokenizer(TEXTS).shape == (3, 20)
    torch.testing.assert_close(encode_texts(tower, TEXTS), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("change", [{"hf_pooler_type": "mean_pooler"}, {"hf_proj_type": "linear"}], ids=str)
def test_other_poolers_and_projections_are_open_clips_too(package, tmp_path, change):
    folder, clip = folder_of(tmp_path, MODEL | {"text_cfg": TEXT_CFG | change})
    tower = load_text_tower(describe(f"local-dir:{folder}"))
    expected = clip.encode_text(tower.tokenizer(TEXTS), normalize=True)
    torch.testing.assert_close(encode_texts(tower, TEXTS), expected, atol=1e-5, rtol=0)


def test_words_put_into_slots_give_the_features_of_the_words_and_gradients_reach_them(tower):
    tower, clip = tower
    encoder = prompt_encoder(tower, [(range(4), f"{name}.") for name in CLASSES] + [("benign", range(1, 3))])
    slots = torch.stack([tower.embed("a photo of a"), tower.embed("a nodule image of")]).requires_grad_()
    for row, context in enumerate((["a", "photo", "of", "a"], ["a", "nodule", "image", "of"])):
        texts = [f"{' '.join(context)} {name}." for name in CLASSES] + [f"benign {' '.join(context[1:3])}"]
        expected = clip.encode_text(tower.tokenizer(texts), normalize=True)
        torch.testing.assert_close(encoder(slots)[row], expected, atol=1e-5, rtol=0)
    encoder(slots)[0, 0, 0].backward()
    assert slots.grad[0].abs().sum() > 0 and not slots.grad[1].any()


def test_any_embeddings_in_slots_are_berts_own_pass_over_them(tower):
    tower, clip = tower
    encoder = PaddedEncoder(tower, [(range(3), "benign."), "spiculation"])
    slots = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(1))
    words = clip.text.transformer.get_input_embeddings().weight
    for row in range(2):
        prompt = torch.cat([words[[2]], slots[row], words[[*tower.tokenize("benign."), 3]]])[None]
        out = clip.text.transformer(inputs_embeds=prompt, attention_mask=torch.ones(prompt.shape[:2], dtype=torch.long))
        expected = normalize(clip.text.proj(out.last_hidden_state[:, 0]), dim=1)
        torch.testing.assert_close(encoder(slots)[row, :1], expected, atol=1e-5, rtol=0)


def test_the_tower_is_neither_parameters_nor_state_and_moves_with_a_method_without_moving_itself(tower):
    tower, _ = tower
    encoder = PaddedEncoder(for_images(tower, 8), [(range(2), "benign.")])
    assert not list(encoder.parameters()) and not encoder.state_dict() and not encoder.train().training
    kept = encoder._text[0].proj[0].weight
    assert kept.data_ptr() == tower.clip.text.proj[0].weight.data_ptr()  # one copy in memory for all methods
    encoder.to("meta")
    assert {buffer.device.type for buffer in encoder.buffers()} == {"meta"}
    assert {p.device.type for p in encoder._text[0].parameters()} == {"meta"}
    assert {p.device.type for p in tower.clip.parameters()} == {"cpu"}


@pytest.mark.parametrize("key", [key for key, row in ROWS.items() if row.reads_text])
def test_every_row_that_reads_text_learns_and_predicts_with_it(tower, key):
    tower, _ = tower
    torch.manual_seed(0)
    method = ROWS[key].build(vision_task(text_tower=tower.spec))
    batch = vision_batch(size=3)
    torch.stack(list(method.loss(batch).values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)
    torch.testing.assert_close(method.predict_proba(batch.images).sum(dim=1), torch.ones(3))
    assert not [name for name in method.state_dict() if "transformer" in name]


def test_its_configuration_and_hash_are_kept_and_its_place_is_a_name(tower):
    tower, clip = tower
    config = TextConfig(24, "gelu", 48, 20, 40, "somebody/bert", "cls_last_hidden_state_pooler", "mlp")
    assert tower.spec == TextTowerSpec("bert", tower.spec.path, 32, 2, 4, config=config)
    assert tower.weights == TextWeights(tower.sha256, False, "local-dir:biomed")
    said = tower.metadata()
    assert (said["kind"], said["tokenizer"], said["features"]) == ("bert", "somebody/bert", 24)
    state = {name for name in clip.state_dict() if not name.startswith("visual.")}
    assert set(tower.clip.state_dict()) == state


def test_prompts_are_refused_as_for_clip(tower):
    tower, _ = tower
    with pytest.raises(Unsupported, match="has 24 tokens with start and end, but CLIP reads 20"):
        encode_texts(tower, ["nodule " * 22])
    with pytest.raises(ValueError, match=r"use slots \[0, 2\]; number them from 0"):
        PaddedEncoder(tower, [(range(0, 3, 2), "benign")])
    with pytest.raises(ValueError, match="have 2 slots, but 3 embeddings"):
        PaddedEncoder(tower, [(range(2), "benign")])(torch.zeros(1, 3, 32))
    with pytest.raises(ValueError, match="leaves no room for a name: CLIP reads 20"):
        tower.require_room(18)


def test_without_the_package_one_sentence_says_so_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    where = towers.write(tmp_path / "biomed", MODEL, {})
    with pytest.raises(InputError, match=r"local-dir:biomed is a BERT, which needs the package transformers: install"):
        describe(where)


@pytest.mark.parametrize(
    ("model", "own", "sentence"),
    [
        ({"hf_pooler_type": "max_pooler"}, {}, r"of a kind that cannot be used \(hf_pooler_type"),
        ({"tokenizer_mode": "clips"}, {}, r"of a kind that cannot be used \(tokenizer_mode\)"),
        ({}, {"hidden_act": "relu"}, r"of a kind that cannot be used"),
        ({}, {"hidden_size": 30}, r"has the width 30, no multiple of its 4 heads"),
        ({}, {"model_type": "t5"}, r"somebody/bert"),
    ],
)
def test_another_kind_of_bert_is_refused(package, tmp_path, monkeypatch, model, own, sentence):
    folder, _ = folder_of(tmp_path)
    towers.write(folder, MODEL | {"text_cfg": TEXT_CFG | model}, {})
    (folder / "config.json").write_text(json.dumps(bert.CONFIG | own))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=sentence) as refused:
        describe(f"local-dir:{folder}")
    assert "\n" not in str(refused.value)


def test_what_the_package_makes_of_a_damaged_model_is_one_sentence(package, tmp_path):
    folder, _ = folder_of(tmp_path)
    spec = describe(f"local-dir:{folder}")
    (folder / "vocab.txt").rename(folder / "words.txt")
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(InputError, match="the tokenizer somebody/bert of local-dir:biomed cannot be had"):
        load_text_tower(spec)
    state = torch.load(folder / "open_clip_pytorch_model.bin")
    torch.save({n: t for n, t in state.items() if "proj" not in n}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(
        InputError, match=r"does not hold the text tower of its configuration \(text.proj.0.weight is abs"
    ):
        load_text_tower(spec)


def test_the_copy_in_a_method_shares_no_parameter_object(tower):
    tower, _ = tower
    encoder = PaddedEncoder(tower, ["benign"])
    before = copy.deepcopy(tower.clip.text.proj[0].weight)
    encoder.double()
    assert encoder._text[0].proj[0].weight.dtype == torch.float64
    assert tower.clip.text.proj[0].weight.dtype == torch.float32
    assert torch.equal(tower.clip.text.proj[0].weight, before)
