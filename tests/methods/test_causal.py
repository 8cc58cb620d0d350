"""Text towers of CLIP's kind from anywhere: what is read, what is computed, what is refused."""

import copy
import dataclasses
import hashlib
import json
import struct

import huggingface_hub
import open_clip
import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.torch import save_file

import towers
from benchmark.contracts import InputError, TextConfig, TextTowerSpec, TextWeights
from methods import _named, _place
from methods._describe import describe
from methods._named import NAMED, Named
from methods._text import PromptEncoder, encode_texts
from methods._tower import for_images, load_text_tower, loaded
from towers import made

TEXTS = ["a nodule image of benign.", "spiculation"]
LAYOUTS = {
    "open_clip": lambda config, clip: (config, clip.state_dict()),
    "custom text": lambda config, clip: (config | {"custom_text": True}, towers.custom_text(clip.state_dict())),
    "from the trainer": lambda config, clip: (
        config,
        {"epoch": 1, "state_dict": {f"module.{name}": tensor for name, tensor in clip.state_dict().items()}},
    ),
}


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
@pytest.mark.parametrize(
    ("width", "layers", "context"),
    [
        *((64, layers, 77) for layers in range(1, 13)),
        (384, 1, 77),
        (384, 12, 12),
        (512, 2, 77),
        (768, 1, 77),
        (768, 12, 12),
    ],
)
def test_any_tower_of_clips_kind_is_encoded_as_open_clip_does(width, layers, context, activation):
    tower = made(width, layers, activation, context)
    expected = tower.clip.encode_text(tower.tokenizer(TEXTS), normalize=True)
    torch.testing.assert_close(encode_texts(tower, TEXTS), expected, atol=1e-12, rtol=0)


def test_the_two_activations_differ_and_tanhs_approximation_is_neither():
    one, other = (encode_texts(made(64, 2, activation), TEXTS) for activation in ("gelu", "quick_gelu"))
    assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_open_clip_gives_the_same_tower(tmp_path, layout, quick):
    config = towers.model_cfg(quick)
    clip = towers.clip_of(config)
    expected = clip.encode_text(open_clip.tokenize(TEXTS), normalize=True)
    tower = load_text_tower(describe(towers.write(tmp_path / "model", *LAYOUTS[layout](config, clip))))
    torch.testing.assert_close(encode_texts(tower, TEXTS), expected, atol=1e-5, rtol=1e-5)
    assert tower.spec.config == TextConfig(24, "quick_gelu" if quick else "gelu", 64)
    assert (tower.width, tower.features, tower.spec.layers, tower.spec.heads) == (16, 24, 2, 2)
    state = {name: tensor for name, tensor in clip.state_dict().items() if not name.startswith("visual.")}
    assert tower.sha256 == sha256_of(state)


def sha256_of(state: dict[str, torch.Tensor]) -> str:
    content = b""
    for name in sorted(state):
        values = state[name].float().flatten().tolist()
        content += f"{name} {tuple(state[name].shape)} ".encode() + struct.pack(f"<{len(values)}f", *values)
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("quick", [True, False])
def test_transformers_layout_is_the_same_tower_with_the_same_hash(tmp_path, quick):
    clip = towers.clip_of(towers.model_cfg(quick))
    one = load_text_tower(describe(towers.write(tmp_path / "one", towers.model_cfg(quick), clip.state_dict())))
    config, state = towers.transformers(clip)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    save_file(state, tmp_path / "other" / "model.safetensors")
    other = load_text_tower(describe(f"local-dir:{tmp_path / 'other'}"))
    assert other.sha256 == one.sha256 and dataclasses.replace(other.spec, path="") == dataclasses.replace(
        one.spec, path=""
    )
    torch.testing.assert_close(encode_texts(other, TEXTS), encode_texts(one, TEXTS), atol=0, rtol=0)


def test_what_transformers_leaves_out_is_as_in_clips_base_model(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", "text_config": {}}))
    spec = describe(f"local-dir:{tmp_path}")
    assert spec == TextTowerSpec("causal", f"local-dir:{tmp_path}", config=TextConfig(512, "quick_gelu", 2048))


def test_hidden_units_and_context_are_the_configurations(tmp_path):
    config = towers.model_cfg(width=28, context_length=32, mlp_ratio=61.5 / 28)  # 28 * (61 / 28) is less than 61
    clip = towers.clip_of(config)
    tower = load_text_tower(describe(towers.write(tmp_path / "model", config, clip.state_dict())))
    assert tower.spec.config == TextConfig(24, "quick_gelu", 61, 32)
    expected = clip.encode_text(tower.tokenizer(TEXTS), normalize=True)
    torch.testing.assert_close(encode_texts(tower, TEXTS), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="CLIP reads 32"):
        tower.require_room(30)


@pytest.fixture
def small(tmp_path):
    """A model's folder, its configuration and its tensors."""
    config = towers.model_cfg()
    state = towers.clip_of(config).state_dict()
    towers.write(tmp_path / "model", config, state)
    return tmp_path / "model", config, state


def test_a_tower_is_named_by_where_it_came_from_and_never_by_a_path(small):
    tower = load_text_tower(describe(f"local-dir:{small[0]}"))
    named = f"local-dir:model, unverified weights (hash {tower.sha256[:12]})"
    assert tower.weights == TextWeights(tower.sha256, False, "local-dir:model") and tower.weights.title == named
    said = json.loads(json.dumps(tower.metadata()))
    assert said["name"] == named and said["sha256"] == tower.sha256 and said["projection"] is None
    assert (said["kind"], said["activation"], said["features"], said["tokenizer"]) == (
        "causal",
        "quick_gelu",
        24,
        "clip",
    )
    assert str(small[0].parent) not in json.dumps(said)


CONFIGS = {
    "SigLIP": (lambda c: c | {"init_logit_bias": -10}, r"is a SigLIP \(init_logit_bias\)"),
    "CoCa": (lambda c: c | {"multimodal_cfg": {"layers": 2}}, r"is a CoCa \(multimodal_cfg\)"),
    "images alone": (lambda c: {k: v for k, v in c.items() if k != "text_cfg"}, r"has no text tower \(no text_cfg\)"),
    "no mask": (lambda c: text(c, no_causal_mask=True), r"not CLIP's causal transformer \(no_causal_mask = True\)"),
    "another pooling": (lambda c: text(c, pool_type="last"), r"\(pool_type = 'last'\)"),
    "a class token": (lambda c: text(c, embed_cls=True), r"\(embed_cls = True\)"),
    "layer scale": (lambda c: text(c, ls_init_value=1e-5), r"\(ls_init_value = 1e-05\)"),
    "another norm": (lambda c: text(c, norm_kwargs={"eps": 1e-6}), r"norm_kwargs = .*eps"),
    "tanh": (lambda c: text(c, act_kwargs={"approximate": "tanh"}), r"act_kwargs = .*tanh"),
    "a bias": (lambda c: text(c, proj_bias=True), r"\(proj_bias = True\)"),
    "another tokenizer": (lambda c: text(c, hf_tokenizer_name="facebook/xlm-v-base"), r"hf_tokenizer_name = 'facebook"),
    "other tokens": (lambda c: text(c, vocab_size=32000), r"\(vocab_size = 32000\)"),
    "an unknown word": (lambda c: text(c, rotary=True), r"\(rotary = True\)"),
    "half a layer": (lambda c: text(c, layers=1.5), r"says layers = 1.5, not a whole number"),
    "no features": (lambda c: {k: v for k, v in c.items() if k != "embed_dim"}, r"says embed_dim = None"),
    "heads": (lambda c: text(c, heads=3), r"has the width 16, no multiple of its 3 heads"),
    "a word for a truth": (lambda c: c | {"quick_gelu": "yes"}, r"damaged configuration \(mlp_ratio, quick_gelu\)"),
}


def text(config, **changes):
    return config | {"text_cfg": config["text_cfg"] | changes}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_tower_of_another_kind_is_named_and_refused_before_its_weights_are_read(tmp_path, case):
    change, sentence = CONFIGS[case]
    with pytest.raises(InputError, match=sentence) as refused:
        describe(towers.write(tmp_path / "model", change(towers.model_cfg()), {}))
    assert "local-dir:model" in str(refused.value) and "\n" not in str(refused.value)


def test_options_at_open_clips_defaults_do_not_make_another_kind(tmp_path):
    config = text(towers.model_cfg(), no_causal_mask=False, pool_type="argmax", hf_tokenizer_name="", eos_id=49407)
    assert describe(towers.write(tmp_path / "model", config, {})).config == TextConfig(24, "quick_gelu", 64)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "has no open_clip_config.json, nor a config.json of CLIP"),
        ({"open_clip_config.json": "{"}, "open_clip_config.json of local-dir:model cannot be read as JSON"),
        ({"open_clip_config.json": "[]"}, "holds no mapping"),
        ({"config.json": '{"model_type": "siglip"}'}, "nor a config.json of CLIP"),
        ({"config.json": '{"model_type": "clip", "text_config": {"hidden_act": "relu"}}'}, "has the activation 'relu'"),
        ({"config.json": '{"model_type": "clip", "text_config": {"layer_norm_eps": 1e-6}}'}, "layer_norm_eps = 1e-06"),
    ],
)
def test_a_missing_or_damaged_configuration_is_one_sentence(tmp_path, files, sentence):
    (tmp_path / "model").mkdir()
    for name, content in files.items():
        (tmp_path / "model" / name).write_text(content)
    with pytest.raises(InputError, match=sentence) as refused:
        describe(f"local-dir:{tmp_path / 'model'}")
    assert "\n" not in str(refused.value)


def refused(folder) -> str:
    with pytest.raises(InputError) as error:
        load_text_tower(describe(f"local-dir:{folder}"))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_weights_that_do_not_belong_to_the_configuration_are_refused(small):
    folder, config, state = small
    for name, tensor, sentence in (
        ("text_projection", torch.zeros(16, 8), "(text_projection is (16, 8), not (16, 24))"),
        ("ln_final.bias", None, "(ln_final.bias is absent, not (16,))"),
        ("cls_emb", torch.zeros(16), "(cls_emb is (16,), not absent)"),
        ("ln_final.bias", torch.full((16,), torch.nan), "(ln_final.bias has values that are no numbers)"),
    ):
        changed = {key: value for key, value in (state | {name: tensor}).items() if value is not None}
        towers.write(folder, config, changed)
        assert sentence in refused(folder)
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"PK\x03\x04 torn")
    assert "cannot read CLIP weights" in refused(folder)


def test_no_weights_and_weights_that_cannot_be_told_apart_are_refused_and_a_single_file_is_taken(small):
    folder, _, state = small
    (folder / "open_clip_pytorch_model.bin").rename(folder / "epoch_3.pt")
    assert load_text_tower(describe(f"local-dir:{folder}")).sha256 == sha256_of(text_side(state))
    torch.save(state, folder / "epoch_4.pt")
    loaded.cache_clear()
    assert "no file of weights that could be told from others" in refused(folder)
    (folder / "epoch_3.pt").unlink()
    (folder / "epoch_4.pt").unlink()
    assert "no file of weights" in refused(folder)


def text_side(state):
    return {name: tensor for name, tensor in state.items() if not name.startswith("visual.")}


def test_a_worker_refuses_other_weights_and_another_configuration(small):
    folder, config, state = small
    spec = describe(f"local-dir:{folder}")
    tower = load_text_tower(spec)
    assert load_text_tower(dataclasses.replace(spec, weights=tower.sha256)) is tower
    with pytest.raises(InputError, match=f"have the hash {tower.sha256[:12]}, those of the run 000000000000"):
        load_text_tower(dataclasses.replace(spec, weights="0" * 64))
    towers.write(folder, {key: value for key, value in config.items() if key != "quick_gelu"}, state)
    loaded.cache_clear()
    with pytest.raises(InputError, match="configuration of local-dir:model here is not that of the run"):
        load_text_tower(spec)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hf-hub:", "write hf-hub:OWNER/NAME"),
        ("hf-hub:model", "write hf-hub:OWNER/NAME"),
        ("hf-hub:../etc/passwd", "write hf-hub:OWNER/NAME"),
        ("local-dir:", "no folder for the text tower at ''"),
        ("local-dir:/nowhere/at/all", "no folder for the text tower at '/nowhere/at/all'"),
    ],
)
def test_a_place_that_is_none_is_refused(name, sentence):
    with pytest.raises(InputError, match=sentence):
        describe(name)


def test_other_names_are_not_ours_to_describe():
    assert describe("openai") is describe("weights.pt") is describe("C:/weights.pt") is None


class Hub:
    """A hub of one repository, that counts what it is asked."""

    def __init__(self, folder, monkeypatch, repository="somebody/model", revisions=("main",)):
        self.folder, self.repository, self.revisions, self.asked = folder, repository, revisions, []
        self.cached, self.online = set(), True
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self.download)

    def download(self, repository, name, revision=None, local_files_only=False):
        self.asked.append((name, revision, local_files_only))
        if (name, revision) in self.cached:
            return str(self.folder / name)
        if local_files_only or not self.online:
            raise LocalEntryNotFoundError("not in the cache")
        if repository != self.repository:
            raise error(GatedRepoError if repository == "closed/model" else RepositoryNotFoundError)
        if (revision or "main") not in self.revisions:
            raise error(RevisionNotFoundError)
        if not (self.folder / name).exists():
            raise error(RemoteEntryNotFoundError)
        self.cached.add((name, revision))
        return str(self.folder / name)


def error(kind: type) -> Exception:
    return kind.__new__(kind, "from the hub")


def test_the_hubs_cache_is_asked_before_the_hub_and_enough_without_a_network(small, monkeypatch):
    hub = Hub(small[0], monkeypatch)
    spec = describe("hf-hub:somebody/model")
    assert spec.path == "hf-hub:somebody/model"
    assert load_text_tower(spec).weights.name == "hf-hub:somebody/model"
    hub.online = False
    loaded.cache_clear()
    hub.asked.clear()
    load_text_tower(describe("hf-hub:somebody/model"))
    assert all(local for name, _, local in hub.asked if (name, None) in hub.cached)


def test_what_the_hub_does_not_have_or_say_is_one_sentence_each(small, monkeypatch):
    hub = Hub(small[0], monkeypatch)
    for name, sentence in (
        ("hf-hub:nobody/model", "the hub has no model nobody/model for everybody"),
        ("hf-hub:closed/model", "private or gated"),
        ("hf-hub:somebody/model@v9", "somebody/model has no revision 'v9' on the hub"),
    ):
        with pytest.raises(InputError, match=sentence):
            describe(name)
    (small[0] / "open_clip_config.json").unlink()
    with pytest.raises(InputError, match=r"hf-hub:somebody/model has no open_clip_config.json, nor a config.json"):
        describe("hf-hub:somebody/model")
    hub.online = False
    with pytest.raises(InputError, match=r"not in the hub's cache and the hub does not answer .*local-dir:PATH"):
        describe("hf-hub:somebody/model")


def test_a_revision_goes_to_the_hub_and_into_the_name(small, monkeypatch):
    hub = Hub(small[0], monkeypatch, revisions=("main", "v2"))
    spec = describe("hf-hub:somebody/model@v2")
    assert load_text_tower(spec).weights.name == "hf-hub:somebody/model@v2"
    assert {revision for _, revision, _ in hub.asked} == {"v2"}


@pytest.fixture
def named(small, monkeypatch):
    """The small model under a short name, with all that can be stated of it."""
    content = (small[0] / "open_clip_pytorch_model.bin").read_bytes()
    stated = Named(
        *("somebody/model", "a test"),
        **{"size": (16, 2, 2), "activation": "quick_gelu", "revision": "abc", "file": "open_clip_pytorch_model.bin"},
        sha256=hashlib.sha256(content).hexdigest(),
    )
    save_file({name: tensor + 1 for name, tensor in small[2].items()}, small[0] / "open_clip_model.safetensors")
    table = {"short": stated}
    monkeypatch.setattr(_named, "NAMED", table)
    monkeypatch.setattr(_place, "NAMED", table)
    Hub(small[0], monkeypatch, revisions=("abc", "main"))
    loaded.cache_clear()
    return table


def test_a_short_name_and_its_repository_mean_the_stated_commit(named):
    assert describe("short") == describe("hf-hub:somebody/model") == describe("hf-hub:somebody/model@abc")
    assert load_text_tower(describe("short")).weights.name == "hf-hub:somebody/model@abc"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"size": (16, 3, 2)}, r"has the size .*\(16, 2, 2\) and was known with \(16, 3, 2\)"),
        ({"activation": "gelu"}, "has the activation quick_gelu and was known with gelu"),
        ({"sha256": "0" * 64}, "has the SHA-256 .*, and 000000000000 is stated for it"),
    ],
)
def test_a_name_never_stands_for_another_model_than_is_stated(named, change, sentence):
    named["short"] = dataclasses.replace(named["short"], **change)
    with pytest.raises(InputError, match=sentence):
        load_text_tower(describe("short"))
    load_text_tower(describe("hf-hub:somebody/model@main"))  # another commit: nothing is stated of it


def test_the_table_is_open_clips_where_open_clip_states_it():
    stated = {}
    for model, tag in open_clip.list_pretrained():
        pretrained, config = open_clip.get_pretrained_cfg(model, tag), open_clip.get_model_config(model)
        activation = "quick_gelu" if pretrained.get("quick_gelu") else "gelu"
        if bool(config.get("quick_gelu")) == bool(pretrained.get("quick_gelu")):
            size = tuple(config["text_cfg"].get(key) for key in ("width", "layers", "heads"))
            stated[pretrained.get("hf_hub", "").rstrip("/")] = size, activation
    found = {key: stated[named.repository] for key, named in NAMED.items() if named.repository in stated}
    assert found.keys() == {"openai_l14", "laion_b16", "laion_l14"}
    assert all((NAMED[key].size, NAMED[key].activation) == what for key, what in found.items())


def test_hashes_and_commits_are_whole_or_empty():
    for named in NAMED.values():
        assert len(named.sha256) in (0, 64) and len(named.revision) in (0, 40)
        assert not named.sha256 or named.file


@pytest.mark.parametrize(("text", "image"), [(64, 16), (16, 64), (64, 63)])
def test_a_projection_is_semi_orthogonal_and_folded_into_the_tower(text, image):
    tower = made(64, 1, "quick_gelu", features=text)
    projected = for_images(tower, image)
    projection = projected.projection.double()
    assert projection.shape == (image, text) and projected.features == image and projected.width == 64
    short = projection @ projection.mT if image < text else projection.mT @ projection
    torch.testing.assert_close(short, torch.eye(min(text, image), dtype=torch.float64), atol=1e-6, rtol=0)
    upright = projection if image > text else projection.mT
    drawn = torch.randn(upright.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (upright.mT @ drawn).diagonal().min() > 0  # Gram-Schmidt's signs, whichever signs a machine's QR has
    plain = tower.clip.encode_text(tower.tokenizer(TEXTS)) @ projection.mT
    expected = torch.nn.functional.normalize(plain, dim=1)
    torch.testing.assert_close(encode_texts(projected, TEXTS), expected, atol=1e-12, rtol=0)


def test_where_widths_are_equal_there_is_no_projection_and_the_tower_is_the_very_same():
    tower = made(64, 1, "gelu")
    assert for_images(tower, 64) is tower and tower.metadata()["projection"] is None


def test_a_projection_is_the_seeds_alone_and_stands_in_the_record():
    tower = made(64, 1, "gelu")
    torch.manual_seed(1)
    first = for_images(tower, 32)
    after = torch.rand(3)
    assert for_images(tower, 32) is first
    torch.manual_seed(1)
    torch.testing.assert_close(after, torch.rand(3), atol=0, rtol=0)
    said = first.metadata()["projection"]
    assert (said["from"], said["to"], said["seed"]) == (64, 32, 0) and len(said["sha256"]) == 64
    other = for_images(dataclasses.replace(tower, spec=dataclasses.replace(tower.spec, seed=1)), 32)
    assert other.metadata()["projection"]["sha256"] != said["sha256"] and other.sha256 == first.sha256


def test_a_prompt_encoder_follows_its_projection_to_another_device():
    tower = for_images(made(64, 1, "gelu"), 32)
    encoder = PromptEncoder(dataclasses.replace(tower, clip=copy.deepcopy(tower.clip).float()), [(range(2), "x")])
    assert encoder(torch.zeros(1, 2, 64)).shape == (1, 1, 32)
    assert {buffer.device.type for buffer in encoder.to("meta").buffers()} == {"meta"}
