"""Swin blocks: attention against its definition, windows, padding, and how blocks start."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from facemeld.config import SwinConfig
from facemeld.networks.swin import (
    StyledSwinStage,
    SwinBlock,
    SwinStage,
    WindowAttention,
    swin_parameters,
)

SIZES = SwinConfig(window_size=4, head_width=4)
SIDES = pytest.mark.parametrize(
    ("height", "width"), [(8, 8), (4, 4), (6, 10), (5, 7), (3, 4), (12, 4)]
)


@pytest.fixture(autouse=True)
def same_dice():
    torch.manual_seed(0)


def attention(shift: int) -> WindowAttention:
    layer = WindowAttention(channels=8, heads=2, window=4, shift=shift)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


def by_definition(layer: WindowAttention, x: Tensor) -> Tensor:
    """Position by position: softmax over the positions of the same window of the shifted grid."""
    _, height, width, channels = x.shape
    shift = layer.shift if max(height, width) > layer.window else 0
    # windows of the shifted map: the first line of windows starts at `shift`, the rest is cut off
    row = [(y - shift) // layer.window for y in range(height)]
    column = [(z - shift) // layer.window for z in range(width)]
    query, key, value = layer.qkv(x).unflatten(-1, (3, layer.heads, -1)).unbind(-3)
    out = torch.zeros(*x.shape[:3], layer.heads, channels // layer.heads)
    for y in range(height):
        for z in range(width):
            window = [
                (v, w)
                for v in range(height)
                for w in range(width)
                if row[v] == row[y] and column[w] == column[z]
            ]
            scores = []
            for v, w in window:
                place = (y - v + layer.window - 1) * (2 * layer.window - 1)
                place += z - w + layer.window - 1
                product = (query[:, y, z] * key[:, v, w]).sum(-1) / math.sqrt(query.shape[-1])
                scores.append(product + layer.position_bias[place])
            weights = torch.stack(scores, -1).softmax(-1)
            values = torch.stack([value[:, v, w] for v, w in window], -1)
            out[:, y, z] = (values * weights[:, :, None]).sum(-1)
    return layer.out(out.flatten(-2))


@SIDES
@pytest.mark.parametrize("shift", [0, 2])
def test_attention_is_what_it_says(height, width, shift):
    layer, x = attention(shift), torch.randn(2, height, width, 8)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), by_definition(layer, x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("norm", ["instance", "layer", "style"])
def test_a_block_starts_as_the_identity(norm):
    block = SwinBlock(channels=8, sizes=SIZES, shifted=True, norm=norm, style_size=3)
    x, style = torch.randn(2, 8, 8, 8), torch.randn(2, 3)
    torch.testing.assert_close(block(x, style) if norm == "style" else block(x), x)


def test_two_blocks_see_beyond_a_window():
    stage = SwinStage(inputs=8, outputs=8, sizes=SIZES, norm="layer")
    for name, parameter in stage.named_parameters():
        torch.nn.init.normal_(parameter, std=0.3)
        if "depthwise" in name:
            torch.nn.init.zeros_(parameter)
    x = torch.randn(1, 8, 16, 16)
    other = x.clone()
    other[:, 0, 7, 7] += 1
    with torch.inference_mode():
        first = stage.blocks[0](other) - stage.blocks[0](x)
        both = stage.blocks[1](stage.blocks[0](other)) - stage.blocks[1](stage.blocks[0](x))
    moved = first.abs().amax(dim=(0, 1)) > 1e-6
    assert moved[4:8, 4:8].all() and moved.sum() == 16
    moved = both.abs().amax(dim=(0, 1)) > 1e-6
    assert moved[2:10, 2:10].all() and moved.sum() == 64


@pytest.mark.parametrize("side", [8, 9, 14])
def test_stages_change_the_size_and_every_parameter_learns(side):
    down = SwinStage(inputs=8, outputs=12, sizes=SIZES, norm="instance", downsample=True)
    up = StyledSwinStage(inputs=12, outputs=8, sizes=SIZES, style_size=5, upsample=True)
    for parameter in (*down.parameters(), *up.parameters()):
        torch.nn.init.normal_(parameter, std=0.2)
    x, style = torch.randn(2, 8, side, side), torch.randn(2, 5)
    small = down(x)
    assert small.shape == (2, 12, side // 2, side // 2)
    out = up(small, style)
    assert out.shape == (2, 8, side // 2 * 2, side // 2 * 2)
    (out * torch.randn_like(out)).sum().backward()
    for name, parameter in (*down.named_parameters(), *up.named_parameters()):
        assert parameter.grad.isfinite().all(), name
        if not name.endswith("bias") or "position" in name:
            assert parameter.grad.abs().max() > 0, name


def test_biases_norms_and_positions_do_not_decay():
    stage = StyledSwinStage(inputs=8, outputs=8, sizes=SIZES, style_size=5, upsample=True)
    decayed, free = swin_parameters(stage)
    names = {id(p): n for n, p in stage.named_parameters()}
    assert all(names[id(p)].endswith("weight") for p in decayed) and len(decayed) == 2 * 7
    assert {names[id(p)].split(".")[-1] for p in free} == {"bias", "position_bias"}
    of_blocks = {id(p) for block in stage.blocks for p in block.parameters()}
    assert {id(p) for p in (*decayed, *free)} == of_blocks


def test_double_backward_works():
    """R1 and other gradient penalties reach through a stage."""
    stage = SwinStage(inputs=8, outputs=8, sizes=SIZES, norm="layer")
    x = torch.randn(1, 8, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(stage(x).square().sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert x.grad.isfinite().all() and x.grad.abs().max() > 0
