"""Building blocks of the StarGAN v2 networks (Choi et al. 2020, appendix A).

Shapes: B pictures, C channels, H x W pixels, S style size, K domains. All maps are meant to be
in channels-last memory format, in fp32 or bf16; statistics are always taken in fp32.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemeld.networks.styles import RegionStyles, style_maps

EPSILON = 1e-5


class _InstanceNormFunction(torch.autograd.Function):
    """(x - mean) / deviation over the pixels of each map.

    Written out because PyTorch's own norm copies channels-last maps to the other format and back:
    on a CPU that costs more than the convolutions around it. Only the normalised map is kept.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        rows, pixels_mean = _as_rows(x)  # B HW C
        centred = rows - torch.bmm(pixels_mean, rows)
        scale = torch.bmm(pixels_mean, centred.square()).add_(EPSILON).rsqrt_()
        normal = centred.mul_(scale).to(x.dtype)
        ctx.save_for_backward(normal, scale)
        return _as_maps(normal, x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        normal, scale = ctx.saved_tensors
        rows, pixels_mean = _as_rows(gradient)
        normal = normal.float()
        mean = torch.bmm(pixels_mean, rows)
        along = torch.bmm(pixels_mean, rows * normal)
        out = torch.addcmul(rows - mean, normal, along, value=-1).mul_(scale)
        return _as_maps(out.to(gradient.dtype), gradient)


def _as_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """B C H W -> fp32 B HW C (no copy when channels-last) and the row vector that averages it."""
    b, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(b, h * w, c).float()
    return rows, rows.new_full((b, 1, h * w), 1.0 / (h * w))


def _as_maps(rows: Tensor, like: Tensor) -> Tensor:
    """B HW C -> B C H W in channels-last format."""
    b, c, h, w = like.shape
    return rows.view(b, h, w, c).permute(0, 3, 1, 2)


def instance_norm(x: Tensor) -> Tensor:
    """Instance normalisation without parameters (Ulyanov et al. 2016). B C H W -> B C H W."""
    if torch.onnx.is_in_onnx_export() or x.device.type != "cpu":
        variance, mean = torch.var_mean(x.float(), dim=(2, 3), keepdim=True, correction=0)
        return ((x - mean) * torch.rsqrt(variance + EPSILON)).to(x.dtype)
    return _InstanceNormFunction.apply(x)


def conv(inputs: int, outputs: int, kernel: int = 3, *, bias: bool = True) -> nn.Conv2d:
    """A convolution of stride 1 that keeps the size, He-initialised (He et al. 2015)."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=(kernel - 1) // 2, bias=bias)
    return initialise(layer)


def halving_conv(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """avg_pool2d(layer(x), 2) for a 3x3 convolution, as one 4x4 convolution of stride 2.

    The pooling is folded into the kernel: 16 instead of 36 products for each output.
    """
    fold = x.new_tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=torch.float32) / 2
    kernel = torch.einsum("oiyx,ky,lx->oikl", layer.weight.float(), fold, fold)
    kernel = kernel.to(x.dtype)
    if layer.weight.is_contiguous(memory_format=torch.channels_last):
        kernel = kernel.contiguous(memory_format=torch.channels_last)
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return F.conv2d(x, kernel, bias, stride=2, padding=1)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A fully connected layer, He-initialised."""
    return initialise(nn.Linear(inputs, outputs))


def initialise(layer):
    """He initialisation of one layer's weight, zero bias; returns the layer."""
    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class InstanceNorm(nn.Module):
    """Instance normalisation with a learned scale and offset a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return torch.addcmul(bias[:, None, None], instance_norm(x), weight[:, None, None])


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

    def forward(self, x: Tensor, style: Tensor | RegionStyles) -> Tensor:
        gamma, beta = style_maps(self.linear, style, x).chunk(2, dim=1)
        return torch.addcmul(beta, instance_norm(x), 1 + gamma)


class ResidualBlock(nn.Module):
    """Pre-activation residual block, optionally halving the resolution; unit variance sum.

    (shortcut(x) + residual(x)) / sqrt(2). The paper applies the 1x1 shortcut before it pools;
    the two commute, and pooling first costs a quarter.

    Args:
        inputs: channels in.
        outputs: channels out.
        normalise: instance norm before each activation (the generator's encoder).
        downsample: halve H and W by average pooling.
    """

    def __init__(
        self, *, inputs: int, outputs: int, normalise: bool = False, downsample: bool = False
    ) -> None:
        super().__init__()
        self.downsample = downsample
        self.norm1 = InstanceNorm(inputs) if normalise else nn.Identity()
        self.norm2 = InstanceNorm(inputs) if normalise else nn.Identity()
        self.conv1 = conv(inputs, inputs)
        self.conv2 = conv(inputs, outputs)
        self.shortcut = conv(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        residual = F.leaky_relu(self.norm1(x), 0.2)
        if self.downsample:
            residual, x = halving_conv(residual, self.conv1), F.avg_pool2d(x, 2)
        else:
            residual = self.conv1(residual)
        residual = self.conv2(F.leaky_relu(self.norm2(residual), 0.2))
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
    ) -> None:
        super().__init__()
        self.upsample = upsample
        self.norm1 = AdaIN(style_size=style_size, channels=inputs, unit_styles=unit_styles)
        self.norm2 = AdaIN(style_size=style_size, channels=outputs, unit_styles=unit_styles)
        self.conv1 = conv(inputs, outputs)
        self.conv2 = conv(outputs, outputs)
        self.shortcut = None
        if shortcut:
            same = inputs == outputs
            self.shortcut = nn.Identity() if same else conv(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor, style: Tensor | RegionStyles) -> Tensor:
        residual = F.leaky_relu(self.norm1(x, style), 0.2)
        if self.upsample:
            residual = F.interpolate(residual, scale_factor=2, mode="nearest")
        residual = F.leaky_relu(self.norm2(self.conv1(residual), style), 0.2)
        residual = self.conv2(residual)
        if self.shortcut is None:
            return residual
        x = self.shortcut(x)
        if self.upsample:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return (x + residual) * math.sqrt(0.5)


def high_pass(x: Tensor) -> Tensor:
    """The paper's Laplacian of each map: 8 x - the sum of its eight neighbours, zero outside."""
    channels = x.shape[1]
    kernel = x.new_full((channels, 1, 3, 3), -1.0)
    kernel[:, :, 1, 1] = 8.0
    return F.conv2d(x, kernel, padding=1, groups=channels)


def unit_rms(styles: Tensor) -> Tensor:
    """Scales each style code to unit mean square. B S -> B S, fp32."""
    styles = styles.float()
    return styles * torch.rsqrt(styles.square().mean(dim=1, keepdim=True) + 1e-6)


def of_domain(outputs: Tensor, domains: Tensor) -> Tensor:
    """Each sample's own head. B K … and B -> B …"""
    return outputs[torch.arange(len(domains), device=outputs.device), domains]
