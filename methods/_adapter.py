"""The bottleneck that adapts image features, and its mixture with them.

Source: Gao et al., CLIP-Adapter: better vision-language models with feature adapters, 2021, arXiv 2110.04544, and the
authors' code.
"""

from jaxtyping import Float
from torch import Tensor, nn

from benchmark.contracts import Unsupported

REDUCTION = 4


class Adapter(nn.Module):
    """Two linear layers without bias, a quarter as wide between, each followed by a ReLU, mixed with what came in.

    Attributes:
        ratio: Share of the adapted features.
    """

    def __init__(self, width: int, ratio: float) -> None:
        """Build the layers.

        Args:
            width: Number of features.
            ratio: Share of the adapted features, from 0 to 1.

        Raises:
            ValueError: The ratio is no share.
            Unsupported: The width is no multiple of four.
        """
        super().__init__()
        if not 0 <= ratio <= 1:
            raise ValueError(f"the share of adapted features must lie from 0 to 1, not at {ratio}")
        if width % REDUCTION:
            raise Unsupported(f"an adapter needs an image encoder whose width is a multiple of four, not {width}")
        self.ratio = ratio
        narrow = width // REDUCTION
        self.layers = nn.Sequential(
            nn.Linear(width, narrow, bias=False), nn.ReLU(), nn.Linear(narrow, width, bias=False), nn.ReLU()
        )

    def forward(self, features: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return the mixture."""
        adapted: Tensor = self.layers(features)
        return self.ratio * adapted + (1 - self.ratio) * features
