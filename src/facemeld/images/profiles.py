"""Colours as a picture's ICC profile means them, in sRGB; without one, sRGB is what is meant.

Phones take photographs in Display P3; read as sRGB, they would look pale.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

LARGEST_PROFILE = 8_000_000
"""Bytes; profiles of printers take some millions, a larger one is left alone."""

_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
_AS_GOOD_AS_EQUAL = 2  # levels of 255; most profiles are of sRGB itself, rounded in some way


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The image converted to sRGB; as it is, where the profile says nothing or is broken.

    Args:
        image: RGB, L or CMYK.
        profile: the ICC profile that came with it.

    Returns:
        RGB, or the image as it was.
    """
    transform = _transform(bytes(profile), image.mode) if len(profile) <= LARGEST_PROFILE else None
    if transform is None:
        return image
    return ImageCms.applyTransform(image, transform)


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the profile to sRGB; None where it is broken, of another kind of colours, or sRGB."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if opened.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # without the cache, threads may share it
            ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOCACHE,
        )
        colours = _some_colours(mode)
        seen = ImageCms.applyTransform(colours, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    difference = np.asarray(colours.convert("RGB")).astype(int) - np.asarray(seen)
    return transform if np.abs(difference).max() > _AS_GOOD_AS_EQUAL else None


def _some_colours(mode: str) -> Image.Image:
    """Nine levels of each channel in all combinations."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    values = np.stack(np.meshgrid(*[levels] * bands), axis=-1).reshape(1, -1, bands)
    return Image.fromarray(values[..., 0] if bands == 1 else values, mode)
