"""Colours of one picture given to another (Reinhard et al. 2001), in Oklab (Ottosson 2020)."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Linear sRGB to the cones' responses, and their cube roots to lightness and two opponent colours.
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_MOST_CONTRAST = 3.0  # a picture of nearly one colour would else turn into its noise


def match_colours(image: Image.Image, like: Image.Image, share: float) -> Image.Image:
    """The picture with means and deviations of colours moved towards another's.

    Args:
        image: RGB.
        like: RGB, of any size; gives the colours.
        share: 0 leaves the picture as it is, 1 takes the other's colours in full.
    """
    if share == 0:
        return image
    pixels, goal = to_oklab(image), to_oklab(like).reshape(-1, 3)
    rows = pixels.reshape(-1, 3)
    contrast = goal.std(axis=0) / np.maximum(rows.std(axis=0), 1e-6)
    matched = (pixels - rows.mean(axis=0)) * contrast.clip(0, _MOST_CONTRAST) + goal.mean(axis=0)
    return from_oklab(pixels + share * (matched - pixels))


def to_oklab(image: Image.Image) -> np.ndarray:
    """RGB -> H W 3: lightness 0 to 1, green to red, blue to yellow."""
    values = np.asarray(image, np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_CONES.T) @ _TO_OKLAB.T


def from_oklab(pixels: np.ndarray) -> Image.Image:
    """H W 3 -> RGB; colours that screens cannot show are clipped."""
    linear = (pixels @ np.linalg.inv(_TO_OKLAB).T) ** 3 @ np.linalg.inv(_TO_CONES).T
    linear = linear.clip(0, 1)
    values = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))
