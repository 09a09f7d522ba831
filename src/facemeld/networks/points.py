"""Eyes and nose of a face, of whatever kind, read from frozen ImageNet features.

A few convolutions give a map for each point; the mean of the map is the point. Reading is
differentiable and next to free where the features are there already, so training can ask of a fake
where its eyes are. `scripts/train_points.py` made the weights; what they learned from, and their
licence, is beside them in assets/points.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from facemeld.networks.features import EfficientNetLite0

POINTS = ("left eye", "right eye", "nose")
"""In the order of the maps; left is the viewer's."""

_WEIGHTS = Path(__file__).parents[1] / "assets" / "points" / "points.safetensors"


class PointReader(nn.Module):
    """Maps of the points from the four frozen maps, put on the grid of the second one.

    Args:
        width: channels of the hidden layers.
    """

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        channels = sum(EfficientNetLite0.channels)
        self.register_buffer("deviation", torch.ones(channels))
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, len(POINTS), 1),
        )

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Frozen features, finest first -> B P 2, shares of the side from the top left corner
        (x, y), and B P h w, logarithms of maps that sum to 1.
        """
        x = self.on_one_grid(features) / self.deviation[:, None, None]
        logits = self.layers(x).float()
        maps = logits.flatten(2).log_softmax(dim=2).view_as(logits)
        return mean_places(maps.exp()), maps

    @staticmethod
    def on_one_grid(features: list[Tensor]) -> Tensor:
        """-> B C h w"""
        fine, middle, *coarse = features
        size = middle.shape[-2:]
        coarse = [F.interpolate(m, size=size, mode="bilinear") for m in coarse]
        return torch.cat([F.avg_pool2d(fine, 2), middle, *coarse], dim=1)


def places(side: int, like: Tensor) -> Tensor:
    """Middles of the cells along a side, as shares of it."""
    return (torch.arange(side, device=like.device) + 0.5) / side


def mean_places(maps: Tensor) -> Tensor:
    """Means of maps that sum to 1. B P h w -> B P 2 (x, y)"""
    x = maps.sum(dim=2) @ places(maps.shape[3], maps)
    y = maps.sum(dim=3) @ places(maps.shape[2], maps)
    return torch.stack([x, y], dim=-1)


def load_point_reader(path: Path = _WEIGHTS) -> PointReader:
    """The trained reader, frozen."""
    reader = PointReader()
    reader.load_state_dict({name: t.float() for name, t in load_file(path).items()})
    return reader.eval().requires_grad_(False)
