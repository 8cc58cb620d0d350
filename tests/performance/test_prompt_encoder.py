"""Prompt encoder against the plain loop: a 77-token pass for each image, its prompts as a batch.

    python -m pytest tests/performance/test_prompt_encoder.py -o addopts=--import-mode=importlib -s

(without the project's own options: these switch benchmarks off, and shape checks on, which cost more than the quick
tower). Both run in one process by turns, on one thread, timed in processor seconds; the ratio is printed, and recorded
with `--benchmark-json FILE`. The default run of the tests only checks that both give the same.
"""

import statistics
import time

import pytest
import torch
from torch.nn.functional import normalize

from benchmark.contracts import TextTowerSpec
from methods._text import PromptEncoder
from methods._tower import load_text_tower
from vision import ATTRIBUTES, CLASSES

QUICK = TextTowerSpec(name="random", width=64, layers=2, heads=2)
PAPER = TextTowerSpec(name="random", width=512, layers=12, heads=8)
CASES = {"CoCoOp 4": (CLASSES, 4), "CoCoOp 16": (CLASSES, 16), "classes and attributes": (CLASSES + ATTRIBUTES, 4)}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def plain_loop(tower, names, context):
    """Return what `PromptEncoder` returns, image by image through open_clip's transformer."""
    clip, num_slots = tower.clip, context.shape[1]
    tokens = tower.tokenizer(["X " * num_slots + f"{name}." for name in names])
    embeddings, rows, features = clip.token_embedding(tokens), torch.arange(len(names)), []
    for image in context:
        slots = image.expand(len(names), -1, -1)
        x = torch.cat([embeddings[:, :1], slots, embeddings[:, 1 + num_slots :]], dim=1) + clip.positional_embedding
        x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask))
        features.append(normalize(x[rows, tokens.argmax(dim=1)] @ clip.text_projection, dim=1))
    return torch.stack(features)


def held_by_graph(encode, context, modules) -> int:
    """Return how many bytes a forward pass keeps for its backward pass, each block of memory once, weights not."""
    blocks, weights = {}, {t.untyped_storage().data_ptr() for m in modules for t in (*m.parameters(), *m.buffers())}

    def keep(tensor):
        block = tensor.untyped_storage()
        if block.data_ptr() not in weights:
            blocks[block.data_ptr()] = block.nbytes(), tensor  # the tensor, so that nothing else comes to lie there
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outcome = encode(context.clone().requires_grad_())
    assert outcome.requires_grad
    return sum(size for size, _ in blocks.values())


def run(encode, context, backward: bool) -> torch.Tensor:
    """Return the features, or their sum's gradient."""
    if not backward:
        with torch.no_grad():
            return encode(context)
    context = context.clone().requires_grad_()
    encode(context).sum().backward()
    return context.grad


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward and backward"])
@pytest.mark.parametrize(("names", "num_slots"), CASES.values(), ids=CASES)
@pytest.mark.parametrize(("spec", "looped"), [(QUICK, 32), (PAPER, 2)], ids=["quick tower", "paper's tower"])
def test_prompt_encoder(benchmark, spec, looped, names, num_slots, backward):
    if spec is PAPER and not benchmark.enabled:
        pytest.skip("minutes; runs where benchmarks are on")
    tower = load_text_tower(spec)
    encoder = PromptEncoder(tower, [(range(num_slots), f"{name}.") for name in names])
    context = 0.02 * torch.randn(32, num_slots, spec.width, generator=torch.Generator().manual_seed(0))
    seconds = []

    def time_plain_loop():
        """Time it on the first images only, for it is linear in them."""
        start = time.process_time()
        outcome = run(lambda images: plain_loop(tower, names, images), context[:looped], backward)
        seconds.append((time.process_time() - start) * len(context) / looped)
        expected = run(encoder, context, backward)[:looped]
        torch.testing.assert_close(outcome, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)

    rounds = (10 if spec is QUICK else 7) if benchmark.enabled else 1
    benchmark.pedantic(run, (encoder, context, backward), setup=time_plain_loop, rounds=rounds)
    if benchmark.enabled:
        plain, packed = statistics.median(seconds), benchmark.stats.stats.median
        benchmark.extra_info.update(plain_loop_s=plain, times_faster=plain / packed)
        print(f"\n{1e3 * packed:.1f} ms against {1e3 * plain:.0f} ms: {plain / packed:.1f} times faster")


@pytest.mark.parametrize(
    ("spec", "case"),
    [*((QUICK, case) for case in CASES), (PAPER, "CoCoOp 16")],  # the paper's T is 16; there the loop is nearest
)
def test_its_graph_holds_at_most_half_of_the_loops_bytes(spec, case):
    (names, num_slots), tower = CASES[case], load_text_tower(spec)
    encoder = PromptEncoder(tower, [(range(num_slots), f"{name}.") for name in names])
    context = 0.02 * torch.randn(2, num_slots, spec.width, generator=torch.Generator().manual_seed(0))
    modules = encoder, tower.clip
    ours = held_by_graph(encoder, context, modules)
    loops = held_by_graph(lambda images: plain_loop(tower, names, images), context, modules)
    assert ours <= 0.5 * loops, f"{ours / 2**20:.1f} of {loops / 2**20:.1f} MiB"
