"""Between pictures and arrays: `B C H W`, float32 in [-1, 1], RGB. The round trip is exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image


def to_array(images: Sequence[Image.Image]) -> np.ndarray:
    """RGB images of one size -> B 3 H W float32 in [-1, 1], channels-last in memory.

    Raises:
        ValueError: no images, several sizes, or a mode other than RGB.
    """
    if not images:
        raise ValueError("to_array needs at least one image")
    kinds = {(image.mode, image.size) for image in images}
    if len(kinds) > 1 or images[0].mode != "RGB":
        raise ValueError(f"to_array needs RGB images of one size, got {sorted(kinds)}")
    pixels = np.stack([np.asarray(image) for image in images]).astype(np.float32)  # B H W 3
    return (pixels / np.float32(127.5) - np.float32(1)).transpose(0, 3, 1, 2)


def from_array(pictures: np.ndarray) -> list[Image.Image]:
    """B 3 H W in [-1, 1] -> B RGB images; values outside are clamped, then rounded.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3:
        raise ValueError(f"from_array needs B 3 H W, got {pictures.shape}")
    if not np.isfinite(pictures).all():
        raise ValueError("the pictures contain values that are not finite")
    levels = (pictures.astype(np.float32).clip(-1, 1) + np.float32(1)) * np.float32(127.5)
    pixels = np.rint(levels).astype(np.uint8).transpose(0, 2, 3, 1)
    return [Image.fromarray(np.ascontiguousarray(picture)) for picture in pixels]
