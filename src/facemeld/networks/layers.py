"""Building blocks of the StarGAN v2 networks (Choi et al. 2020, appendix A).

Shapes: B pictures, C channels, H x W pixels, S style size, K domains. All maps are meant to be
in channels-last memory format, in fp32 or bf16; statistics are always taken in fp32.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemeld.networks.kernels import (
    doubling_conv,
    halving_conv,
    instance_norm,
    normalise,
    pointwise_conv,
)
from facemeld.networks.styles import RegionStyles, style_maps
from facemeld.networks.winograd import pays, winograd_conv

SLOPE = 0.2  # of every leaky ReLU


def conv(inputs: int, outputs: int, kernel: int = 3, *, bias: bool = True) -> nn.Conv2d:
    """A convolution of stride 1 that keeps the size, He-initialised (He et al. 2015)."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=(kernel - 1) // 2, bias=bias)
    return initialise(layer)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A fully connected layer, He-initialised."""
    return initialise(nn.Linear(inputs, outputs))


def initialise(layer):
    """He initialisation of one layer's weight, zero bias; returns the layer."""
    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution, also with the resolution halved after it or doubled before it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """B C H W -> B C' H W"""
        return self._winograd(x) if pays(x, self) else super().forward(x)

    def halving(self, x: Tensor) -> Tensor:
        """Average-pooled afterwards. B C H W -> B C' H/2 W/2"""
        if pays(x, self, folded=True):
            return F.avg_pool2d(self._winograd(x), 2)
        return halving_conv(x, self)

    def doubling(self, x: Tensor) -> Tensor:
        """Of the nearest-neighbour upsampling. B C H W -> B C' 2H 2W"""
        if pays(x, self, folded=True, scale=2):
            return self._winograd(F.interpolate(x, scale_factor=2, mode="nearest"))
        return doubling_conv(x, self)

    def _winograd(self, x: Tensor) -> Tensor:
        return winograd_conv(x, self.weight, self.bias)


class SeparableConv3x3(nn.Module):
    """The same with a depthwise and a pointwise convolution in place of a full one (Howard et al.
    2017, "MobileNets"): about a ninth of the products and weights.

    The pointwise one is taken where the map is smallest: after a halving, and before a doubling.
    """

    def __init__(self, inputs: int, outputs: int, *, doubles: bool = False) -> None:
        super().__init__()
        channels = outputs if doubles else inputs
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        nn.init.normal_(self.depthwise.weight, std=1 / 3)
        self.pointwise = conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """B C H W -> B C' H W"""
        return pointwise_conv(self.depthwise(x), self.pointwise)

    def halving(self, x: Tensor) -> Tensor:
        """Average-pooled between. B C H W -> B C' H/2 W/2"""
        return pointwise_conv(F.avg_pool2d(self.depthwise(x), 2), self.pointwise)

    def doubling(self, x: Tensor) -> Tensor:
        """Upsampled between, nearest. B C H W -> B C' 2H 2W"""
        x = F.interpolate(pointwise_conv(x, self.pointwise), scale_factor=2, mode="nearest")
        return self.depthwise(x)


class InstanceNorm(nn.Module):
    """Instance normalisation with a learned scale and offset a channel, and an activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, slope: float = 1.0) -> Tensor:
        """B C H W -> B C H W; ``slope`` is the leaky ReLU's, 1 for none."""
        return normalise(x, self.weight, self.bias, slope)


class NoNorm(nn.Module):
    """Stands where a norm is left out: the activation alone."""

    def forward(self, x: Tensor, slope: float = 1.0) -> Tensor:
        return F.leaky_relu(x, slope)


class AdaIN(nn.Module):
    """Adaptive instance normalisation (Huang & Belongie 2017): (1 + gamma(s)) IN(x) + beta(s).

    Args:
        style_size: S.
        channels: C.
        unit_styles: the styles have unit mean square, so the weights start at 0.5 / sqrt(S),
            which makes gamma and beta deviate by 0.5; otherwise He initialisation as in the paper.
    """

    def __init__(self, *, style_size: int, channels: int, unit_styles: bool = False) -> None:
        super().__init__()
        self.linear = linear(style_size, 2 * channels)
        if unit_styles:
            nn.init.normal_(self.linear.weight, std=0.5 / math.sqrt(style_size))

    def forward(self, x: Tensor, style: Tensor | RegionStyles, slope: float = 1.0) -> Tensor:
        """B C H W and styles -> B C H W; ``slope`` is the leaky ReLU's, 1 for none."""
        if isinstance(style, Tensor):
            gamma, beta = self.linear(style).chunk(2, dim=1)
            return normalise(x, 1 + gamma, beta, slope)
        gamma, beta = style_maps(self.linear, style, x).chunk(2, dim=1)
        return F.leaky_relu(torch.addcmul(beta, instance_norm(x), 1 + gamma), slope)


class ResidualBlock(nn.Module):
    """Pre-activation residual block, optionally halving the resolution; unit variance sum.

    (shortcut(x) + residual(x)) / sqrt(2). The paper applies the 1x1 shortcut before it pools;
    the two commute, and pooling first costs a quarter.

    Args:
        inputs: channels in.
        outputs: channels out.
        normalise: instance norm before each activation (the generator's encoder).
        downsample: halve H and W by average pooling.
        separable: depthwise and pointwise convolutions (see SeparableConv3x3).
    """

    def __init__(
        self,
        *,
        inputs: int,
        outputs: int,
        normalise: bool = False,
        downsample: bool = False,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.downsample = downsample
        self.norm1 = InstanceNorm(inputs) if normalise else NoNorm()
        self.norm2 = InstanceNorm(inputs) if normalise else NoNorm()
        conv3x3 = SeparableConv3x3 if separable else Conv3x3
        self.conv1 = conv3x3(inputs, inputs)
        self.conv2 = conv3x3(inputs, outputs)
        self.shortcut = conv(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        residual = self.norm1(x, SLOPE)
        if self.downsample:
            residual, x = self.conv1.halving(residual), F.avg_pool2d(x, 2)
        else:
            residual = self.conv1(residual)
        residual = self.conv2(self.norm2(residual, SLOPE))
        return (self.shortcut(x) + residual) * math.sqrt(0.5)


class StyledResidualBlock(nn.Module):
    """Residual block with AdaIN, optionally doubling the resolution (nearest).

    Args:
        inputs: channels in.
        outputs: channels out.
        style_size: S.
        upsample: double H and W.
        shortcut: add the shortcut; the paper leaves it out where high-pass skips carry the content.
        unit_styles: see AdaIN.
        separable: depthwise and pointwise convolutions (see SeparableConv3x3).
    """

    def __init__(
        self,
        *,
        inputs: int,
        outputs: int,
        style_size: int,
        upsample: bool = False,
        shortcut: bool = True,
        unit_styles: bool = False,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.upsample = upsample
        self.norm1 = AdaIN(style_size=style_size, channels=inputs, unit_styles=unit_styles)
        self.norm2 = AdaIN(style_size=style_size, channels=outputs, unit_styles=unit_styles)
        if separable:
            self.conv1 = SeparableConv3x3(inputs, outputs, doubles=upsample)
            self.conv2 = SeparableConv3x3(outputs, outputs)
        else:
            self.conv1, self.conv2 = Conv3x3(inputs, outputs), Conv3x3(outputs, outputs)
        self.shortcut = None
        if shortcut:
            same = inputs == outputs
            self.shortcut = nn.Identity() if same else conv(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor, style: Tensor | RegionStyles) -> Tensor:
        residual = self.norm1(x, style, SLOPE)
        residual = self.conv1.doubling(residual) if self.upsample else self.conv1(residual)
        residual = self.conv2(self.norm2(residual, style, SLOPE))
        if self.shortcut is None:
            return residual
        x = self.shortcut(x)
        if self.upsample:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return (x + residual) * math.sqrt(0.5)


def high_pass(x: Tensor) -> Tensor:
    """The paper's Laplacian of each map: 8 x - the sum of its eight neighbours, zero outside."""
    channels = int(x.shape[1])  # a tensor while it is traced
    kernel = x.new_full((channels, 1, 3, 3), -1.0)
    kernel[:, :, 1, 1] = 8.0
    return F.conv2d(x, kernel, padding=1, groups=channels)


def unit_rms(styles: Tensor) -> Tensor:
    """Scales each style code to unit mean square. … S -> … S, fp32."""
    styles = styles.float()
    return styles * torch.rsqrt(styles.square().mean(dim=-1, keepdim=True) + 1e-6)


def of_domain(outputs: Tensor, domains: Tensor) -> Tensor:
    """Each sample's own head. B K … and B -> B …"""
    return outputs[torch.arange(len(domains), device=outputs.device), domains]
