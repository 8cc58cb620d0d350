from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmark.contracts import EncoderSpec
from methods._encoder import Encoder
from vision import vision_task

DEEP = EncoderSpec((8, 8, 16, 64), (1, 1, 1, 1), "deep")
POOLED = EncoderSpec((8, 8, 16, 64), (1, 1, 1, 1), "pooled")
PLAIN = EncoderSpec((8, 8, 16, 64), (1, 1, 1, 1), "3x3")


def build(spec: EncoderSpec, slices: int = 5) -> Encoder:
    torch.manual_seed(0)
    return Encoder(vision_task(encoder=spec, image_shape=(slices, 32, 32))).eval()


@pytest.mark.parametrize("spec", [DEEP, POOLED, PLAIN], ids=["deep", "pooled", "3x3"])
def test_slices_are_channels_and_the_map_is_four_by_four(spec):
    encoder, images = build(spec), torch.rand(2, 5, 32, 32)
    maps = encoder(images)
    assert maps.shape == (2, 64, 4, 4) and encoder.width == 64
    assert torch.equal(encoder.pooled(images), maps.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("slices", "looked_at"), [(1, [2]), (2, [1, 2]), (3, [1, 2, 3]), (5, range(5)), (None, range(5))]
)
def test_only_the_central_slices_are_looked_at(slices, looked_at):
    encoder, images = build(replace(POOLED, slices=slices)), torch.rand(2, 5, 32, 32)
    maps = encoder(images)
    for index in range(5):
        other = images.clone()
        other[:, index] = torch.rand(2, 32, 32)
        assert torch.equal(encoder(other), maps) == (index not in looked_at)


def test_a_crop_of_fewer_slices_gives_what_it_has():
    assert build(replace(POOLED, slices=8), slices=3)(torch.rand(2, 3, 32, 32)).shape == (2, 64, 4, 4)


@pytest.mark.parametrize(("spec", "stage"), [(DEEP, 16), (POOLED, 8)], ids=["deep", "pooled"])
def test_no_stage_is_dilated_and_the_first_sees_what_the_stem_leaves(spec, stage):
    net = build(spec).net
    assert {m.dilation for m in net.modules() if isinstance(m, nn.Conv2d)} == {(1, 1)}
    seen = []
    net.layer1.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[2:]))
    net(torch.rand(1, 5, 32, 32))
    assert seen == [(stage, stage)]


def test_the_plain_stem_is_one_convolution_of_stride_one_by_he():
    stem = build(PLAIN, slices=32).net.conv1
    assert stem.weight.shape == (64, 32, 3, 3) and stem.stride == (1, 1) and stem.bias is None
    assert stem.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)  # fan out
    assert not [module for module in build(PLAIN).modules() if isinstance(module, nn.MaxPool2d)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_runs_in_the_precision_that_it_is_in(dtype):
    assert build(DEEP).to(dtype).pooled(torch.rand(1, 5, 32, 32).to(dtype)).dtype == dtype


def test_the_papers_encoder_is_resnet18_with_its_wide_map():
    with torch.device("meta"):  # a shape needs no numbers
        encoder = Encoder(vision_task(encoder=EncoderSpec(), image_shape=(32, 32, 32)))
        assert encoder(torch.empty(1, 32, 32, 32)).shape == (1, 512, 4, 4)
    # ResNet-18's published 11,689,512, less the last layer, with another first one.
    expected = 11_689_512 - 513_000 + 64 * 9 * 32 - 64 * 49 * 3
    assert sum(p.numel() for p in encoder.parameters()) == expected
