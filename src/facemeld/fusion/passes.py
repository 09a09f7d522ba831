"""The tensors of a fusion: style codes for each level and region, contents, and the decoder's pass.

Shapes: B sources, L levels, R regions (the first is the rest of the picture), S style size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from facemeld.config import LEVELS
from facemeld.data.sampling import random_at
from facemeld.fusion.colour import match_colours
from facemeld.fusion.inputs import Input
from facemeld.fusion.looks import Looks
from facemeld.fusion.mixing import mix_styles, vary_styles
from facemeld.fusion.regions import FACE_PARTS, region_mask, with_rest
from facemeld.fusion.request import Controls
from facemeld.images.read import centre_square
from facemeld.images.tensors import to_pictures
from facemeld.networks.generator import Content
from facemeld.networks.styles import StyleField

if TYPE_CHECKING:
    from facemeld.fusion.pipeline import FusionPipeline

_VARIATION = 21  # random stream


@dataclass(frozen=True)
class LookCodes:
    """Styles that do not depend on the source."""

    base: Tensor | None
    """1 S, of all references or of a latent code; None for the source's own."""
    levels: dict[int, Tensor]
    """1 S each, by the level's place in LEVELS."""
    regions: list[Tensor]
    """1 S each."""


def look_codes(
    pipe: FusionPipeline, looks: Looks, controls: Controls, shares: Sequence[float]
) -> LookCodes:
    """Encodes all references, or maps the latent code.

    Args:
        pipe: the model.
        looks: the references.
        controls: interpolation, domain, latent code.
        shares: of each reference; sum to 1.
    """
    base = None
    if controls.latent:
        base = pipe.latent_style(controls.domain, controls.seed, controls.truncation)
    elif looks.references:
        codes = pipe.styles_of(looks.references, controls.domain)
        base = pipe.unit(mix_styles(codes, shares, controls.interpolation)[None])
    return LookCodes(
        base,
        {
            LEVELS.index(name): pipe.styles_of([reference], controls.domain)
            for name, reference in looks.levels.items()
        },
        [pipe.styles_of([reference], controls.domain) for _, reference in looks.regions],
    )


@torch.inference_mode()
def fuse_batch(
    pipe: FusionPipeline,
    sources: Sequence[Input],
    looks: Looks,
    codes: LookCodes,
    controls: Controls,
) -> list[list[Image.Image]]:
    """For each source its fused picture, or all its variations."""
    pictures = pipe.prepare(sources)
    second = None if looks.second_source is None else pipe.prepare([looks.second_source])
    mix = 0.5 if controls.source_mix is None else controls.source_mix
    content = pipe.networks.generator.encode(pictures)
    if second is not None:
        content = content.blend(pipe.networks.generator.encode(second).repeat(len(pictures)), mix)
    own = None
    if controls.strength < 1 or codes.base is None:
        own = pipe.own_styles(pictures, controls.source_domain)
        if second is not None:
            other = pipe.own_styles(second, controls.source_domain).expand_as(own)
            own = _mixed(pipe, own, other, mix, controls)
    styles = _style_codes(pipe, own, codes, controls)
    masks = _masks(pipe, sources, looks, controls)
    skip_masks = pipe.masks(pictures)
    results: list[list[Image.Image]] = [[] for _ in sources]
    for number in controls.variations or (0,):
        varied = styles
        if number:
            noise = random_at(controls.seed, number, _VARIATION).standard_normal(styles.shape[-1])
            noise = torch.from_numpy(noise).to(styles)
            varied = vary_styles(styles, noise, controls.variation_angle)
        fused = to_pictures(_decoded(pipe, content, varied, masks, skip_masks, controls))
        for done, picture, source in zip(results, fused, sources):
            done.append(_finished(picture, source, controls))
    return results


def _style_codes(
    pipe: FusionPipeline, own: Tensor | None, codes: LookCodes, controls: Controls
) -> Tensor:
    """The style of each level and region under the controls. -> B L R S"""
    base = own if codes.base is None else codes.base
    count = len(base if own is None else own)
    styles = base[:, None, None].expand(count, len(LEVELS), 1 + len(codes.regions), -1).clone()
    for level, style in codes.levels.items():
        styles[:, level, 0] = style
    for region, style in enumerate(codes.regions, 1):
        styles[:, :, region] = style[:, None]
    if controls.strength == 1:
        return styles
    return _mixed(pipe, own[:, None, None].expand_as(styles), styles, controls.strength, controls)


def _mixed(
    pipe: FusionPipeline, one: Tensor, other: Tensor, share: float, controls: Controls
) -> Tensor:
    """Between two styles: share 0 is the one, 1 the other. … S"""
    if controls.interpolation == "linear":
        return pipe.unit(torch.lerp(one, other, share))
    pair = torch.stack([one, other], dim=-2)
    return pipe.unit(mix_styles(pair, [1 - share, share], controls.interpolation))


def _masks(
    pipe: FusionPipeline, sources: Sequence[Input], looks: Looks, controls: Controls
) -> Tensor | None:
    """The masks of the rest and of each region. -> B R H W, or None without regions"""
    if not looks.regions:
        return None
    stacks = []
    for source in sources:
        masks = []
        for where, _ in looks.regions:
            if isinstance(where, str) and where in FACE_PARTS:
                masks.append(pipe.face_parts(source, pipe.image_size)[where])
            else:
                masks.append(region_mask(where, source.image, pipe.image_size, controls.feather))
        stacks.append(with_rest(masks))
    return torch.from_numpy(np.stack(stacks)).to(pipe.device)


def _decoded(
    pipe: FusionPipeline,
    content: Content,
    styles: Tensor,
    masks: Tensor | None,
    skip_masks: Tensor | None,
    controls: Controls,
) -> Tensor:
    """B L R S -> B 3 H W

    What a region's style does to the statistics of the norms, and convolutions over its edge, would
    change the rest of the picture a little; the rest is taken from a pass without regions.
    """
    generator = pipe.networks.generator
    strength = controls.content_strength
    plain = StyleField(styles[:, :, :1])
    rest = generator.decode(content, plain, skip_masks, strength)
    if masks is None:
        return rest
    fused = generator.decode(content, StyleField(styles, masks), skip_masks, strength)
    # Full from where a region has half of the style, so that soft edges are not softened twice.
    return torch.lerp(rest, fused, (2 * (1 - masks[:, :1])).clamp(max=1))


def _finished(picture: Image.Image, source: Input, controls: Controls) -> Image.Image:
    if controls.colour_match:
        like = centre_square(source.image, picture.width)
        picture = match_colours(picture, like, controls.colour_match)
    if controls.size is not None:
        picture = picture.resize((controls.size, controls.size), Image.Resampling.LANCZOS)
    return picture
