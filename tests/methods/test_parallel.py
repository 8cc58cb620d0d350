import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmark.contracts import Batch, EncoderSpec, Method
from benchmark.profile.measure import _operations
from benchmark.recipe import PRESETS
from methods import _encoder
from methods._encoder import Encoder
from methods._parallel import ParallelEncoders, joined, narrowed
from vision import vision_batch, vision_task

DEEP = EncoderSpec((8, 8, 16, 64), (1, 2, 1, 1), "deep")
POOLED = EncoderSpec((8, 16, 32, 64), (1, 1, 1, 1), "pooled")
PLAIN = EncoderSpec((8, 8, 16, 32), (1, 1, 1, 1), "3x3")
SPECS = pytest.mark.parametrize("spec", [DEEP, POOLED, PLAIN], ids=["deep", "pooled", "3x3"])
COUNT = 9


def task(spec: EncoderSpec):
    return vision_task(encoder=spec, image_shape=(1, 32, 32))


def separate(spec: EncoderSpec, narrowing: int, monkeypatch) -> tuple[ParallelEncoders, list[Encoder]]:
    """Return encoders side by side, and copies of those that they were made of."""
    made, build = [], Encoder.__init__

    def noted(self: Encoder, *given) -> None:
        build(self, *given)
        made.append(copy.deepcopy(self))

    monkeypatch.setattr(_encoder.Encoder, "__init__", noted)
    torch.manual_seed(0)
    together = ParallelEncoders(task(spec), COUNT, narrowing)
    monkeypatch.undo()
    return together, made


@SPECS
@pytest.mark.parametrize("narrowing", [1, 3])
@pytest.mark.parametrize("training", [True, False])
def test_encoders_side_by_side_are_so_many_encoders_in_value_and_gradient(spec, narrowing, training, monkeypatch):
    together, alone = separate(spec, narrowing, monkeypatch)
    assert len(alone) == COUNT
    with torch.no_grad():  # residual branches start at zero, which would leave half of the layers out
        for module in together.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 2).mul_(torch.rand_like(module.weight).sub(0.3).sign())
                module.bias.normal_()
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    for number, encoder in enumerate(alone):
        state = {name: part.chunk(COUNT)[number] if part.ndim else part for name, part in together.state_dict().items()}
        encoder.load_state_dict(state)
    images = torch.rand(5, COUNT, 32, 32, dtype=torch.float64, requires_grad=True)
    twin = images.detach().clone().requires_grad_()
    weights = torch.randn(5, COUNT, together.width, 4, 4, dtype=torch.float64)
    together.double().train(training)
    maps = together(images)
    expected = torch.stack([e.double().train(training)(twin[:, [n]]) for n, e in enumerate(alone)], dim=1)
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-10)
    (maps * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(images.grad, twin.grad, rtol=1e-10, atol=1e-10)
    for name, parameter in together.named_parameters():
        own = torch.cat([dict(encoder.named_parameters())[name].grad for encoder in alone])
        assert own.any()
        torch.testing.assert_close(parameter.grad, own, rtol=1e-10, atol=1e-10)
    for name, buffer in together.named_buffers():  # a batch norm counts each member's own numbers
        own = [dict(encoder.named_buffers())[name] for encoder in alone]
        torch.testing.assert_close(buffer, torch.cat(own) if buffer.ndim else own[0], rtol=1e-10, atol=1e-10)


@SPECS
@pytest.mark.parametrize("narrowing", [1, 3])
def test_each_member_starts_as_an_encoder_of_its_own(spec, narrowing, monkeypatch):
    together, alone = separate(spec, narrowing, monkeypatch)
    for name, part in together.state_dict().items():
        own = [encoder.state_dict()[name] for encoder in alone]
        assert part.equal(torch.cat(own) if part.ndim else own[0])
    for module in together.modules():
        if isinstance(module, nn.Conv2d):  # by He: the fan is a group's, not the whole layer's
            fan = module.weight[0, 0].numel() * module.out_channels // COUNT
            count = module.weight.numel()
            assert module.groups == COUNT
            assert module.weight.square().mean().item() == pytest.approx(2 / fan, rel=6 / count**0.5)


def test_stages_are_narrowed_to_numbers_that_stems_and_prompts_can_take():
    assert narrowed(EncoderSpec()).channels == (22, 43, 85, 176)
    assert narrowed(PRESETS["quick"].encoder).channels == (4, 5, 11, 16)
    assert narrowed(EncoderSpec((9, 1, 1, 4)), by=2) == EncoderSpec((6, 1, 1, 4))
    assert narrowed(DEEP, by=1) == DEEP and narrowed(DEEP) == replace(DEEP, channels=(4, 3, 5, 16))
    stems = {by: ParallelEncoders(task(PLAIN), COUNT, by).net.conv1.out_channels for by in (1, 3)}
    assert stems == {1: COUNT * 64, 3: COUNT * 22}


class Summed(Method):
    title = "Summed"

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"sum": self.encoder(batch.images).sum()}


def operations(encoder: nn.Module, channels: int) -> int:
    return _operations(Summed(encoder), vision_batch(size=2, slices=channels))


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_nine_encoders_of_a_third_of_the_width_cost_what_one_encoder_does(preset):
    spec = PRESETS[preset].encoder
    one = operations(Encoder(task(spec)), 1)
    nine = operations(ParallelEncoders(task(spec), COUNT, 3), COUNT)
    assert nine == pytest.approx(one, rel=0.1)


def test_operations_of_groups_are_those_of_the_members():
    one = operations(Encoder(task(POOLED)), 1)
    assert operations(ParallelEncoders(task(POOLED), COUNT), COUNT) == COUNT * one


def test_a_layer_that_has_no_groups_is_refused():
    with pytest.raises(ValueError, match="Linear layers cannot be set side by side"):
        joined([nn.Linear(2, 2), nn.Linear(2, 2)])
    with pytest.raises(ValueError, match="Conv2d layers cannot"):
        joined([nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)])
