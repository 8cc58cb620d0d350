import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from methods._text import encode_texts
from methods._tower import load_text_tower
from methods.kgcoop import KgCoOp, knowledge_loss
from vision import CLASSES, TOWER, vision_batch, vision_task


def build(**options) -> KgCoOp:
    torch.manual_seed(0)
    return KgCoOp(vision_task(), **options).eval()


def test_the_knowledge_loss_equals_the_hand_computed_value():
    """Formula: authors' code, 1 - mean of the cosines; the paper's mean squared distance is twice that."""
    learned = torch.tensor([[0.6, 0.8], [0.0, 1.0]], dtype=torch.float64)
    handwritten = torch.tensor([[1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    loss = knowledge_loss(learned, handwritten)
    assert loss.item() == pytest.approx(1.2, abs=1e-6)  # (1 - 0.6 + 1 + 1) / 2
    torch.testing.assert_close(2 * loss, (learned - handwritten).square().sum(1).mean())


def test_the_loss_is_cross_entropy_plus_eight_times_it():
    method, batch = build(), vision_batch()
    terms = method.loss(batch)
    assert list(terms) == ["ce", "kg"]
    cosines = cosine_similarity(method.encoder.pooled(batch.images)[:, None], method.prompts()[None], dim=2)
    torch.testing.assert_close(terms["ce"], cross_entropy(cosines / 0.07, batch.labels))
    torch.testing.assert_close(terms["kg"], 8 * knowledge_loss(method.prompts(), method.handwritten))
    torch.testing.assert_close(build(weight=2.0).loss(batch)["kg"], terms["kg"] / 4)
    torch.testing.assert_close(method.predict_proba(batch.images), (cosines / 0.07).softmax(dim=1))


def test_the_context_starts_from_words_and_is_held_near_what_somebody_wrote():
    tower = load_text_tower(TOWER)
    method = build()
    torch.testing.assert_close(method.prompts.context, tower.embed("a photo of a"))
    written = encode_texts(tower, [f"a nodule image of {name}." for name in CLASSES])
    assert torch.equal(method.handwritten, written)
    same = build(context="a nodule image of")
    assert same.loss(vision_batch())["kg"].item() == pytest.approx(0, abs=1e-5)


def test_the_knowledge_reaches_the_context_alone():
    method = build()
    method.loss(vision_batch())["kg"].backward()
    assert [name for name, p in method.named_parameters() if p.grad is not None] == ["prompts.context"]
    assert method.prompts.context.grad.any()


def test_a_prompt_without_a_place_for_the_class_is_refused():
    with pytest.raises(ValueError, match=r"has no {} for the class name"):
        build(prompt="a nodule.")
