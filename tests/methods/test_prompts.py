from math import log

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmark.contracts import TextTowerSpec, Unsupported
from methods._attributes import require_attributes
from methods._prompts import (
    ConditionalPrompts,
    derangement,
    image_class_loss,
    meta_net,
    random_context,
    require_four_by_four,
)
from methods._text import encode_texts
from methods._tower import load_text_tower
from vision import ATTRIBUTES, CLASSES, TOWER, vision_task


def learned(module) -> int:
    return sum(p.numel() for p in module.parameters())


def prompts_of(context: str = "a photo of a", **options) -> ConditionalPrompts:
    torch.manual_seed(0)
    tower = load_text_tower(TOWER)
    return ConditionalPrompts(tower, CLASSES, tower.embed(context), **options)


def features(batch: int, tokens: int = 1) -> torch.Tensor:
    return torch.randn(batch, tokens, TOWER.width, generator=torch.Generator().manual_seed(1))


def test_parameter_counts_at_the_papers_width():
    tower = load_text_tower(TextTowerSpec(name="random", width=512, layers=1, heads=1))
    assert learned(meta_net(512)) == 33_312
    assert learned(ConditionalPrompts(tower, CLASSES, tower.embed("a photo of a"))) == 4 * 512 + 33_312
    assert learned(ConditionalPrompts(tower, CLASSES, random_context(16, 512))) == 16 * 512 + 33_312


def moved(prompts: ConditionalPrompts) -> ConditionalPrompts:
    """As after some training: the last layer of the meta-net is no longer zero."""
    torch.manual_seed(0)
    torch.nn.init.normal_(prompts.meta_net[2].weight)
    return prompts


def test_training_starts_from_the_words_alone():
    prompts, tower = prompts_of(), load_text_tower(TOWER)
    plain = encode_texts(tower, [f"a photo of a {name}." for name in CLASSES])
    torch.testing.assert_close(prompts(features(5)), plain.expand(5, -1, -1), atol=1e-5, rtol=0)


def test_the_name_may_come_first():
    prompts, tower = prompts_of(name_first=True), load_text_tower(TOWER)
    plain = encode_texts(tower, [f"{name} a photo of a." for name in CLASSES])
    torch.testing.assert_close(prompts(features(1))[0], plain, atol=1e-5, rtol=0)


def test_each_image_has_its_own_prompts_whatever_the_length_of_its_features():
    prompts, images = moved(prompts_of()), features(5, 4)
    text = prompts(images)
    assert not torch.allclose(text[0], text[1], atol=1e-4)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(prompts(7 * images[order]), text[order], atol=1e-5, rtol=0)


def test_a_token_is_moved_by_its_own_group():
    prompts, images = moved(prompts_of()), features(1, 4)
    seen = []
    prompts.encode.register_forward_pre_hook(lambda _, slots: seen.append(slots[0]))
    prompts(images)
    changed = images.clone()
    changed[:, 2] += 1
    prompts(changed)
    assert [not torch.equal(*pair) for pair in zip(seen[0][0], seen[1][0], strict=True)] == [False, False, True, False]


def test_gradient_reaches_context_and_meta_net_and_no_text_weight():
    prompts, tower = moved(prompts_of()), load_text_tower(TOWER)
    prompts(features(2)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in prompts.parameters())
    assert {name.split(".")[0] for name, _ in prompts.named_parameters()} == {"context", "meta_net"}
    assert all(p.grad is None for p in tower.clip.parameters())


def test_the_last_layer_that_starts_at_zero_learns_at_once():
    prompts = prompts_of()
    prompts(features(2)).sum().backward()
    assert prompts.meta_net[2].weight.grad.any() and prompts.meta_net[2].bias.grad.any()


def test_state_holds_no_tower():
    assert {name.split(".")[0] for name in prompts_of().state_dict()} == {"context", "meta_net"}


def test_a_context_without_tokens_is_refused():
    with pytest.raises(ValueError, match="the initial context has no token"):
        prompts_of("")


def test_words_that_leave_no_name_a_place_are_refused_and_a_name_too_long_for_them_is_the_tasks():
    with pytest.raises(ValueError, match="75 tokens leaves no room for a name: CLIP reads 77"):
        prompts_of("a " * 74)
    with pytest.raises(Unsupported, match="has 78 tokens with start and end, but CLIP reads 77"):
        prompts_of("a " * 73)


def test_a_width_without_a_sixteenth_is_refused():
    with pytest.raises(Unsupported, match="multiple of 16, not 40"):
        meta_net(40)


def test_equal_similarities_cost_ln_three_in_every_group():
    torch.testing.assert_close(image_class_loss(torch.ones(2, 16, 3), torch.tensor([0, 2])), torch.full((2,), log(3)))


def test_permuting_the_batch_permutes_the_images_losses():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 4, 3, generator=generator), torch.tensor([0, 1, 2, 2, 0, 1])
    losses, order = image_class_loss(logits, labels), torch.tensor([5, 3, 0, 1, 4, 2])
    torch.testing.assert_close(image_class_loss(logits[order], labels[order]), losses[order])
    torch.testing.assert_close(losses[3], cross_entropy(logits[3], torch.full((4,), 2)))


@pytest.mark.parametrize(
    ("attributes", "reason"), [((), "this task has none"), ((*ATTRIBUTES, "malignancy"), "labels are made from it")]
)
def test_no_attributes_and_malignancy_among_them_are_refused(attributes, reason):
    with pytest.raises(Unsupported, match=reason):
        require_attributes(vision_task(attribute_names=attributes))


@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_shuffle_leaves_nothing_in_its_place_and_depends_on_its_seed_alone(count):
    for seed in range(20):
        torch.manual_seed(seed)
        order = derangement(count, seed)
        assert sorted(order) == list(range(count)) and all(place != i for i, place in enumerate(order))
        drawn = torch.rand(())
        torch.manual_seed(seed)
        assert torch.equal(torch.rand(()), drawn)  # the global generator is left alone
        torch.manual_seed(99)
        assert derangement(count, seed) == order
    assert count == 2 or len({tuple(derangement(count, seed)) for seed in range(20)}) > 1


def test_one_text_cannot_be_shuffled():
    with pytest.raises(Unsupported, match="nothing to shuffle"):
        derangement(1, 0)


def test_images_that_give_another_map_are_refused():
    require_four_by_four(vision_task(image_shape=(2, 25, 32)))
    with pytest.raises(Unsupported, match="slices of 32 x 64"):
        require_four_by_four(vision_task(image_shape=(2, 32, 64)))
