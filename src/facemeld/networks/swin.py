"""Swin Transformer blocks (Liu et al. 2021) for maps of any size, in the generator's pre-activation
form: norm, attention in windows, norm, MLP with a depthwise convolution.

What differs from the original, and why:

- The norm is chosen by the place: instance norm in a generator's encoder; AdaIN in its decoder,
  before attention and before the MLP, as in StyleSwin (Zhang et al. 2022); layer norm in a style
  encoder, where the statistics that the other two remove are the style.
- Maps that windows do not divide are padded, and the padding is masked out of the attention.
- The last layers of attention and MLP start at zero, so a block starts as the identity.
- Each stage ends with a 3x3 convolution and a residual around the whole stage (SwinIR, Liang et al.
  2021).

Shapes: B pictures, C channels, H x W pixels, S style size, N = window * window positions.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemeld.config import SwinConfig
from facemeld.networks.layers import AdaIN, InstanceNorm, conv, initialise
from facemeld.networks.styles import RegionStyles


class LayerNorm(nn.Module):
    """Layer normalisation of each position over its channels. B C H W -> B C H W."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 1)
        rows = F.layer_norm(rows, (len(self.weight),), self.weight, self.bias)
        return rows.permute(0, 3, 1, 2)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learned bias for each relative position.

    Args:
        channels: C, a multiple of ``heads``.
        heads: H; each attends to C / H channels.
        window: side of the windows in positions.
        shift: cyclic shift of the map before it is cut, so that two blocks see other windows.
    """

    def __init__(self, *, channels: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv = _linear(channels, 3 * channels)
        self.out = _zero(nn.Linear(channels, channels))
        self.position_bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.position_bias, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """B H W C -> B H W C"""
        height, width = map(int, x.shape[1:3])  # tensors while they are traced
        window = self.window
        # One window over the whole map has no neighbours to look at.
        shift = self.shift if max(height, width) > window else 0
        down, right = -height % window, -width % window
        if down or right:
            x = F.pad(x, (0, 0, 0, right, 0, down))
        padded = (height + down, width + right)
        if shift:
            x = x.roll((-shift, -shift), dims=(1, 2))
        rows = _cut(x, window)  # B, windows, N, C
        query, key, value = self.qkv(rows).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        bias = self._bias()
        if shift or down or right:
            apart = _apart(height, width, padded, window, shift, x.device)
            bias = bias.masked_fill(apart[:, None], -math.inf)  # windows, heads, N, N
        rows = F.scaled_dot_product_attention(
            query.transpose(-2, -3),
            key.transpose(-2, -3),
            value.transpose(-2, -3),
            attn_mask=bias.to(query.dtype),
        )
        x = _join(self.out(rows.transpose(-2, -3).flatten(-2)), padded, window)
        if shift:
            x = x.roll((shift, shift), dims=(1, 2))
        return x[:, :height, :width]

    def _bias(self) -> Tensor:
        """The bias of each pair of positions in a window. -> heads, N, N"""
        steps = torch.arange(self.window, device=self.position_bias.device)
        line = steps[:, None] - steps + self.window - 1  # window, window
        index = line[:, None, :, None] * (2 * self.window - 1) + line[None, :, None, :]
        return self.position_bias[index.flatten()].view(*[self.window**2] * 2, -1).permute(2, 0, 1)


class SwinBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)). B C H W -> B C H W.

    Args:
        channels: C.
        sizes: window, head width and MLP ratio.
        shifted: cut the windows half a window further.
        norm: ``instance``, ``layer``, or ``style`` (AdaIN).
        style_size: S, for AdaIN.
        unit_styles: see AdaIN.
    """

    def __init__(
        self,
        *,
        channels: int,
        sizes: SwinConfig,
        shifted: bool,
        norm: str,
        style_size: int = 0,
        unit_styles: bool = False,
    ) -> None:
        super().__init__()

        def make_norm() -> nn.Module:
            if norm == "style":
                return AdaIN(style_size=style_size, channels=channels, unit_styles=unit_styles)
            return InstanceNorm(channels) if norm == "instance" else LayerNorm(channels)

        self.norm1, self.norm2 = make_norm(), make_norm()
        self.attention = WindowAttention(
            channels=channels,
            heads=channels // sizes.head_width,
            window=sizes.window_size,
            shift=sizes.window_size // 2 if shifted else 0,
        )
        hidden = sizes.mlp_ratio * channels
        self.mlp_in = _linear(channels, hidden)
        self.depthwise = _zero(nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden))
        self.mlp_out = _zero(nn.Linear(hidden, channels))

    def forward(self, x: Tensor, *style: Tensor | RegionStyles) -> Tensor:
        rows = x.permute(0, 2, 3, 1)
        rows = rows + self.attention(self.norm1(x, *style).permute(0, 2, 3, 1))
        normal = self.norm2(rows.permute(0, 3, 1, 2), *style).permute(0, 2, 3, 1)
        hidden = F.gelu(self.mlp_in(normal))
        maps = hidden.permute(0, 3, 1, 2)
        hidden = hidden + self.depthwise(maps).permute(0, 2, 3, 1)
        return (rows + self.mlp_out(hidden)).permute(0, 3, 1, 2)


class SwinStage(nn.Module):
    """Swin blocks, a convolution and a residual around them; then half the resolution, if asked.

    The place of a ``ResidualBlock`` in an encoder. B C H W -> B C' H' W'.

    Args:
        inputs: channels in, of the blocks.
        outputs: channels out.
        sizes: of the blocks.
        norm: ``instance`` or ``layer``.
        downsample: merge patches of 2 x 2 by a convolution of stride 2.
    """

    def __init__(
        self, *, inputs: int, outputs: int, sizes: SwinConfig, norm: str, downsample: bool = False
    ) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = _blocks(channels=inputs, sizes=sizes, norm=norm)
        self.conv = conv(inputs, inputs)
        self.resize = (
            initialise(nn.Conv2d(inputs, outputs, 2, stride=2)) if downsample else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        rest = x
        for block in self.blocks:
            x = block(x)
        return self.resize((rest + self.conv(x)) * math.sqrt(0.5))


class StyledSwinStage(nn.Module):
    """Swin blocks under a style, a convolution and a residual; then twice the resolution, if asked.

    The place of a ``StyledResidualBlock`` in a decoder. B C H W and B S -> B C' H' W'.

    Args:
        inputs: channels in, of the blocks.
        outputs: channels out.
        sizes: of the blocks.
        style_size: S.
        upsample: AdaIN, activation, bilinear interpolation and a 3x3 convolution.
        unit_styles: see AdaIN.
    """

    def __init__(
        self,
        *,
        inputs: int,
        outputs: int,
        sizes: SwinConfig,
        style_size: int,
        upsample: bool = False,
        unit_styles: bool = False,
    ) -> None:
        super().__init__()
        self.upsample = upsample
        styled = {"norm": "style", "style_size": style_size, "unit_styles": unit_styles}
        self.blocks = _blocks(channels=inputs, sizes=sizes, **styled)
        self.conv = conv(inputs, inputs)
        if upsample:
            self.resize_norm = AdaIN(
                style_size=style_size, channels=inputs, unit_styles=unit_styles
            )
            self.resize = conv(inputs, outputs)

    def forward(self, x: Tensor, style: Tensor | RegionStyles) -> Tensor:
        rest = x
        for block in self.blocks:
            x = block(x, style)
        x = (rest + self.conv(x)) * math.sqrt(0.5)
        if not self.upsample:
            return x
        x = F.leaky_relu(self.resize_norm(x, style), 0.2)
        return self.resize(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))


def swin_parameters(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The trained parameters of the Swin blocks in a module, those with weight decay first.

    Biases, norms and position biases are not decayed.
    """
    blocks = [m for m in module.modules() if isinstance(m, SwinBlock)]
    named = [(n, p) for b in blocks for n, p in b.named_parameters() if p.requires_grad]
    free = [p for n, p in named if p.ndim < 2 or n.endswith("position_bias")]
    kept = {id(p) for p in free}
    return [p for _, p in named if id(p) not in kept], free


# ---------------------------------------------------------------------------------------------


def _blocks(*, channels: int, sizes: SwinConfig, **options) -> nn.ModuleList:
    """Every second block is shifted."""
    return nn.ModuleList(
        SwinBlock(channels=channels, sizes=sizes, shifted=index % 2 == 1, **options)
        for index in range(sizes.blocks)
    )


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """Unit variance in, unit variance out; He initialisation is not for layers without ReLU."""
    layer = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(layer.weight, std=inputs**-0.5)
    nn.init.zeros_(layer.bias)
    return layer


def _zero(layer):
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _cut(x: Tensor, window: int) -> Tensor:
    """B H W C -> B, windows, N, C; H and W are multiples of the window."""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # B, down, y, across, x, C
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _join(rows: Tensor, size: tuple[int, int], window: int) -> Tensor:
    """B, windows, N, C -> B H W C."""
    down, across = size[0] // window, size[1] // window
    x = rows.unflatten(2, (window, window)).unflatten(1, (down, across))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # from B, down, across, y, x, C


def _apart(
    height: int,
    width: int,
    padded: tuple[int, int],
    window: int,
    shift: int,
    device: torch.device,
) -> Tensor:
    """Which pairs of positions in each window were no neighbours before shift and padding.

    -> windows, N, N, bool. Padding is a region of its own.
    """
    lines = []
    for real, total in zip((height, width), padded):
        place = torch.arange(total, device=device).roll(-shift)  # position before the shift
        turned = torch.arange(total, device=device) >= total - shift
        lines.append(turned.long() + 2 * (place >= real).long())
    regions = _cut((4 * lines[0][:, None] + lines[1])[None, :, :, None], window)[0, :, :, 0]
    return regions[:, :, None] != regions[:, None, :]
