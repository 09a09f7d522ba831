"""3x3 convolutions by Winograd's F(4x4, 3x3) (Lavin & Gray 2016), for exported networks.

Four by four results take 36 products a pair of channels in place of 144; what remains is one matrix
product, which runtimes compute at their peak. Its transforms pass over the maps several times more,
so it pays for wide convolutions only: in OpenVINO, by two at 512 channels, not at all at 128. The
results are those of the plain convolution to about 1e-5 of the largest.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FEWEST_CHANNELS, _SMALLEST_SIDE = 256, 16
# For interpolation at 0, 1, -1, 2, -2 and infinity: of tiles, kernels and results.
_TILE = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
_KERNEL = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
_RESULT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


class WinogradConv(nn.Module):
    """The function of a 3x3 convolution of stride 1 that keeps the size, for square maps.

    Args:
        layer: the convolution.
        side: of its maps, in pixels.
    """

    def __init__(self, layer: nn.Conv2d, side: int) -> None:
        super().__init__()
        self.side, self.tiles = side, -(-side // 4)
        tile, kernel, result = (
            torch.tensor(rows, dtype=torch.float64) for rows in (_TILE, _KERNEL, _RESULT)
        )
        weight = torch.einsum("ia,ocab,jb->ijoc", kernel, layer.weight.detach().double(), kernel)
        self.register_buffer("weight", weight.flatten(0, 1).float()[:, None])  # 36 1 O C
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())
        self.register_buffer("to_products", torch.kron(tile, tile).float())  # 36 36
        self.register_buffer("from_products", torch.kron(result, result).float())  # 16 36

    def forward(self, x: Tensor) -> Tensor:
        """B C side side -> B O side side."""
        batch, channels, outputs = x.shape[0], x.shape[1], self.weight.shape[2]
        side, tiles = self.side, self.tiles
        after = 4 * (tiles + 1) - side - 1
        x = F.pad(x, (1, after, 1, after)).reshape(batch, channels, tiles + 1, 4, tiles + 1, 4)
        x = x.permute(3, 5, 0, 1, 2, 4)  # 4 4 B C tiles+1 tiles+1
        x = torch.cat([x[..., :tiles, :], x[:2, ..., 1:, :]])  # tiles overlap by two rows
        x = torch.cat([x[..., :tiles], x[:, :2, ..., 1:]], dim=1)  # 6 6 B C tiles tiles
        x = (self.to_products @ x.reshape(36, -1)).reshape(36, batch, channels, tiles**2)
        x = self.from_products @ torch.matmul(self.weight, x).reshape(36, -1)
        x = x.reshape(4, 4, batch, outputs, tiles, tiles).permute(2, 3, 4, 0, 5, 1)
        x = x.reshape(batch, outputs, 4 * tiles, 4 * tiles)[..., :side, :side]
        return x if self.bias is None else x + self.bias[:, None, None]


def with_winograd(network: nn.Module, *example: Tensor) -> nn.Module:
    """The network, or where it pays a copy with such convolutions.

    Args:
        network: frozen.
        example: its inputs; other ones must have the same size of pictures.
    """
    sides: dict[str, int] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: sides.update({name: inputs[0].shape[-1]})
        )
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and _is_wide(module)
    ]
    with torch.no_grad():
        network(*example)
    for hook in hooks:
        hook.remove()
    sides = {name: side for name, side in sides.items() if side >= _SMALLEST_SIDE}
    if not sides:
        return network
    network = copy.deepcopy(network)
    for name, side in sides.items():
        network.set_submodule(name, WinogradConv(network.get_submodule(name), side))
    return network


def _is_wide(layer: nn.Conv2d) -> bool:
    plain = (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))
    wide = min(layer.in_channels, layer.out_channels) >= _FEWEST_CHANNELS
    return plain and wide and layer.groups == 1 and layer.dilation == (1, 1)
