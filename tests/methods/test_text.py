import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import normalize

from benchmark.contracts import TextTowerSpec, Unsupported
from methods import ROWS
from methods._text import PromptEncoder, _encoded, cosine_logits, encode_texts, prefix_tree
from methods._tower import TextTower, load_text_tower
from towers import made
from vision import ATTRIBUTES, CLASSES, vision_task

SMALL = TextTowerSpec(name="random", width=16, layers=2, heads=2)
PROMPTS = {
    "CoCoOp, 4 tokens": [(range(4), f"{name}.") for name in CLASSES],
    "CoCoOp, 16 tokens": [(range(16), f"{name}.") for name in CLASSES],
    "classes and attributes": [(range(4), f"{name}.") for name in CLASSES + ATTRIBUTES],
    "class first": [(name, range(4), ".") for name in CLASSES],
    "OrdinalCLIP: a rank token each": [(range(10), range(10 + rank, 11 + rank), ".") for rank in range(3)],
    "slots in the middle, one prompt twice": [("a", range(2), "nodule"), ("a", range(1, 2)), ("a", range(1, 2))],
}


def tower_of(spec: TextTowerSpec, dtype: torch.dtype) -> TextTower:
    """Return the tower with every number moved, as weights are after training (at the start, norms are identities)."""
    tower = load_text_tower(spec)
    clip = copy.deepcopy(tower.clip).to(dtype)
    generator = torch.Generator().manual_seed(0)
    for parameter in [*clip.transformer.parameters(), *clip.ln_final.parameters()]:
        parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return dataclasses.replace(tower, clip=clip)


def plain_pass(tower: TextTower, prompts, slots):
    """Encode prompt by prompt as open_clip does: 77 tokens, its transformer and mask, the feature at the largest id."""
    clip, features = tower.clip, []
    for image in slots:
        for prompt in prompts:
            words, position, positions = [], 1, {}
            for part in prompt:
                words.append(part if isinstance(part, str) else "X " * len(part))
                if not isinstance(part, str):
                    positions |= {position + offset: slot for offset, slot in enumerate(part)}
                position += len(tower.tokenizer.encode(words[-1]))
            tokens = tower.tokenizer([" ".join(words)])
            rows = [image[positions[i]] if i in positions else clip.token_embedding(tokens[0, i]) for i in range(77)]
            x = torch.stack(rows) + clip.positional_embedding
            x = clip.ln_final(clip.transformer(x[None], attn_mask=clip.attn_mask))
            features.append(x[0, tokens.argmax()] @ clip.text_projection)
    return normalize(torch.stack(features), dim=1).unflatten(0, (len(slots), len(prompts)))


def assert_equal_to_plain_pass(tower: TextTower, prompts, batch: int) -> None:
    """Compare features, and the gradient of a random weighting of them, relative to its largest element."""
    encoder = PromptEncoder(tower, prompts)
    dtype, generator = tower.clip.text_projection.dtype, torch.Generator().manual_seed(1)
    slots = 0.02 * torch.randn(batch, encoder.num_slots, tower.width, generator=generator, dtype=dtype)
    slots.requires_grad_()
    features, expected = encoder(slots), plain_pass(tower, prompts, slots)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(features, expected, atol=tolerance, rtol=0)
    weighting = torch.randn(expected.shape, generator=generator, dtype=dtype)
    gradient, expected_gradient = (torch.autograd.grad((f * weighting).sum(), slots)[0] for f in (features, expected))
    largest = expected_gradient.abs().max()
    torch.testing.assert_close(gradient / largest, expected_gradient / largest, atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS)
def test_equals_open_clips_own_pass_with_gradients(prompts, dtype):
    assert_equal_to_plain_pass(tower_of(SMALL, dtype), prompts, batch=3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_open_clips_own_pass_at_openais_size(dtype):
    tower = load_text_tower(TextTowerSpec(name="random", width=512, layers=12, heads=8))
    tower = dataclasses.replace(tower, clip=copy.deepcopy(tower.clip).to(dtype))
    assert_equal_to_plain_pass(tower, PROMPTS["CoCoOp, 4 tokens"], batch=1)


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_equals_open_clips_own_pass_with_either_activation_and_more_features_than_width(activation):
    tower = made(64, 3, activation, features=96)
    assert_equal_to_plain_pass(tower, PROMPTS["class first"], batch=2)


def test_equals_open_clips_own_pass_with_a_single_layer():
    tower = tower_of(TextTowerSpec(name="random", width=16, layers=1, heads=2), torch.float64)
    assert_equal_to_plain_pass(tower, PROMPTS["class first"], batch=2)


word = st.sampled_from(["benign", "malignant", "nodule", "a", ".", "sub-solid"])
part = st.one_of(word, st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda ends: range(ends[0], ends[1] + 1)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(part, max_size=4).map(tuple), min_size=1, max_size=4))
def test_any_mixture_of_text_and_slots_equals_the_plain_pass(prompts):
    every_slot = (range(4), "so that no slot is missing")
    assert_equal_to_plain_pass(tower_of(SMALL, torch.float64), [*prompts, every_slot], batch=2)


def test_fixed_texts_equal_open_clips_encode_text():
    tower = tower_of(SMALL, torch.float64)
    texts = [f"a nodule image of {name}." for name in CLASSES] + list(ATTRIBUTES)
    expected = tower.clip.encode_text(tower.tokenizer(texts), normalize=True)
    torch.testing.assert_close(encode_texts(tower, texts), expected, atol=1e-12, rtol=0)


def test_fixed_texts_are_encoded_once_a_process_and_are_each_callers_own(monkeypatch):
    passes, tower = [], tower_of(SMALL, torch.float32)
    monkeypatch.setattr(PromptEncoder, "forward", counting(PromptEncoder.forward, passes))
    first, second = encode_texts(tower, ["benign.", "malignant."]), encode_texts(tower, ("benign.", "malignant."))
    assert len(passes) == 1 and first.equal(second)
    first.zero_()
    assert encode_texts(tower, ["benign.", "malignant."]).equal(second) and len(passes) == 1
    encode_texts(tower, ["malignant.", "benign."])
    assert not encode_texts(tower_of(SMALL, torch.float32), ["benign.", "malignant."]).equal(first)
    assert len(passes) == 3


def counting(forward, passes: list[int]):
    """Return a forward pass that notes how many slots it was given."""

    def counted(self, slots):
        passes.append(slots.shape[1])
        return forward(self, slots)

    return counted


def test_two_methods_of_one_task_read_their_texts_from_one_pass(monkeypatch):
    task, passes = vision_task(), []
    monkeypatch.setattr(PromptEncoder, "forward", counting(PromptEncoder.forward, passes))
    _encoded.cache_clear()
    assert ROWS["clip"].build(task).text_features.equal(ROWS["clip"].build(task).text_features) and passes == [0]


@pytest.mark.parametrize(
    ("prompts", "nodes"),
    [("CoCoOp, 4 tokens", 15), ("CoCoOp, 16 tokens", 27), ("classes and attributes", 48), ("class first", 23)],
)
def test_the_tree_has_a_node_for_each_distinct_prefix(prompts, nodes):
    assert len(PromptEncoder(tower_of(SMALL, torch.float32), PROMPTS[prompts]).mask) == nodes


def test_a_node_descends_from_its_prefixes_only():
    nodes, ancestors, ends = prefix_tree([[-1, 5, 6], [-1, 7], [8]])
    assert nodes == [(-1,), (8,), (-1, 5), (-1, 7), (-1, 5, 6)] and ends == [4, 3, 1]
    assert [row.nonzero().flatten().tolist() for row in ancestors] == [[0], [1], [0, 2], [0, 3], [0, 2, 4]]


def test_shared_slots_give_what_every_image_gets_from_a_copy():
    encoder = PromptEncoder(tower_of(SMALL, torch.float64), PROMPTS["CoCoOp, 4 tokens"])
    shared = torch.randn(1, 4, 16, dtype=torch.float64)
    torch.testing.assert_close(encoder(shared).expand(3, -1, -1), encoder(shared.expand(3, -1, -1)))


def test_an_image_alone_gets_what_it_gets_in_a_batch():
    encoder = PromptEncoder(tower_of(SMALL, torch.float64), PROMPTS["class first"])
    slots = torch.randn(4, 4, 16, dtype=torch.float64)
    torch.testing.assert_close(encoder(slots)[2:3], encoder(slots[2:3]))
    torch.testing.assert_close(encoder(slots).norm(dim=2), torch.ones(4, 3, dtype=torch.float64))


def test_the_frozen_weights_are_neither_parameters_nor_state_and_move_with_the_method():
    class Learner(nn.Module):
        def __init__(self):
            super().__init__()
            self.context = nn.Parameter(torch.zeros(4, 16))
            self.prompts = PromptEncoder(load_text_tower(SMALL), PROMPTS["CoCoOp, 4 tokens"])

    learner = Learner()
    assert [name for name, _ in learner.named_parameters()] == ["context"]
    assert list(learner.state_dict()) == ["context"]
    assert not any(buffer.requires_grad for buffer in learner.buffers())
    learner.to("meta")
    assert {buffer.device.type for buffer in learner.buffers()} == {"meta"}
    assert load_text_tower(SMALL).clip.text_projection.device.type == "cpu"


def test_a_step_of_the_context_leaves_the_tower_as_it_was():
    encoder = PromptEncoder(load_text_tower(SMALL), PROMPTS["CoCoOp, 4 tokens"])
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    context = nn.Parameter(torch.randn(1, 4, 16))
    encoder.train()(context).sum().backward()
    torch.optim.SGD([context], lr=1.0).step()
    assert all(torch.equal(before[name], buffer) for name, buffer in encoder.named_buffers())


def test_a_prompt_that_just_fits_is_read_and_a_longer_one_refused():
    tower = tower_of(SMALL, torch.float64)
    assert_equal_to_plain_pass(tower, [(range(74), "unsure")], batch=1)
    with pytest.raises(Unsupported, match=r"has 78 tokens with start and end, but CLIP reads 77"):
        PromptEncoder(tower, [(range(74), "benign")])
    with pytest.raises(Unsupported, match="CLIP reads 77"):
        encode_texts(tower, ["nodule " * 30])


def test_slots_must_be_numbered_without_a_gap_and_all_filled():
    tower = load_text_tower(SMALL)
    with pytest.raises(ValueError, match=r"use slots \[0, 2\]; number them from 0"):
        PromptEncoder(tower, [(range(0, 3, 2), "benign")])
    with pytest.raises(ValueError, match="have 4 slots, but 3 embeddings"):
        PromptEncoder(tower, PROMPTS["class first"])(torch.zeros(1, 3, 16))


def test_cosine_logits_ignore_the_length_of_image_features():
    image, text = torch.randn(3, 16), normalize(torch.randn(5, 16), dim=1)
    scale = torch.tensor(2.0)
    torch.testing.assert_close(cosine_logits(7 * image, text, scale), cosine_logits(image, text, scale))


def test_cosine_logits_take_each_images_own_texts_and_groups_of_features():
    images, texts = normalize(torch.randn(3, 2, 16), dim=2), normalize(torch.randn(3, 5, 16), dim=2)
    expected = torch.stack([image @ text.T for image, text in zip(images, texts, strict=True)])
    torch.testing.assert_close(cosine_logits(images, texts[:, None], torch.tensor(0.0)), expected)
