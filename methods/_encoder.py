"""The image encoder that every method shares: timm's resnet18, made for a crop's slices as channels.

Source: He et al., CVPR 2016; the paper sets the first layer to 32 channels and trains from random weights.
As in the paper's released code, the stem is one 3x3 convolution of stride 1 without max-pooling, so a 32x32
image ends as 512 x 4 x 4. The `"deep"` stem (stride 2) and the `"pooled"` one (stride 4) end at 4 x 4 too: their last
stages do not stride, and are not dilated for it as timm has them, since a dilated kernel sees little but padding there.
timm starts the last normalisation of each residual branch at zero, where He et al. and the released code start at one.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.contracts import Task, central
from methods._precision import mixed_precision

PLAIN_STEM = 64
"""Channels of the `"3x3"` stem, timm's own number."""
_OUTPUT_STRIDES = {"deep": 16, "pooled": 8}  # as timm counts them: its own stem has stride 4


class Encoder(nn.Module):
    """Maps images to a feature map; `pooled` averages it to one feature vector per image."""

    def __init__(self, task: Task, plain_stem: int = PLAIN_STEM) -> None:
        """Build it.

        Args:
            task: What for.
            plain_stem: Channels of the `"3x3"` stem, an even number; other stems follow the first stage.
        """
        super().__init__()
        import timm  # here: importing timm takes a second that `--list` need not wait for

        spec, slices = task.encoder, task.image_shape[0]
        self.slices = slices if spec.slices is None else min(slices, spec.slices)
        build = partial(
            timm.create_model,
            "resnet18",
            in_chans=self.slices,
            num_classes=0,
            global_pool="",
            channels=spec.channels,
            layers=spec.layers,
        )
        if spec.stem == "3x3":
            is_timms = plain_stem == PLAIN_STEM  # else its deep stem, of which only the width stays
            self.net = build() if is_timms else build(stem_type="deep", stem_width=plain_stem // 2)
            self.net.conv1 = nn.Conv2d(self.slices, plain_stem, kernel_size=3, stride=1, padding=1, bias=False)
            nn.init.kaiming_normal_(self.net.conv1.weight, mode="fan_out", nonlinearity="relu")
        else:
            stride = _OUTPUT_STRIDES[spec.stem]
            self.net = build(stem_type="deep", stem_width=spec.channels[0] // 2, output_stride=stride)
            for module in self.net.modules():
                if isinstance(module, nn.Conv2d) and module.dilation != (1, 1):
                    module.dilation = module.padding = (1, 1)
        if spec.stem != "pooled":
            self.net.maxpool = nn.Identity()
        self.net.to(memory_format=torch.channels_last)  # a tenth faster on a CPU, and what tensor cores want
        self.width = spec.width

    def forward(
        self, images: Float[Tensor, "batch slices rows columns"]
    ) -> Float[Tensor, "batch features height width"]:
        """Return the last feature map, [batch, width, 4, 4] for 32x32 images, in float32 on every device."""
        return mixed_precision(self.net, central(images, self.slices))

    def pooled(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch features"]:
        """Return the feature map's spatial mean."""
        return self.forward(images).mean(dim=(2, 3))
