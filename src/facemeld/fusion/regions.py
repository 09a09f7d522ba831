"""Soft masks that say where in a source picture a style applies: named regions or mask pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from facemeld.errors import UserError, did_you_mean
from facemeld.fusion.inputs import Input
from facemeld.images.read import centre_square, check_picture, is_picture_name, shown

HALVES = {"left": (0, 0, 0.5, 1), "right": (0.5, 0, 1, 1), "top": (0, 0, 1, 0.5)}
HALVES["bottom"] = (0, 0.5, 1, 1)
"""Halves of the picture as the viewer sees it: left, top, right, bottom in shares of the side."""
FACE_PARTS = ("eyes", "brows", "nose", "mouth", "skin", "outer", "ears", "hair", "fur")
"""Parts of a face, which is looked for in the source; outer is all around it, hair and fur are the
same: what grows on a head, which on animals is the skin, too."""
NAMES = (*FACE_PARTS, *HALVES)
"""Of regions that need no mask picture."""
REGIONS = tuple(name for name in NAMES if name not in ("ears", "hair", "fur"))
"""Those that the studio has words for."""
_SAME_SHAPE = 0.02  # of width to height; drawing programs round

Region = str | Path | Image.Image | np.ndarray
"""A name, or a mask: a grey picture, white inside, or H W numbers from 0 to 1."""


def check_region(region: Region) -> None:
    """UserError if it is neither a known name nor a readable picture."""
    if isinstance(region, str) and region in NAMES:
        return
    if isinstance(region, str) and not is_picture_name(region):
        raise UserError(
            f"there is no region '{shown(region)}'",
            where="region",
            fix=did_you_mean(region, NAMES) + "; or name a mask picture",
        )
    if isinstance(region, str | Path):
        check_picture(region)


def mask_input(region: Region) -> Input | str:
    """The mask as a picture, read; a name as it is.

    Raises:
        UserError: no such region, or no readable mask.
    """
    from facemeld.fusion.inputs import read_input

    check_region(region)
    if isinstance(region, str) and region in NAMES:
        return region
    if isinstance(region, np.ndarray):
        if region.ndim != 2 or not region.size or not np.isfinite(region).all():
            raise UserError(
                f"a mask must be H W finite numbers, not of shape {region.shape}", where="region"
            )
        return Input(Image.fromarray(np.rint(255 * region.clip(0, 1)).astype(np.uint8)))
    return read_input(region)


def region_mask(mask: Input | str, source: Image.Image, size: int, feather: float) -> np.ndarray:
    """How much each pixel of the model's picture belongs to a region.

    Args:
        mask: the name of a half, or a picture drawn over the source or, square, over the model's
            picture.
        source: the whole source picture.
        size: side of the model's pictures in pixels.
        feather: deviation of the blur of the edges, in shares of the side.

    Returns:
        float32, size x size, in [0, 1].

    Raises:
        UserError: the mask has another shape than the source.
    """
    if isinstance(mask, str):
        picture = Image.new("L", (size, size))
        picture.paste(255, tuple(round(size * share) for share in HALVES[mask]))
    else:
        picture = mask.image
        width, height = picture.size
        same = abs(width / height / (source.width / source.height) - 1) <= _SAME_SHAPE
        if width != height and not same:
            raise UserError(
                f"the mask has {width} x {height} pixels, the source {source.width} x "
                f"{source.height}: another shape",
                where=shown(str(mask.name)),
                fix="draw it over the source, in any size, or square over the result",
            )
        picture = centre_square(picture, size).convert("L")
    if feather:
        picture = picture.filter(ImageFilter.GaussianBlur(feather * size))
    return np.asarray(picture, np.float32) / 255


def with_rest(masks: list[np.ndarray]) -> np.ndarray:
    """The masks after one of the rest, summing to 1; where they overlap they share.

    R of H W -> R+1 H W
    """
    stack = np.stack(masks)
    total = stack.sum(axis=0)
    stack = stack / np.maximum(total, 1)
    return np.concatenate([np.maximum(1 - total, 0)[None], stack]).astype(np.float32)
