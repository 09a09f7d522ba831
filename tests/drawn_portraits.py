"""A face that OpenCV's own cascades find, drawn from a few ellipses; and a photograph with it."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

EYES_AND_MOUTH = np.array([(0.345, 0.40), (0.655, 0.40), (0.5, 0.56), (0.39, 0.71), (0.61, 0.71)])
"""Where the five points of `portrait` are, in shares of its side."""


def portrait(size: int = 256) -> Image.Image:
    """A shaded face in front of a plain wall."""
    s = size * 2
    image = Image.new("RGB", (s, s), (120, 130, 140))
    draw = ImageDraw.Draw(image)

    def ellipse(x: float, y: float, rx: float, ry: float, colour: tuple[int, int, int]) -> None:
        draw.ellipse(((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s), fill=colour)

    ellipse(0.5, 0.42, 0.36, 0.40, (60, 40, 30))  # hair
    ellipse(0.5, 0.5, 0.30, 0.40, (225, 180, 150))
    for (x, y), side in zip(EYES_AND_MOUTH[:2], (-1, 1)):
        ellipse(x, y, 0.085, 0.055, (150, 105, 85))  # socket
        ellipse(x, y - 0.085, 0.095, 0.018, (60, 40, 30))  # brow
        ellipse(x, y, 0.06, 0.028, (250, 250, 250))
        ellipse(x, y, 0.027, 0.027, (40, 30, 25))
        ellipse(x + side * 0.03, y + 0.2, 0.06, 0.05, (232, 175, 150))  # cheek
    ellipse(0.5, 0.50, 0.035, 0.1, (240, 205, 180))
    ellipse(0.5, 0.585, 0.055, 0.022, (170, 120, 100))
    ellipse(0.5, 0.71, 0.11, 0.035, (165, 80, 80))
    return image.filter(ImageFilter.GaussianBlur(s / 120)).resize((size, size), 1)


def photograph(matrix: np.ndarray, size: tuple[int, int], side: int = 256) -> Image.Image:
    """A textured wall with a portrait in it, which the 2 3 matrix takes there."""
    from facemeld.faces.geometry import warp, warp_map

    random = np.random.default_rng(5)
    coarse = random.integers(90, 170, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8)
    wall = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float32)
    picture = np.asarray(warp(portrait(side), matrix, size), np.float32)
    cover = warp_map(np.ones((side, side), np.float32), matrix, size)[..., None]
    return Image.fromarray(np.rint(wall + cover * (picture - wall)).astype(np.uint8))
