"""3x3 convolutions by Winograd's F(4x4, 3x3) (Lavin & Gray 2016), for training on a CPU.

Four by four results take 36 products a pair of channels in place of 144; what remains is matrix
products, which are computed at a processor's peak. The transforms pass over the maps several times
more, so it pays for wide convolutions only. The results are those of the plain convolution to about
1e-5 of the largest. ``fusion.winograd`` has the same for graphs.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemeld.networks.winograd_matrices import KERNEL, RESULT, TILE, Rows

_NARROWEST, _NARROWEST_FOLDED, _FEWEST_TILES = 64, 128, 64
"""Of ``winograd_conv``: channels, and tiles of a batch, from which on it is faster."""
_BUFFER = 4_000_000
"""Bytes of one transformed map, which a processor's caches should hold."""


def pays(x: Tensor, layer: nn.Conv2d, *, folded: bool = False, scale: int = 1) -> bool:
    """Whether ``winograd_conv`` is the faster way, forth and back, for a 3x3 convolution of x.

    Args:
        x: its input.
        layer: its weights.
        folded: the other way has a pooling or an upsampling folded into the kernels.
        scale: of an upsampling before it.
    """
    batch, height, width = x.shape[0], scale * x.shape[2], scale * x.shape[3]
    narrowest = _NARROWEST_FOLDED if folded else _NARROWEST
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and torch.is_grad_enabled()  # else the plain way: it is exact, and not much slower
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and min(layer.in_channels, layer.out_channels) >= narrowest
        and height % 4 == width % 4 == 0
        and batch * height * width >= 16 * _FEWEST_TILES
    )


def winograd_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """conv2d(x, weight, bias, padding=1), twice differentiable. B C H W and O C 3 3 -> B O H W

    H and W are multiples of 4; maps are channels-last.
    """
    out = _WinogradFunction.apply(x, weight)
    return out if bias is None else out + bias[:, None, None]


class _WinogradFunction(torch.autograd.Function):
    """A few samples at a time, so that what is between the transforms stays in the caches."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        rows = x.permute(0, 2, 3, 1)  # B H W C
        batch, height, width, _ = rows.shape
        outputs = weight.shape[0]
        kernels = _kernels(weight)
        out = x.new_empty(batch, height, width, outputs)
        for some in _chunks(batch, height * width, weight):
            products = torch.bmm(_tiles(rows[some]), kernels)  # 36 T O
            results = _matrix(RESULT) @ products.flatten(1)
            sizes = (len(out[some]), height // 4, width // 4, outputs)
            results = results.view(4, 4, *sizes).permute(2, 3, 0, 4, 1, 5)
            out[some].view(sizes[0], sizes[1], 4, sizes[2], 4, outputs).copy_(results)
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # autocast may be on where backward is called
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # it will be differentiated again, as R1 is
            wanted = (*ctx.needs_input_grad, False)
            return torch.ops.aten.convolution_backward(
                gradient, x, weight, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1, wanted
            )[:2]
        rows, inner = x.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
        batch, height, width, channels = rows.shape
        outputs = weight.shape[0]
        kernels = _kernels(weight).transpose(1, 2)  # 36 O C
        of_kernels = x.new_zeros(36, channels, outputs)
        of_x = x.new_empty(batch, height, width, channels)
        down, across = height // 4, width // 4
        for some in _chunks(batch, height * width, weight):
            count = len(rows[some])
            parts = inner[some].reshape(count, down, 4, across, 4, outputs)
            parts = parts.permute(2, 4, 0, 1, 3, 5).reshape(16, -1)
            products = (_matrix(RESULT).T @ parts).view(36, -1, outputs)  # 36 T O
            if ctx.needs_input_grad[1]:
                of_kernels.baddbmm_(_tiles(rows[some]).transpose(1, 2), products)
            if ctx.needs_input_grad[0]:
                tiles = _matrix(TILE).T @ torch.bmm(products, kernels).flatten(1)
                tiles = tiles.view(6, 6, count, down, across, channels).permute(2, 3, 0, 4, 1, 5)
                of_x[some] = _overlapped(tiles)
        of_weight = (_matrix(KERNEL).T @ of_kernels.flatten(1)).view(3, 3, channels, outputs)
        return of_x.permute(0, 3, 1, 2), of_weight.permute(3, 2, 0, 1)


def _chunks(batch: int, pixels: int, weight: Tensor) -> list[slice]:
    """Of the samples."""
    size = 36 * pixels // 16 * max(weight.shape[:2]) * weight.element_size()
    count = max(1, _BUFFER // size)
    return [slice(first, first + count) for first in range(0, batch, count)]


@functools.cache
def _matrix(rows: Rows) -> Tensor:
    """Of a transform over both directions at once."""
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix).float()


def _kernels(weight: Tensor) -> Tensor:
    """O C 3 3 -> 36 C O"""
    outputs, channels = weight.shape[:2]
    rows = weight.permute(2, 3, 1, 0).reshape(9, -1)
    return (_matrix(KERNEL) @ rows).view(36, channels, outputs)


def _tiles(rows: Tensor) -> Tensor:
    """Transformed tiles of 6 by 6 that overlap by two. B H W C -> 36 T C"""
    batch, height, width, channels = rows.shape
    padded = F.pad(rows, (0, 0, 1, 1, 1, 1))
    image, line, pixel, channel = padded.stride()
    sizes = (6, 6, batch, height // 4, width // 4, channels)
    strides = (line, pixel, image, 4 * line, 4 * pixel, channel)
    tiles = padded.as_strided(sizes, strides).reshape(36, -1)
    return (_matrix(TILE) @ tiles).view(36, -1, channels)


def _overlapped(tiles: Tensor) -> Tensor:
    """The sum of overlapping tiles, the adjoint of cutting them. B h 6 w 6 C -> B 4h 4w C"""
    batch, down, _, across, _, channels = tiles.shape
    padded = tiles.new_zeros(batch, down + 1, 4, across + 1, 4, channels)
    padded[:, :-1, :, :-1] = tiles[:, :, :4, :, :4]
    padded[:, 1:, :2, :-1] += tiles[:, :, 4:, :, :4]
    padded[:, :-1, :, 1:, :2] += tiles[:, :, :4, :, 4:]
    padded[:, 1:, :2, 1:, :2] += tiles[:, :, 4:, :, 4:]
    return padded.view(batch, 4 * down + 4, 4 * across + 4, channels)[:, 1:-3, 1:-3]
