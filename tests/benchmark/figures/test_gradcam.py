"""Grad-CAM: closed forms of linear networks, captum's own, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import methods
from benchmark.contracts import Method, Unsupported
from benchmark.figures.gradcam import grad_cam, last_map, maps_of, upsampled
from vision import vision_batch, vision_task

WEIGHTS = torch.tensor([[2.0, -1.0, 0.5], [-1.0, 1.0, 3.0]])  # class x channel
FIGURE_3 = ("clip", "cocoop", "clip_lung")


class Linear(Method):
    """The image is the map, three channels; logits are linear in its spatial mean."""

    title = "Linear"

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.net = nn.Identity()

    def predict_proba(self, images: Tensor) -> Tensor:
        return (self.encoder.net(images).mean(dim=(2, 3)) @ WEIGHTS.T).softmax(dim=1)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, 6, 8, generator=torch.Generator().manual_seed(1))


def built(key: str):
    torch.manual_seed(3)
    method = methods.ROWS[key].build(vision_task())
    for module in method.modules():  # an untrained normalisation hides what it should do in eval mode
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return method.eval()


def test_of_a_linear_score_it_is_the_positive_part_of_the_weighted_sum(images: Tensor) -> None:
    net = Linear()
    given = grad_cam(net.encoder.net, lambda x: net.encoder.net(x).mean(dim=(2, 3)) @ WEIGHTS[0], images)
    weighted = (WEIGHTS[0][:, None, None] * images).sum(dim=1) / 48  # a spatial mean's gradient is 1 / 48 everywhere
    torch.testing.assert_close(given, weighted.clamp(min=0))
    assert (given == 0).any() and (given > 0).any()


def test_of_two_classes_it_speaks_for_the_predicted_one_against_the_other(images: Tensor) -> None:
    net = Linear()
    for sign in (1, -1):
        proba = net.predict_proba(sign * images)
        chosen = proba.argmax(dim=1)
        contrast = (WEIGHTS[chosen] - WEIGHTS[1 - chosen])[:, :, None, None]
        unlikely = (1 - proba.gather(1, chosen[:, None]))[:, :, None]  # d log p_y / d z_y = 1 - p_y
        expected = (contrast * sign * images).sum(dim=1).clamp(min=0) * unlikely / 48
        torch.testing.assert_close(maps_of(net, sign * images, at_once=2), expected)


def test_the_class_is_the_one_that_the_rows_own_decoder_takes(images: Tensor) -> None:
    table = torch.tensor([[0.40, 0.15, 0.45]]).log()  # most probable: 2; median: 1
    net = Linear()
    head = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    net.predict_proba = lambda x: (net.encoder.net(x).mean(dim=(2, 3)) @ head.T * 1e-3 + table).softmax(dim=1)
    likely = torch.tensor([0.40, 0.15, 0.45])
    for decoder, chosen in (("argmax", 2), ("median", 1)):
        net.decoder = decoder
        slope = (head[chosen] - likely @ head) * 1e-3 / 48
        expected = (slope[:, None, None] * images).sum(dim=1).clamp(min=0)
        torch.testing.assert_close(maps_of(net, images), expected, rtol=1e-2, atol=0)


@pytest.mark.parametrize("key", FIGURE_3)
def test_it_is_captums(key: str) -> None:
    attr = pytest.importorskip("captum.attr", reason="needs captum: it is in requirements-dev.txt")
    method, images = built(key), vision_batch(size=12).images
    classes = method.predict_proba(images).argmax(dim=1)
    theirs = attr.LayerGradCam(lambda x: method.predict_proba(x).log(), last_map(method))
    maps = theirs.attribute(images, target=classes, relu_attributions=True)
    large = attr.LayerAttribution.interpolate(maps, (32, 32), interpolate_mode="bilinear")[:, 0].detach()
    mine = upsampled(maps_of(method, images), 32, 32)
    unit = large.amax()
    assert unit > 0 and (large > 0.1 * unit).float().mean() > 0.02
    torch.testing.assert_close(mine / unit, large / unit, rtol=0, atol=1e-5)
    torch.testing.assert_close(mine, large, rtol=0, atol=1e-5)


@pytest.mark.parametrize("key", FIGURE_3)
def test_a_map_has_the_encoders_places_and_an_image_in_company_the_one_it_has_alone(key: str) -> None:
    method, images = built(key), vision_batch(size=5).images
    together = maps_of(method, images)
    assert together.shape == (5, 4, 4) and (together >= 0).all() and together.any()
    torch.testing.assert_close(maps_of(method, images, at_once=1), together, rtol=1e-3, atol=1e-6)


def test_it_works_where_gradients_are_off_and_leaves_nothing_behind() -> None:
    method, images = built("clip_lung"), vision_batch().images
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    expected = maps_of(method, images)
    method.train()
    with torch.no_grad():
        found = maps_of(method, images)
    assert torch.equal(found, expected) and not found.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())
    assert not last_map(method)._forward_hooks


def test_a_coarse_number_format_of_the_map_does_not_make_a_coarse_mean(images: Tensor) -> None:
    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.bfloat16()

    half = Half()
    found = grad_cam(half, lambda x: half(x).float().mean(dim=(2, 3)) @ WEIGHTS[0], images)
    exact = (WEIGHTS[0][:, None, None] * images.bfloat16().float()).sum(dim=1).clamp(min=0) / 48
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-8)


def test_a_score_that_is_none_of_the_map_is_refused(images: Tensor) -> None:
    layer = nn.Identity()
    for score, said in (
        (lambda x: x.sum(dim=(1, 2, 3)), "0 times"),
        (lambda x: (layer(x) + layer(x)).sum(dim=(1, 2, 3)), "2 times"),
        (lambda x: layer(x).detach().sum(dim=(1, 2, 3)), "no gradient"),
    ):
        with pytest.raises(ValueError, match=said):
            grad_cam(layer, score, images)
        assert not layer._forward_hooks


@pytest.mark.parametrize("key", [key for key, row in methods.ROWS.items() if row.kind in ("paper", "control", "added")])
def test_every_row_has_a_map_but_mv_dar_which_has_many(key: str) -> None:
    try:
        method = methods.ROWS[key].build(vision_task())
    except Unsupported:
        method = methods.ROWS[key].build(replace(vision_task(), image_shape=(4, 32, 32)))
    images = torch.rand(2, *(2, 32, 32))
    if key.startswith("mv_dar"):
        with pytest.raises(ValueError, match=r"MV-DAR.* has no single image encoder"):
            maps_of(method, images)
    else:
        assert maps_of(method, images, torch.tensor([4.0, 9.0])).shape == (2, 4, 4)


def test_upsampling_is_bilinear_between_the_middles_of_cells() -> None:
    large = upsampled(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), 4, 4)[0]
    torch.testing.assert_close(large[0], torch.tensor([0.0, 0.25, 0.75, 1.0]))
    torch.testing.assert_close(large[:, 0], torch.tensor([0.0, 0.5, 1.5, 2.0]))
