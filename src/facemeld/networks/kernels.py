"""Layers' arithmetic with the waste taken out: the same functions, fewer products and passes.

Shapes: B pictures, C channels, H x W pixels; channels-last in memory. Statistics are in fp32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-5
SUBPIXEL_FROM = 16  # below this side the seam of `doubling_conv` costs what it saves


class _NormaliseFunction(torch.autograd.Function):
    """activation(scale * (x - mean) / deviation + shift), statistics over each map's pixels.

    Written out because PyTorch's own norm copies channels-last maps to the other format and back,
    and because one function for norm, affine map and activation passes over the maps half as often:
    on a CPU the norms would else cost more than the convolutions between them. Nothing is kept but
    the centred input, and the output, which the next convolution keeps in any case.
    """

    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor, shift: Tensor, slope: float) -> Tensor:
        rows, pixels_mean = _as_rows(x)  # B HW C
        centred = rows - torch.bmm(pixels_mean, rows)
        rate = torch.bmm(pixels_mean, centred.square()).add_(EPSILON).rsqrt_()
        out = torch.addcmul(shift, centred, rate * scale)
        if slope != 1:
            F.leaky_relu_(out, slope)
        out = out.to(x.dtype)
        ctx.save_for_backward(centred.to(x.dtype), rate, scale, out)
        ctx.slope = slope
        return _as_maps(out, x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        centred, rate, scale, out = ctx.saved_tensors
        centred = centred.float()
        inner, pixels_mean = _as_rows(gradient)  # the gradient before the activation
        if ctx.slope != 1:
            inner = torch.ops.aten.leaky_relu_backward(inner, out.float(), ctx.slope, True)
        offset = torch.bmm(pixels_mean, inner)
        along = torch.bmm(pixels_mean, inner * centred) * rate
        factor = rate * scale
        outer = torch.addcmul(-factor * offset, inner, factor)
        outer.addcmul_(centred, factor * along * rate, value=-1)
        pixels = inner.shape[1]
        return _as_maps(outer.to(gradient.dtype), gradient), along * pixels, offset * pixels, None


def normalise(x: Tensor, scale: Tensor, shift: Tensor, slope: float = 1.0) -> Tensor:
    """Instance norm, an affine map, and a leaky ReLU of this slope (1: none). -> B C H W

    Args:
        x: B C H W.
        scale, shift: B C, or C for one of all samples.
        slope: of the activation below zero.
    """
    if torch.onnx.is_in_onnx_export() and scale.dim() == 1:
        out = F.instance_norm(x, weight=scale, bias=shift, eps=EPSILON)
        return out if slope == 1 else F.leaky_relu(out, slope)
    if torch.onnx.is_in_onnx_export() or x.device.type != "cpu":
        maps = scale.dim() * (slice(None),) + (None, None)
        normal = instance_norm(x)
        out = torch.addcmul(shift[maps].to(x.dtype), normal, scale[maps].to(x.dtype))
        return out if slope == 1 else F.leaky_relu(out, slope)
    rows = (x.shape[0], 1, x.shape[1])
    scale, shift = (v.float()[..., None, :].expand(rows) for v in (scale, shift))
    return _NormaliseFunction.apply(x, scale, shift, slope)


def instance_norm(x: Tensor) -> Tensor:
    """Instance normalisation without parameters (Ulyanov et al. 2016). B C H W -> B C H W."""
    if torch.onnx.is_in_onnx_export():
        return F.instance_norm(x, eps=EPSILON)  # one node, which the runtimes know
    if x.device.type != "cpu":
        variance, mean = torch.var_mean(x.float(), dim=(2, 3), keepdim=True, correction=0)
        return ((x - mean) * torch.rsqrt(variance + EPSILON)).to(x.dtype)
    one = x.new_ones((), dtype=torch.float32).expand(x.shape[0], 1, x.shape[1])
    return _NormaliseFunction.apply(x, one, torch.zeros_like(one), 1.0)


def _as_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """B C H W -> fp32 B HW C (no copy when channels-last) and the row vector that averages it."""
    b, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(b, h * w, c).float()
    return rows, rows.new_full((b, 1, h * w), 1.0 / (h * w))


def _as_maps(rows: Tensor, like: Tensor) -> Tensor:
    """B HW C -> B C H W in channels-last format."""
    b, c, h, w = like.shape
    return rows.view(b, h, w, c).permute(0, 3, 1, 2)


def pointwise_conv(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """layer(x) for a 1x1 convolution; on a CPU as one matrix product over all pixels.

    With few samples and one thread PyTorch would take a slow path for it there.
    """
    if torch.onnx.is_in_onnx_export() or x.device.type != "cpu":
        return layer(x)
    return F.linear(x.permute(0, 2, 3, 1), layer.weight.flatten(1), layer.bias).permute(0, 3, 1, 2)


def halving_conv(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """avg_pool2d(layer(x), 2) for a 3x3 convolution, as one 4x4 convolution of stride 2.

    The pooling is folded into the kernel: 16 instead of 36 products for each output.
    """
    fold = x.new_tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=torch.float32) / 2
    kernel = torch.einsum("oiyx,ky,lx->oikl", layer.weight.float(), fold, fold)
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return F.conv2d(x, _like_weight(kernel, layer, x), bias, stride=2, padding=1)


def doubling_conv(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """layer(nearest-neighbour upsampling of x by 2) for a 3x3 convolution. -> B C' 2H 2W

    Each of the four pixels that come from one sees only 2 x 2 different inputs, so the kernel is
    folded into four of 2x2 (Shi et al. 2016, sub-pixel convolution): 16 instead of 36 products for
    each input pixel. Small maps take the plain way, which is faster there. Runtimes for exported
    graphs are given the same as a transposed 4x4 convolution of stride 2, which they do well.
    """
    if torch.onnx.is_in_onnx_export():
        fold = x.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
        kernel = torch.einsum("oiyx,ky,lx->iokl", layer.weight, fold, fold)
        return F.conv_transpose2d(x, kernel, layer.bias, stride=2, padding=1)
    if x.shape[2] < SUBPIXEL_FROM:
        return layer(F.interpolate(x, scale_factor=2, mode="nearest"))
    fold = x.new_tensor(
        [[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float32
    )  # output parity, folded tap, tap
    kernel = torch.einsum("oiyx,aky,blx->aboikl", layer.weight.float(), fold, fold)
    kernel = _like_weight(kernel.flatten(0, 2), layer, x)
    bias = None if layer.bias is None else layer.bias.to(x.dtype).repeat(4)
    return _InterleaveFunction.apply(F.conv2d(x, kernel, bias, padding=1))


class _InterleaveFunction(torch.autograd.Function):
    """B 4C H+1 W+1, four shifted maps -> B C 2H 2W, in which each gives every other pixel."""

    @staticmethod
    def forward(ctx, maps: Tensor) -> Tensor:
        b, channels, h, w = maps.shape
        out = maps.new_empty(b, h - 1, 2, w - 1, 2, channels // 4)
        for y, x in _PARITIES:
            out[:, :, y, :, x] = _shifted(maps, y, x)
        return out.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        b, c, h, w = gradient.shape
        pixels = gradient.permute(0, 2, 3, 1).reshape(b, h // 2, 2, w // 2, 2, c)
        maps = gradient.new_zeros(b, h // 2 + 1, w // 2 + 1, 4 * c).permute(0, 3, 1, 2)
        for y, x in _PARITIES:
            _shifted(maps, y, x).copy_(pixels[:, :, y, :, x])
        return maps


_PARITIES = ((0, 0), (0, 1), (1, 0), (1, 1))


def _shifted(maps: Tensor, y: int, x: int) -> Tensor:
    """The view of the map that gives the pixels of parity y, x. -> B H W C"""
    b, channels, h, w = maps.shape
    c, index = channels // 4, 2 * y + x
    part = maps[:, index * c : (index + 1) * c, y : y + h - 1, x : x + w - 1]
    return part.permute(0, 2, 3, 1)


def _like_weight(kernel: Tensor, layer: nn.Conv2d, x: Tensor) -> Tensor:
    """The kernel in the memory format of the layer's weight and in the type of x."""
    kernel = kernel.to(x.dtype)
    if layer.weight.is_contiguous(memory_format=torch.channels_last):
        kernel = kernel.contiguous(memory_format=torch.channels_last)
    return kernel
