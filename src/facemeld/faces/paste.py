"""Putting a fused face back where its source was found.

The face is moved, turned and scaled back, its colours are led over to those of the photograph
along the edge, and a feathered mask blends the two. Outside the mask no byte changes.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from facemeld.faces.align import Alignment
from facemeld.faces.geometry import inverse, shifted, smooth, transform, warp, warp_map

_INNER, _OUTER = 0.68, 0.96  # of the way from the centre to the side: all fused, nothing fused
_ROUNDNESS = 3.0  # exponent of the mask's outline: 2 is a circle, larger ones near a square
_LEAST_SIDE = 128  # pixels at which the mask is drawn
_COLOUR_REACH = 0.12  # deviation, in sides, of what is led over along the edge


def face_mask(size: int) -> np.ndarray:
    """How much of the fused face is taken, size x size, float32: 1 inside, 0 along the sides."""
    axis = np.abs((np.arange(size) + 0.5) / size * 2 - 1) ** _ROUNDNESS
    radius = (axis[:, None] + axis) ** (1 / _ROUNDNESS)
    way = np.clip((_OUTER - radius) / (_OUTER - _INNER), 0, 1)
    return (way * way * (3 - 2 * way)).astype(np.float32)


def paste_back(
    photograph: Image.Image, fused: Image.Image, how: Alignment, *, match_colours: bool = True
) -> Image.Image:
    """The photograph with a fused face in it; a new image.

    Args:
        photograph: RGB, that the source was aligned from.
        fused: RGB, square, of any size: the fused face in the aligned position.
        how: the source's alignment.
        match_colours: lead the face's colours over to the photograph's along the edge.
    """
    size = fused.width
    matrix = how.matrix_for(size)
    if match_colours:
        fused = _with_matched_edge(fused, warp(photograph, matrix, fused.size))
    left, top, right, bottom = _region(photograph, matrix, size)
    if right <= left or bottom <= top:
        return photograph.copy()
    extent = (right - left, bottom - top)
    patch = warp(fused, shifted(inverse(matrix), -left, -top), extent)
    side = max(size, _LEAST_SIDE)
    to_region = shifted(inverse(how.matrix_for(side)), -left, -top)
    share = warp_map(face_mask(side), to_region, extent)[..., None]
    result = np.array(photograph)
    region = result[top:bottom, left:right]
    mixed = region + share * (np.asarray(patch, np.float32) - region)
    region[:] = np.where(share > 0, np.rint(mixed).clip(0, 255), region).astype(np.uint8)
    return Image.fromarray(result)


def _region(photograph: Image.Image, matrix: np.ndarray, size: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what the aligned picture covers of the photograph."""
    corners = transform(inverse(matrix), [(0, 0), (size, 0), (0, size), (size, size)])
    low = np.maximum(np.floor(corners.min(0)), 0)
    high = np.minimum(np.ceil(corners.max(0)), photograph.size)
    return (*low.astype(int).tolist(), *high.astype(int).tolist())


def _with_matched_edge(fused: Image.Image, original: Image.Image) -> Image.Image:
    """Adds the difference to the original along the edge, spread smoothly and fading inwards."""
    size = fused.width
    mask = face_mask(size)
    edge = 4 * mask * (1 - mask)
    values = np.asarray(fused, np.float32)
    difference = np.asarray(original, np.float32) - values
    spread = smooth(difference * edge[..., None], _COLOUR_REACH * size)
    weight = smooth(edge, _COLOUR_REACH * size)
    fade = np.clip(weight / max(float(weight.max()), 1e-6), 0, 1)
    led_over = values + (fade * (1 / np.maximum(weight, 1e-6)))[..., None] * spread
    return Image.fromarray(np.rint(led_over).clip(0, 255).astype(np.uint8))
