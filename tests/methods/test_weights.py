import hashlib
import json
import struct
import warnings
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from benchmark.contracts import InputError, TextTowerSpec, TextWeights
from methods import _tower, _weights
from methods._tower import load_text_tower
from methods._weights import published_sha256

TOY = "toy-ViT-quickgelu"
HUB = r"open_clip_model.safetensors of timm/vit_base_patch16_clip_224.openai"
HOW = rf"OpenAI's own ViT-B-16.pt.*{HUB}.*--text-tower PATH"


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
    monkeypatch.setattr(_tower, "ARCHITECTURE", TOY)
    return tmp_path


def spec_of(path: Path, **changes) -> TextTowerSpec:
    return TextTowerSpec(**{"name": "openai", "path": str(path), "width": 16, "layers": 2, "heads": 2, **changes})


def trained_clip() -> torch.nn.Module:
    """A frozen toy with the marks of OpenAI's weights: half floats, and a logit scale of ln 100."""
    clip = open_clip.CLIP(**open_clip.get_model_config(TOY)).requires_grad_(False).eval()
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.copy_(parameter.half())
        clip.logit_scale.fill_(4.60546875)  # a half float too
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


def publish(monkeypatch, *files: Path) -> None:
    """Let open_clip's table know these archives."""
    monkeypatch.setattr(_weights, "published_archives", lambda: {_weights.sha256_of(file) for file in files})


def text_state(clip: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A frozen copy of the text tensors; the image tower's are dropped with it."""
    return {name: value.clone() for name, value in clip.state_dict().items() if not name.startswith("visual.")}


@pytest.mark.parametrize("filename", SAVE)
def test_every_kind_of_file_gives_the_same_weights(toy, filename, monkeypatch):
    """Weights bit by bit; features within rounding, since tensors may lie otherwise in memory."""
    clip = trained_clip()
    tokens = open_clip.tokenize(["a nodule image of benign.", "spiculation"])
    expected, state = clip.encode_text(tokens).detach(), text_state(clip)
    SAVE[filename](clip, toy / filename)
    publish(monkeypatch, toy / filename)
    tower = load_text_tower(spec_of(toy / filename))
    found = text_state(tower.clip)
    assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)
    torch.testing.assert_close(tower.clip.encode_text(tokens), expected, atol=1e-5, rtol=1e-4)
    assert tower.metadata()["exp_logit_scale"] == pytest.approx(100, abs=0.5)


def sha256_of(state: dict[str, torch.Tensor]) -> str:
    """The hash of the text tensors, put down again from its words: name, shape and little-endian single floats."""
    content = b""
    for name in sorted(state):
        values = state[name].float().flatten().tolist()
        content += f"{name} {tuple(state[name].shape)} ".encode() + struct.pack(f"<{len(values)}f", *values)
    return hashlib.sha256(content).hexdigest()


def test_the_hash_is_the_tensors_and_not_the_files(toy):
    clip = trained_clip()
    state = text_state(clip)
    for filename, save in list(SAVE.items())[:4]:
        save(clip, toy / filename)
    towers = [load_text_tower(spec_of(toy / filename)) for filename in list(SAVE)[:4]]
    assert {tower.sha256 for tower in towers} == {sha256_of(state)}
    assert {tower.weights for tower in towers} == {TextWeights(sha256_of(state), published=False)}
    assert towers[0].metadata()["sha256"] == sha256_of(state)


@pytest.mark.parametrize("name", ["token_embedding.weight", "ln_final.bias", "transformer.resblocks.1.mlp.c_fc.weight"])
def test_any_changed_text_tensor_is_another_hash_and_an_image_tensor_is_not(toy, name):
    state = trained_clip().state_dict()
    torch.save(state, toy / "one.pt")
    was = state[name].view(-1)[-1].clone()  # one more and one less is not always the same again
    state[name].view(-1)[-1] += 1
    torch.save(state, toy / "other.pt")
    state[name].view(-1)[-1] = was
    state["visual.ln_post.bias"][0] += 1
    torch.save(state, toy / "image.pt")
    one, other, image = (load_text_tower(spec_of(toy / f"{file}.pt")).sha256 for file in ("one", "other", "image"))
    assert one != other and one == image


def test_a_file_counts_as_openais_only_by_the_hash_that_open_clip_publishes(toy, monkeypatch):
    """Noise in half precision with a logit scale of ln 100 fits in every other way."""
    torch.save(trained_clip().state_dict(), toy / "noise.pt")
    tower = load_text_tower(spec_of(toy / "noise.pt"))
    assert tower.weights and not tower.weights.published
    assert tower.metadata()["name"] == f"unverified weights (hash {tower.sha256[:12]})"
    own = hashlib.sha256((toy / "noise.pt").read_bytes()).hexdigest()
    monkeypatch.setattr(_weights, "published_sha256", lambda: own)
    _tower.loaded.cache_clear()
    tower = load_text_tower(spec_of(toy / "noise.pt"))
    assert tower.weights == TextWeights(tower.sha256, published=True)
    assert tower.metadata()["name"] == "OpenAI's CLIP ViT-B/16"


def test_the_published_hash_stands_in_the_address_that_open_clip_checks_it_by(monkeypatch):
    address = open_clip.get_pretrained_cfg("ViT-B-16-quickgelu", "openai")["url"]
    assert len(published_sha256()) == 64 and address.endswith(f"/{published_sha256()}/ViT-B-16.pt")
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: {"url": "https://elsewhere/ViT-B-16.pt"})
    with pytest.raises(
        ValueError, match="no longer publishes the hash of OpenAI's weights in their address https://else"
    ):
        published_sha256()


def test_weights_that_are_not_the_runs_are_refused(toy):
    torch.save(trained_clip().state_dict(), toy / "weights.pt")
    spec = spec_of(toy / "weights.pt")
    tower = load_text_tower(spec)
    assert load_text_tower(replace(spec, weights=tower.sha256)) is tower
    sentence = rf"weights\.pt\) have the hash {tower.sha256[:12]}, those of the run 000000000000: give every machine"
    with pytest.raises(InputError, match=sentence):
        load_text_tower(replace(spec, weights="0" * 64))


def test_the_image_tower_is_dropped_and_the_rest_frozen(toy):
    torch.save(trained_clip().state_dict(), toy / "weights.pt")
    clip = load_text_tower(spec_of(toy / "weights.pt")).clip
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
    with pytest.raises(InputError, match=r"\(16, 2, 2\), not \(32, 2, 2\)"):
        load_text_tower(spec_of(toy / "weights.pt", width=32))


def test_weights_of_another_architecture_are_refused(toy):
    state = trained_clip().state_dict()
    state["text_projection"] = torch.zeros(16, 24)
    torch.save(state, toy / "wide.pt")
    with pytest.raises(InputError, match=rf"text_projection is \(16, 24\), not \(16, 16\).*{HOW}"):
        load_text_tower(spec_of(toy / "wide.pt"))
    del state["text_projection"]
    torch.save(state, toy / "without.pt")
    with pytest.raises(InputError, match="text_projection is absent"):
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
    with pytest.raises(InputError, match=f"not OpenAI's.*{HOW}"):
        load_text_tower(spec_of(toy / "reproduction.pt"))


def test_untrained_weights_are_refused(toy):
    state = trained_clip().state_dict()
    state["logit_scale"].fill_(2.6593)
    torch.save(state, toy / "untrained.pt")
    with pytest.raises(InputError, match=r"exp\(logit_scale\) is 14.29, not 100"):
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
    _tower.loaded.cache_clear()
    load_text_tower(spec)
    assert asked == [True]
    _tower.loaded.cache_clear()
    with pytest.raises(InputError, match=f"hub does not answer.*{HOW}"):
        load_text_tower(spec)
    assert asked == [True, True, False]


@pytest.mark.parametrize("filename", ["weights.safetensors", "state_dict.pt", "archive.pt"])
def test_a_file_is_what_it_holds_and_not_what_it_is_called(toy, filename, monkeypatch):
    """The hub's cache links a name to a file without an ending; people rename files."""
    clip = trained_clip()
    expected = sha256_of(text_state(clip))
    SAVE[filename](clip, toy / filename)
    publish(monkeypatch, toy / filename)
    for name in ("blob", "called.safetensors", "called.pt"):
        (toy / name).write_bytes((toy / filename).read_bytes())
        assert load_text_tower(spec_of(toy / name)).sha256 == expected


def test_an_archive_is_a_program_and_opened_only_if_its_hash_is_published(toy, monkeypatch):
    save_torchscript(trained_clip(), toy / "archive.pt")
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(InputError, match=rf"archive\.pt is a TorchScript archive, .* is not opened: get {HOW}"):
        load_text_tower(spec_of(toy / "archive.pt"))


def test_the_published_archives_are_openais_own():
    assert published_sha256() in _weights.published_archives() and len(_weights.published_archives()) == 9


def test_a_file_that_the_system_refuses_says_so_and_not_how_to_get_it(toy, monkeypatch):
    torch.save(trained_clip().state_dict(), toy / "weights.pt")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"weights\.pt cannot be read \(Permission denied\): see to it$"):
        load_text_tower(spec_of(toy / "weights.pt"))
