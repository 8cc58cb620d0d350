"""The share of attention inside the outline: closed forms, its chance levels, and the intervals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.contracts import EncoderSpec
from benchmark.figures.attention import Attention, attention, means, projected
from benchmark.figures.gradcam import grad_cam
from methods._encoder import Encoder
from vision import vision_task


def square(*sides: int, side: int = 8) -> np.ndarray:
    """Outlines of the upper left corner."""
    masks = np.zeros((len(sides), side, side), dtype=bool)
    for mask, edge in zip(masks, sides, strict=True):
        mask[:edge, :edge] = True
    return masks


def test_on_a_linear_network_the_share_is_its_closed_form() -> None:
    """Channels are u within an outline of area a and v beyond: the share is a w.u / (a w.u + (1 - a) w.v)."""
    weights, inner, outer = torch.tensor([2.0, -1.0]), torch.tensor([0.9, 0.2]), torch.tensor([0.3, 0.4])
    layer, outline = nn.Conv2d(2, 2, 1, bias=False), square(4)
    mixing = torch.tensor([[1.0, 0.5], [-0.25, 2.0]])
    layer.weight.data = mixing[:, :, None, None]
    image = torch.where(torch.from_numpy(outline)[:, None], inner[:, None, None], outer[:, None, None])
    maps = grad_cam(layer, lambda x: layer(x).mean(dim=(2, 3)) @ weights, image)
    within, beyond = float(weights @ mixing @ inner), float(weights @ mixing @ outer)
    assert within > 0 and beyond > 0
    area = 16 / 64
    found = attention(maps, outline)
    assert found.inside[0] == pytest.approx(area * within / (area * within + (1 - area) * beyond), rel=1e-6)
    assert found.area[0] == area


def test_one_place_of_sixteen_spreads_over_its_neighbours_as_a_tent() -> None:
    """A cell of 8 pixels keeps 6 of the 8 that its tent adds up to along each axis: (3/4)^2 within it."""
    maps = torch.zeros(1, 4, 4)
    maps[0, 1, 1] = 7.0
    outline = np.zeros((1, 32, 32), dtype=bool)
    outline[0, 8:16, 8:16] = True
    found = attention(maps, outline)
    assert found.inside[0] == pytest.approx(0.75**2)
    assert found.best[0] == pytest.approx(0.75**2)
    assert found.area[0] == 1 / 16


def test_even_attention_has_the_share_of_the_area_whatever_its_strength() -> None:
    outlines = square(2, 5, 8)
    found = attention(torch.tensor([1e-30, 1.0, 1e6])[:, None, None].expand(3, 4, 4), outlines)
    np.testing.assert_allclose(found.inside, [4 / 64, 25 / 64, 1])
    np.testing.assert_allclose(found.area, [4 / 64, 25 / 64, 1])
    np.testing.assert_allclose(found.swapped, [4 / 64, 25 / 64, 1])


def test_no_map_reaches_more_than_the_best() -> None:
    generator = torch.Generator().manual_seed(0)
    outlines = square(*range(1, 9)).repeat(20, axis=0)
    maps = torch.rand(160, 2, 2, generator=generator) ** 8
    found = attention(maps, outlines)
    assert (found.inside <= found.best + 1e-12).all() and found.inside.max() > 0.6
    corner = torch.zeros(1, 2, 2)
    corner[0, 0, 0] = 1
    assert attention(corner, square(3)).best == attention(corner, square(3)).inside


def test_swapped_is_the_mean_over_the_other_nodules_maps() -> None:
    first, second, third = torch.zeros(3, 2, 2).unbind()
    first[0, 0], second[1, 1], third[:] = 5.0, 1.0, 0.25  # as large as a slice: no upsampling
    outlines = np.array([[[1, 0], [0, 0]], [[1, 1], [0, 0]], [[0, 0], [1, 1]]], dtype=bool)
    found = attention(torch.stack([first, second, third]), outlines)
    np.testing.assert_allclose(found.inside, [1, 0, 0.5])
    np.testing.assert_allclose(found.swapped, [(0 + 0.25) / 2, (1 + 0.5) / 2, (0 + 1) / 2])


def test_a_nodule_without_attention_or_without_outline_has_no_share_and_is_counted() -> None:
    maps = torch.ones(4, 4, 4)
    maps[1] = 0
    outlines = square(4, 4, 0, 2)
    found = attention(maps, outlines)
    assert np.isnan(found.inside).tolist() == [False, True, True, False]
    np.testing.assert_allclose(found.swapped, [16 / 64, 16 / 64, np.nan, 4 / 64])  # a map of zeros is no other map
    both = means(found, ["a", "b", "c", "d"])
    assert both is not None
    assert (both.nodules, both.left_out) == (2, 2)
    assert both.inside.value == pytest.approx((16 + 4) / 2 / 64) == both.area.value


@pytest.mark.parametrize("outlines", [square(4), square(0, 0, 0)])
def test_of_fewer_than_two_nodules_there_is_no_mean(outlines: np.ndarray) -> None:
    assert means(attention(torch.ones(len(outlines), 4, 4), outlines), ["p"] * len(outlines)) is None


def test_means_are_over_nodules_and_intervals_over_patients() -> None:
    inside, area = np.array([0.2, 0.4, 0.9, 0.5]), np.array([0.1, 0.1, 0.2, 0.4])
    found = Attention(inside, area, np.full(4, 0.3), np.full(4, 0.8))
    each = means(found, ["a", "b", "c", "d"])
    clustered = means(found, ["a", "a", "a", "b"])
    one = means(found, ["a"] * 4)
    assert each is not None and clustered is not None and one is not None
    assert each.inside.value == clustered.inside.value == one.inside.value == pytest.approx(0.5)
    assert each.gain.value == pytest.approx(0.3) and each.own.value == pytest.approx(0.2)
    assert each.area.value == pytest.approx(0.2) and each.best.value == pytest.approx(0.8)
    assert one.inside.low == one.inside.high == one.inside.value
    assert each.inside.low < 0.3 and each.inside.high > 0.7
    assert (clustered.inside.low, clustered.inside.high) == (0.5, 0.5)  # mean of the first three and the fourth: 0.5
    assert clustered.gain.low == pytest.approx(0.1) and clustered.gain.high == pytest.approx(11 / 30)


def test_an_outline_is_projected_over_the_slices_that_the_encoder_cuts_out() -> None:
    images = torch.arange(32.0).reshape(1, 32, 1, 1).expand(1, 32, 32, 32)
    for slices in (1, 2, 5, 32):
        spec = EncoderSpec(channels=(8, 8, 8, 16), layers=(1, 1, 1, 1), stem="deep", slices=slices)
        encoder = Encoder(replace(vision_task(), image_shape=(32, 32, 32), encoder=spec))
        encoder.net = Seen()
        encoder(images)
        levels = {int(level) for level in encoder.net.images[0, :, 0, 0]}
        assert len(levels) == slices
        for level in range(32):
            outline = np.zeros((32, 2, 2), dtype=bool)
            outline[level, 1, 0] = True
            assert projected(outline, slices).tolist() == [[False, False], [level in levels, False]]


class Seen(nn.Module):
    """Stands for the network, and keeps what it was given."""

    def forward(self, images: Tensor) -> Tensor:
        self.images = images
        return images
