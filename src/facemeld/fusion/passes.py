"""The steps of a fusion: style codes for each level and region, contents, and the decoder's pass.

Shapes: B sources, L levels, R regions (the first is the rest of the picture), S style size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facemeld.config import LEVELS
from facemeld.data.randomness import random_at
from facemeld.fusion.backends import Content, blend
from facemeld.fusion.colour import match_colours
from facemeld.fusion.inputs import Input
from facemeld.fusion.looks import Looks
from facemeld.fusion.mixing import lerp, mix_styles, vary_styles
from facemeld.fusion.regions import FACE_PARTS, region_mask, with_rest
from facemeld.fusion.request import Controls
from facemeld.images.arrays import from_array
from facemeld.images.read import centre_square

if TYPE_CHECKING:
    from facemeld.fusion.encodings import Encodings
    from facemeld.fusion.pipeline import FusionPipeline

_VARIATION = 21  # random stream


@dataclass(frozen=True)
class LookCodes:
    """Styles that do not depend on the source."""

    base: np.ndarray | None
    """1 S, of all references or of a latent code; None for the source's own."""
    levels: dict[int, np.ndarray]
    """1 S each, by the level's place in LEVELS."""
    regions: list[np.ndarray]
    """1 S each."""


def look_codes(
    encodings: Encodings, looks: Looks, controls: Controls, shares: Sequence[float]
) -> LookCodes:
    """Encodes all references, or maps the latent code.

    Args:
        encodings: of the model.
        looks: the references.
        controls: interpolation, domain, latent code.
        shares: of each reference; sum to 1.
    """

    def style(reference: Input) -> np.ndarray:
        return encodings.styles([reference], controls.domain, "domain")

    base = None
    if controls.latent:
        base = encodings.latent_style(controls.domain, controls.seed, controls.truncation)
    elif looks.references:
        codes = encodings.styles(looks.references, controls.domain, "domain")
        base = encodings.unit(mix_styles(codes, shares, controls.interpolation)[None])
    return LookCodes(
        base,
        {LEVELS.index(name): style(reference) for name, reference in looks.levels.items()},
        [style(reference) for _, reference in looks.regions],
    )


def fuse_batch(
    pipe: FusionPipeline,
    sources: Sequence[Input],
    looks: Looks,
    codes: LookCodes,
    controls: Controls,
) -> list[list[Image.Image]]:
    """For each source its fused picture, or all its variations."""
    encodings = pipe.encodings
    second = looks.second_source
    mix = 0.5 if controls.source_mix is None else controls.source_mix
    contents = encodings.contents(sources)
    if second is not None:
        (other,) = encodings.contents([second])
        contents = [blend(content, other, mix) for content in contents]
    own = None
    if controls.strength < 1 or codes.base is None:
        own = encodings.styles(sources, controls.source_domain, "source_domain")
        if second is not None:
            other = encodings.styles([second], controls.source_domain, "source_domain")
            own = _mixed(encodings, own, np.broadcast_to(other, own.shape), mix, controls)
    styles = _style_codes(encodings, own, len(sources), codes, controls)
    masks = _masks(pipe, sources, looks, controls)
    skip_masks = pipe.skip_masks(sources)
    results: list[list[Image.Image]] = [[] for _ in sources]
    for number in controls.variations or (0,):
        varied = styles
        if number:
            noise = random_at(controls.seed, number, _VARIATION).standard_normal(styles.shape[-1])
            varied = vary_styles(styles, noise, controls.variation_angle)
        fused = from_array(_decoded(pipe, contents, varied, masks, skip_masks, controls))
        for done, picture, source in zip(results, fused, sources):
            done.append(_finished(picture, source, controls))
    return results


def _style_codes(
    encodings: Encodings,
    own: np.ndarray | None,
    sources: int,
    codes: LookCodes,
    controls: Controls,
) -> np.ndarray:
    """The style of each level and region under the controls. -> B L R S"""
    base = own if codes.base is None else codes.base
    shape = (sources, len(LEVELS), 1 + len(codes.regions), base.shape[-1])
    styles = np.broadcast_to(base[:, None, None], shape).copy()
    for level, style in codes.levels.items():
        styles[:, level, 0] = style
    for region, style in enumerate(codes.regions, 1):
        styles[:, :, region] = style[:, None]
    if controls.strength == 1:
        return styles
    own = np.broadcast_to(own[:, None, None], shape)
    return _mixed(encodings, own, styles, controls.strength, controls)


def _mixed(
    encodings: Encodings, one: np.ndarray, other: np.ndarray, share: float, controls: Controls
) -> np.ndarray:
    """Between two styles: share 0 is the one, 1 the other. … S"""
    if controls.interpolation == "linear":
        return encodings.unit(lerp(one, other, share))
    pair = np.stack([one, other], axis=-2)
    return encodings.unit(mix_styles(pair, [1 - share, share], controls.interpolation))


def _masks(
    pipe: FusionPipeline, sources: Sequence[Input], looks: Looks, controls: Controls
) -> np.ndarray | None:
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
    return np.stack(stacks)


def _decoded(
    pipe: FusionPipeline,
    contents: Sequence[Content],
    styles: np.ndarray,
    masks: np.ndarray | None,
    skip_masks: np.ndarray | None,
    controls: Controls,
) -> np.ndarray:
    """B L R S -> B 3 H W

    What a region's style does to the statistics of the norms, and convolutions over its edge, would
    change the rest of the picture a little; the rest is taken from a pass without regions.
    """
    decode, strength = pipe.backend.decode, controls.content_strength
    rest = decode(contents, styles[:, :, :1], skip_masks=skip_masks, content_strength=strength)
    if masks is None:
        return rest
    fused = decode(contents, styles, masks=masks, skip_masks=skip_masks, content_strength=strength)
    # Full from where a region has half of the style, so that soft edges are not softened twice.
    share = (2 * (1 - masks[:, :1])).clip(max=1)
    return np.where(share == 0, rest, rest + share * (fused - rest))


def _finished(picture: Image.Image, source: Input, controls: Controls) -> Image.Image:
    if controls.colour_match:
        like = centre_square(source.image, picture.width)
        picture = match_colours(picture, like, controls.colour_match)
    if controls.size is not None:
        picture = picture.resize((controls.size, controls.size), Image.Resampling.LANCZOS)
    return picture
