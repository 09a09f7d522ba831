"""Styles by level and region in the decoder: what one style everywhere and sharp masks give."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from facemeld.config import LEVELS, NetworkConfig, SwinConfig
from facemeld.networks.generator import AdditiveSkip, Content, Generator
from facemeld.networks.layers import AdaIN
from facemeld.networks.styles import RegionStyles, StyleField, resize_masks

SWIN = SwinConfig(window_size=4, head_width=4, convolutional_levels=1)


@pytest.fixture(autouse=True)
def same_dice():
    torch.manual_seed(0)


def build(kind: str = "resnet", skips: str = "additive", **sizes) -> Generator:
    sizes = dict(image_size=32, widths=(4, 8, 8, 8), style_size=5, styled_output=True) | sizes
    generator = Generator(kind=kind, skips=skips, skip_resolutions=(16, 32), swin=SWIN, **sizes)
    with torch.no_grad():  # away from the zeros that some layers start with
        for parameter in generator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return generator.eval().requires_grad_(False)


def everywhere(styles: Tensor, regions: int = 1) -> Tensor:
    """B S -> B L R S"""
    return styles[:, None, None].expand(-1, len(LEVELS), regions, -1)


def halves(batch: int, side: int) -> Tensor:
    """Left and right. -> B 2 H W"""
    left = (torch.arange(side) < side // 2).float().expand(batch, 1, side, side)
    return torch.cat([left, 1 - left], dim=1)


@pytest.mark.parametrize("kind", ["resnet", "swin-unet"])
@pytest.mark.parametrize("skips", ["none", "additive", "highpass"])
def test_one_style_everywhere_is_that_style(kind: str, skips: str) -> None:
    generator = build(kind, skips)
    content, styles = generator.encode(torch.rand(2, 3, 32, 32) * 2 - 1), torch.randn(2, 5)
    plain = generator.decode(content, styles)
    assert torch.equal(generator.decode(content, StyleField(everywhere(styles))), plain)
    near = {"rtol": 0, "atol": 1e-5 * float(plain.abs().max())}
    soft = torch.rand(2, 3, 20, 20).softmax(dim=1)
    field = StyleField(everywhere(styles, 3), soft)
    torch.testing.assert_close(generator.decode(content, field), plain, **near)
    # A region whose mask is zero has no say.
    codes = torch.stack([everywhere(styles)[:, :, 0], torch.randn(2, 3, 5)], dim=2)
    ones = torch.tensor([1.0, 0.0])[None, :, None, None].expand(2, 2, 32, 32)
    found = generator.decode(content, StyleField(codes, ones))
    torch.testing.assert_close(found, plain, **near)


def test_each_half_is_normalised_to_its_own_style() -> None:
    norm = AdaIN(style_size=5, channels=6)
    x, codes = torch.randn(2, 6, 8, 8), torch.randn(2, 2, 5)
    found = norm(x, RegionStyles(codes, halves(2, 8)))
    torch.testing.assert_close(found[..., :4], norm(x, codes[:, 0])[..., :4])
    torch.testing.assert_close(found[..., 4:], norm(x, codes[:, 1])[..., 4:])


def test_each_half_has_its_own_gate() -> None:
    skip = AdditiveSkip(channels=4, style_size=5)
    torch.nn.init.normal_(skip.gate.weight)
    x, features, codes = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.randn(2, 2, 5)
    found = skip(x, features, RegionStyles(codes, halves(2, 8)), 1.0)
    ends = [skip(x, features, codes[:, i], 1.0) for i in (0, 1)]
    torch.testing.assert_close(found[..., :4], ends[0][..., :4])
    torch.testing.assert_close(found[..., 4:], ends[1][..., 4:])
    assert (ends[0] - ends[1]).abs().max() > 0.1


@pytest.mark.parametrize("side", [4, 12, 32, 50])
def test_resized_masks_still_sum_to_one(side: int) -> None:
    masks = resize_masks(torch.rand(2, 3, 32, 32).softmax(dim=1), (side, side))
    assert masks.shape == (2, 3, side, side) and masks.min() >= 0
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(2, side, side))


def test_a_levels_style_reaches_the_blocks_of_that_level_only() -> None:
    generator = build()
    seen: list[Tensor] = []
    for block in [*generator.decoder, generator.output_norm]:
        block.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    content, codes = generator.encode(torch.rand(1, 3, 32, 32)), torch.randn(1, 3, 1, 5)
    generator.decode(content, StyleField(codes))
    assert generator.levels == (0, 0, 1, 1, 2)
    for style, level in zip(seen, [*generator.levels, 2], strict=True):
        assert torch.equal(style, codes[:, level, 0])


@pytest.mark.parametrize(
    ("size", "widths", "expected"),
    [
        (256, (4,) * 5, {"coarse": (16,), "middle": (32, 64), "fine": (128, 256)}),
        (64, (4,) * 4, {"coarse": (8,), "middle": (16, 32), "fine": (64,)}),
        (64, (4,) * 3, {"coarse": (16,), "middle": (32,), "fine": (64,)}),
        (16, (4, 4), {"coarse": (8,), "fine": (16,)}),
    ],
)
def test_levels_divide_the_resolutions_evenly(size: int, widths: tuple, expected: dict) -> None:
    config = NetworkConfig(image_size=size, widths=widths, decoder_blocks=2)
    assert config.style_levels() == expected
    generator = build(skips="none", image_size=size, widths=widths)
    sides = [expected[LEVELS[level]] for level in generator.levels]
    coarsest = size >> (len(widths) - 1)
    doubled = [coarsest << k for k in range(1, len(widths))]
    assert all(side in own for side, own in zip([coarsest] * 2 + doubled, sides, strict=True))
    bare = dataclasses.replace(config, decoder_blocks=0)
    assert coarsest not in sum(bare.style_levels().values(), ())


def test_blended_contents_end_in_their_parts() -> None:
    one, other = (Content(torch.randn(2, 3, 4, 4), (torch.randn(2, 3, 8, 8),)) for _ in range(2))
    for share, end in ((0.0, one), (1.0, other)):
        for found, part in zip(torch.utils._pytree.tree_leaves(one.blend(other, share)), [*end]):
            assert torch.equal(found, part if isinstance(part, Tensor) else part[0])
    half = one.blend(other, 0.5)
    torch.testing.assert_close(half.skips[0], (one.skips[0] + other.skips[0]) / 2)
