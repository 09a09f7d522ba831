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


@dataclass(frozen=True)
class Encoded:
    """What the decoder is given of one source, whatever its look."""

    content: Content
    own: np.ndarray | None
    """1 S, the source's own style, where it is an ingredient."""
    masks: np.ndarray | None
    """1 R H W of the regions."""
    skip_masks: np.ndarray | None
    """1 2 256 256, for models whose skips are masked."""


def encode_sources(
    pipe: FusionPipeline,
    sources: Sequence[Input],
    looks: Looks,
    controls: Controls,
    *,
    own_style: bool,
) -> list[Encoded]:
    """Contents, own styles and masks as needed, all blended with the second source's.

    Args:
        pipe: the model.
        sources: pictures.
        looks: regions and second source.
        controls: what is asked for.
        own_style: the sources' own styles are needed.
    """
    encodings = pipe.encodings
    second = looks.second_source
    mix = 0.5 if controls.source_mix is None else controls.source_mix
    contents = encodings.contents(sources)
    if second is not None:
        (other,) = encodings.contents([second])
        contents = [blend(content, other, mix) for content in contents]
    skip_masks = pipe.skip_masks(sources)
    if second is not None and skip_masks is not None:
        skip_masks = lerp(skip_masks, pipe.skip_masks([second]), mix)
    own = None
    if own_style:
        own = encodings.styles(sources, controls.source_domain, "source_domain")
        if second is not None:
            other = encodings.styles([second], controls.source_domain, "source_domain")
            own = mix_pair(encodings, own, np.broadcast_to(other, own.shape), mix, controls)
    rest = (own, _masks(pipe, sources, looks, controls, mix), skip_masks)
    return [
        Encoded(content, *(None if part is None else part[i : i + 1] for part in rest))
        for i, content in enumerate(contents)
    ]


def between(
    pipe: FusionPipeline, one: Encoded, other: Encoded, share: float, controls: Controls
) -> Encoded:
    """On the way from one source, share 0, to another, share 1."""
    if share == 0:
        return one
    masks = (
        None if a is None else lerp(a, b, share)
        for a, b in ((one.masks, other.masks), (one.skip_masks, other.skip_masks))
    )
    own = one.own
    if own is not None:
        own = mix_pair(pipe.encodings, own, other.own, share, controls)
    return Encoded(blend(one.content, other.content, share), own, *masks)


def fuse_batch(
    pipe: FusionPipeline,
    sources: Sequence[Input],
    looks: Looks,
    codes: LookCodes,
    controls: Controls,
) -> list[list[Image.Image]]:
    """For each source its fused picture, or all its variations."""
    own_style = controls.strength < 1 or codes.base is None
    encoded = encode_sources(pipe, sources, looks, controls, own_style=own_style)
    styles = style_codes(pipe, encoded, codes, controls)
    results: list[list[Image.Image]] = [[] for _ in sources]
    for number in controls.variations or (0,):
        varied = styles
        if number:
            noise = random_at(controls.seed, number, _VARIATION).standard_normal(styles.shape[-1])
            varied = vary_styles(styles, noise, controls.variation_angle)
        for done, picture, source in zip(results, decode(pipe, encoded, varied, controls), sources):
            done.append(finished(picture, source.image, controls))
    return results


def style_codes(
    pipe: FusionPipeline, encoded: Sequence[Encoded], codes: LookCodes, controls: Controls
) -> np.ndarray:
    """The style of each level and region under the controls. -> B L R S"""
    own = None if encoded[0].own is None else np.concatenate([e.own for e in encoded])
    base = own if codes.base is None else codes.base
    shape = (len(encoded), len(LEVELS), 1 + len(codes.regions), base.shape[-1])
    styles = np.broadcast_to(base[:, None, None], shape).copy()
    for level, style in codes.levels.items():
        styles[:, level, 0] = style
    for region, style in enumerate(codes.regions, 1):
        styles[:, :, region] = style[:, None]
    if controls.strength == 1:
        return styles
    own = np.broadcast_to(own[:, None, None], shape)
    return mix_pair(pipe.encodings, own, styles, controls.strength, controls)


def mix_pair(
    encodings: Encodings, one: np.ndarray, other: np.ndarray, share: float, controls: Controls
) -> np.ndarray:
    """Between two styles: share 0 is the one, 1 the other. … S"""
    if controls.interpolation == "linear":
        return encodings.unit(lerp(one, other, share))
    pair = np.stack([one, other], axis=-2)
    return encodings.unit(mix_styles(pair, [1 - share, share], controls.interpolation))


def _masks(
    pipe: FusionPipeline, sources: Sequence[Input], looks: Looks, controls: Controls, mix: float
) -> np.ndarray | None:
    """The masks of the rest and of each region. -> B R H W, or None without regions"""
    if not looks.regions:
        return None
    named = [w for w, _ in looks.regions if isinstance(w, str) and w in FACE_PARTS]
    named = list(dict.fromkeys(named))

    def parts(source: Input) -> dict[str, np.ndarray]:
        if not named:
            return {}
        return pipe.face_parts(source, pipe.image_size, named, feather=controls.feather)

    second = parts(looks.second_source) if looks.second_source is not None else None
    stacks = []
    for source in sources:
        found = parts(source)
        if second is not None:
            found = {name: lerp(mask, second[name], mix) for name, mask in found.items()}
        masks = [
            found[where]
            if isinstance(where, str) and where in found
            else region_mask(where, source.image, pipe.image_size, controls.feather)
            for where, _ in looks.regions
        ]
        stacks.append(with_rest(masks))
    return np.stack(stacks)


def decode(
    pipe: FusionPipeline, encoded: Sequence[Encoded], styles: np.ndarray, controls: Controls
) -> list[Image.Image]:
    """The decoder's pass. B L R S -> B pictures

    What a region's style does to the statistics of the norms, and convolutions over its edge, would
    change the rest of the picture a little; the rest is taken from a pass without regions.
    """
    contents = [e.content for e in encoded]
    masks, skip_masks = (
        None if parts[0] is None else np.concatenate(parts)
        for parts in ([e.masks for e in encoded], [e.skip_masks for e in encoded])
    )
    passed = {"skip_masks": skip_masks, "content_strength": controls.content_strength}
    rest = pipe.backend.decode(contents, styles[:, :, :1], **passed)
    if masks is None:
        return from_array(rest)
    fused = pipe.backend.decode(contents, styles, masks=masks, **passed)
    # Full from where a region has half of the style, so that soft edges are not softened twice.
    share = (2 * (1 - masks[:, :1])).clip(max=1)
    return from_array(np.where(share == 0, rest, rest + share * (fused - rest)))


def finished(picture: Image.Image, source: Image.Image, controls: Controls) -> Image.Image:
    """The decoder's picture in the colours and the size that were asked for."""
    if controls.colour_match:
        like = centre_square(source, picture.width)
        picture = match_colours(picture, like, controls.colour_match)
    if controls.size is not None:
        picture = picture.resize((controls.size, controls.size), Image.Resampling.LANCZOS)
    return picture
