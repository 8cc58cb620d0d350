import hashlib
import json
import warnings
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from benchmark.contracts import InputError, TextTowerSpec
from methods import _tower
from methods._tower import load_text_tower

RANDOM = TextTowerSpec(name="random", width=16, layers=2, heads=2)
TOY = "toy-ViT-quickgelu"
HOW = r"open_clip_model.safetensors of timm/vit_base_patch16_clip_224.openai.*ViT-B-16.pt.*--text-tower PATH"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Shrink the architecture that `openai` stands for, so that tests can write whole files of its weights."""
    config = {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 8, "layers": 1, "width": 64, "patch_size": 4},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }
    (tmp_path / f"{TOY}.json").write_text(json.dumps(config))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", dict(open_clip.factory._MODEL_CONFIGS))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", list(open_clip.factory._MODEL_CONFIG_PATHS))
    open_clip.add_model_config(tmp_path / f"{TOY}.json")
    monkeypatch.setattr(_tower, "_ARCHITECTURE", TOY)
    return tmp_path


def spec_of(path: Path, **changes) -> TextTowerSpec:
    return TextTowerSpec(**{"name": "openai", "path": str(path), "width": 16, "layers": 2, "heads": 2, **changes})


def trained_clip() -> torch.nn.Module:
    """A toy with the marks of OpenAI's weights: half floats, and a logit scale of ln 100."""
    clip = open_clip.CLIP(**open_clip.get_model_config(TOY)).eval()
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.copy_(parameter.half())
        clip.logit_scale.fill_(4.6052)
    return clip


def save_torchscript(clip: torch.nn.Module, path: Path) -> None:
    del clip.context_length, clip.vocab_size  # OpenAI's archive holds these as tensors among the weights
    for name, value in [("input_resolution", 8), ("context_length", 77), ("vocab_size", 49408)]:
        clip.register_buffer(name, torch.tensor(value))
    mask = clip.attn_mask
    del clip.attn_mask  # TorchScript would save this buffer, persistent or not; there it is none
    clip.attn_mask = mask
    tokens = torch.zeros(1, 77, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated; OpenAI's archive is older than that
        torch.jit.trace_module(clip, {"encode_text": tokens}, check_trace=False).save(path)


SAVE = {
    "state_dict.pt": lambda clip, path: torch.save(clip.state_dict(), path),
    "checkpoint.pt": lambda clip, path: torch.save({"epoch": 1, "state_dict": clip.state_dict()}, path),
    "half.pt": lambda clip, path: torch.save(clip.half().state_dict(), path),
    "weights.safetensors": lambda clip, path: save_file(clip.state_dict(), path),
    "archive.pt": save_torchscript,
}


@pytest.mark.parametrize("filename", SAVE)
def test_every_kind_of_file_gives_the_same_weights(toy, filename):
    clip = trained_clip()
    tokens = open_clip.tokenize(["a nodule image of benign.", "spiculation"])
    expected = clip.encode_text(tokens).detach()
    digest = hashlib.sha256(clip.text_projection.detach().numpy().tobytes()).hexdigest()
    SAVE[filename](clip, toy / filename)
    tower = load_text_tower(spec_of(toy / filename))
    torch.testing.assert_close(tower.clip.encode_text(tokens), expected, atol=0, rtol=0)
    assert tower.facts()["text_projection_sha256"] == digest
    assert tower.facts()["exp_logit_scale"] == pytest.approx(100, abs=0.5)


def test_the_image_tower_is_dropped_and_the_rest_frozen(toy):
    torch.save(trained_clip().state_dict(), toy / "weights.pt")
    for spec in (RANDOM, spec_of(toy / "weights.pt")):
        clip = load_text_tower(spec).clip
        assert not hasattr(clip, "visual") and not clip.training
        assert not any(parameter.requires_grad for parameter in clip.parameters())


def test_a_missing_or_damaged_file_says_how_to_get_the_weights(toy):
    (toy / "damaged.pt").write_bytes(b"PK\x03\x04 torn")
    (toy / "damaged.safetensors").write_bytes(b"\x00" * 20)
    torch.save([1, 2, 3], toy / "list.pt")
    for name in ("absent.pt", "damaged.pt", "damaged.safetensors", "list.pt", "."):
        with pytest.raises(InputError, match=HOW):
            load_text_tower(spec_of(toy / name))


def test_a_spec_of_another_size_is_refused(toy):
    torch.save(trained_clip().state_dict(), toy / "weights.pt")
    with pytest.raises(ValueError, match=r"\(16, 2, 2\), not \(32, 2, 2\)"):
        load_text_tower(spec_of(toy / "weights.pt", width=32))


def test_weights_of_another_architecture_are_refused(toy):
    state = trained_clip().state_dict()
    state["text_projection"] = torch.zeros(16, 24)
    torch.save(state, toy / "wide.pt")
    with pytest.raises(ValueError, match=rf"text_projection is \(16, 24\), not \(16, 16\).*{HOW}"):
        load_text_tower(spec_of(toy / "wide.pt"))
    del state["text_projection"]
    torch.save(state, toy / "without.pt")
    with pytest.raises(ValueError, match="text_projection is absent"):
        load_text_tower(spec_of(toy / "without.pt"))


def test_an_architecture_with_plain_gelu_is_refused(toy, monkeypatch):
    torch.save(trained_clip().state_dict(), toy / "weights.pt")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS[TOY], "quick_gelu", False)
    with pytest.raises(ValueError, match="plain GELU"):
        load_text_tower(spec_of(toy / "weights.pt"))


def test_weights_that_others_trained_with_plain_gelu_are_refused(toy):
    state = trained_clip().state_dict()
    state["text_projection"] += 1e-7  # OpenAI's are half floats, those of the reproductions are not
    torch.save(state, toy / "reproduction.pt")
    with pytest.raises(ValueError, match=f"not OpenAI's.*{HOW}"):
        load_text_tower(spec_of(toy / "reproduction.pt"))


def test_untrained_weights_are_refused(toy):
    state = trained_clip().state_dict()
    state["logit_scale"].fill_(2.6593)
    torch.save(state, toy / "untrained.pt")
    with pytest.raises(ValueError, match=r"exp\(logit_scale\) is 14.29, not 100"):
        load_text_tower(spec_of(toy / "untrained.pt"))


def test_without_a_path_the_hubs_cache_is_asked_before_the_hub(toy, monkeypatch):
    torch.save(trained_clip().state_dict(), toy / "cached.pt")
    asked = []

    def download(repository, filename, local_files_only=False):
        asked.append(local_files_only)
        if local_files_only and len(asked) == 1:
            return str(toy / "cached.pt")
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    spec = TextTowerSpec(name="openai", width=16, layers=2, heads=2)
    load_text_tower.cache_clear()
    load_text_tower(spec)
    assert asked == [True]
    load_text_tower.cache_clear()
    with pytest.raises(InputError, match=f"hub does not answer.*{HOW}"):
        load_text_tower(spec)
    assert asked == [True, True, False]


def test_the_random_tower_neither_reads_nor_disturbs_the_global_random_state():
    load_text_tower.cache_clear()
    torch.manual_seed(1)
    first = load_text_tower(RANDOM)
    after_loading = torch.rand(3)
    load_text_tower.cache_clear()
    torch.manual_seed(2)
    assert load_text_tower(RANDOM).facts() == first.facts()
    torch.manual_seed(1)
    torch.testing.assert_close(after_loading, torch.rand(3), atol=0, rtol=0)


def test_another_seed_gives_another_tower():
    other = TextTowerSpec(name="random", width=16, layers=2, heads=2, seed=1)
    assert load_text_tower(other).facts() != load_text_tower(RANDOM).facts()


def test_the_random_tower_is_open_clips_architecture_and_start():
    spec = TextTowerSpec(name="random", width=64, layers=2, heads=2)
    tower = load_text_tower(spec)
    clip = tower.clip
    assert clip.vocab_size == 49408 and clip.context_length == 77 and tower.width == 64
    assert [type(block.mlp.gelu).__name__ for block in clip.transformer.resblocks] == ["QuickGELU"] * 2
    assert clip.transformer.resblocks[0].attn.num_heads == 2
    assert tower.facts()["exp_logit_scale"] == pytest.approx(1 / 0.07, abs=1e-3)
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


def test_facts_can_be_written_as_json():
    assert json.loads(json.dumps(load_text_tower(RANDOM).facts()))["seed"] == 0
