"""An encoder on frozen ImageNet features, for a generator that learns from little compute.

The features say what is where, whatever the kind of face: an eye is an eye. What a projected
discriminator (Sauer et al. 2021) does with them for judging, this does for content. In training
they are there already, so encoding costs next to nothing, also that of fakes in a cycle.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from facemeld.networks.features import EfficientNetLite0
from facemeld.networks.kernels import instance_norm
from facemeld.networks.layers import ResidualBlock, conv


class ProjectedEncoder(nn.Module):
    """Frozen features to a bottleneck map and the maps that skips carry.

    Args:
        feature_size: side of the pictures that the frozen network sees.
        width: channels of the bottleneck.
        side: of the bottleneck, one of the features' sides.
        blocks: residual blocks at the bottleneck.
        skips: side -> channels of each map for the skips, finest first; sides of the features.
    """

    def __init__(
        self, *, feature_size: int, width: int, side: int, blocks: int, skips: dict[int, int]
    ) -> None:
        super().__init__()
        self.features = EfficientNetLite0(input_size=feature_size)
        channels = dict(zip(self.features.sides, self.features.channels))
        self.side = side
        self.inputs = nn.ModuleDict(
            {str(s): conv(c, width, 1) for s, c in channels.items() if s <= side}
        )
        self.skips = nn.ModuleDict({str(s): conv(channels[s], c, 1) for s, c in skips.items()})
        self.blocks = nn.Sequential(
            *(ResidualBlock(inputs=width, outputs=width, normalise=True) for _ in range(blocks))
        )

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """B 3 H W in [-1, 1] -> bottleneck B C side side, and the maps for the skips."""
        return self.from_maps(self.features(pictures))

    def from_maps(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The same from the frozen features of the pictures, finest first."""
        of_side = {str(side): instance_norm(m) for side, m in zip(self.features.sides, maps)}
        x = 0
        for side, layer in self.inputs.items():
            coarse = layer(of_side[side])
            x = x + F.interpolate(coarse, scale_factor=self.side / int(side), mode="nearest")
        return self.blocks(x), [layer(of_side[side]) for side, layer in self.skips.items()]
