"""Similarity transforms between points, and pictures warped by them without aliasing."""

from __future__ import annotations

import math

import cv2
import numpy as np
from PIL import Image

_BORDER = 0.1  # share of the side over which mirrored surroundings turn into blurred ones
_FINE_BLUR = 4.0  # pixels: a wider blur looks the same from a reduced picture
_MARGIN = 4  # pixels around a crop that the interpolation may look at


def similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, uniform scale and shift that best take points to a target (Umeyama 1991).

    Args:
        points: N 2, at least two different ones.
        target: N 2.

    Returns:
        2 3 matrix; ``matrix @ (x, y, 1)`` is where a point goes. Never a reflection.
    """
    points, target = np.asarray(points, float), np.asarray(target, float)
    # As complex numbers, q = a p + b with the least squared error.
    p, q = points @ (1, 1j), target @ (1, 1j)
    centred = p - p.mean()
    a = np.vdot(centred, q - q.mean()) / np.vdot(centred, centred).real
    b = q.mean() - a * p.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where a 2 3 matrix takes points. N 2 -> N 2"""
    return np.asarray(points, float) @ matrix[:, :2].T + matrix[:, 2]


def inverse(matrix: np.ndarray) -> np.ndarray:
    """The 2 3 matrix that undoes another."""
    back = np.linalg.inv(matrix[:, :2])
    return np.column_stack([back, -back @ matrix[:, 2]])


def scale_of(matrix: np.ndarray) -> float:
    """How many pixels one pixel becomes, along a line."""
    return math.sqrt(abs(np.linalg.det(matrix[:, :2])))


def scaled(matrix: np.ndarray, factor: float) -> np.ndarray:
    """The matrix followed by a scaling about (0, 0)."""
    return matrix * factor


def shifted(matrix: np.ndarray, x: float, y: float) -> np.ndarray:
    """The matrix followed by a shift."""
    return matrix + np.array([[0, 0, x], [0, 0, y]])


def centre_square_matrix(width: int, height: int, size: int) -> np.ndarray:
    """Takes the largest centred square of a picture to size x size pixels."""
    side = min(width, height)
    square = np.array([[1, 0, (side - width) / 2], [0, 1, (side - height) / 2]])
    return scaled(square, size / side)


def warp(picture: Image.Image, matrix: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The picture as the matrix moves it, cut to ``size``.

    Shrinking averages whole blocks first and samples what is left finely enough, so that it does
    not alias. What lies outside the picture is its mirror image, blurred more the farther out.

    Args:
        picture: RGB.
        matrix: 2 3, from the picture to the result; a similarity.
        size: width and height of the result.
    """
    width, height = size
    outline = transform(inverse(matrix), [(0, 0), (width, 0), (0, height), (width, height)])
    scale = scale_of(matrix)
    block = max(1, int(0.5 / scale))
    piece, left, top = _crop(picture, outline, margin=_MARGIN * max(1.0, block, 1 / scale))
    if block > 1:
        piece = piece.reduce(block)
    fine = max(1, math.ceil(1 / (scale * block) - 1e-6))
    from_piece = np.array([[block, 0, left], [0, block, top]])
    step = np.column_stack([matrix[:, :2] @ from_piece[:, :2], transform(matrix, [(left, top)])[0]])
    sampled = cv2.warpAffine(
        np.asarray(piece),
        _about_pixel_centres(scaled(step, fine)),
        (width * fine, height * fine),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )
    result = Image.fromarray(sampled).resize(size, Image.Resampling.LANCZOS)
    return _blur_outside(result, picture.size, matrix)


def warp_map(values: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A smooth float map, H W, as the matrix moves it; zero outside."""
    return cv2.warpAffine(
        values.astype(np.float32),
        _about_pixel_centres(matrix),
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )


def smooth(values: np.ndarray, deviation: float) -> np.ndarray:
    """A Gaussian blur of a float map, H W or H W C; wide ones are made from a reduced map."""
    height, width = values.shape[:2]
    reduce = max(1, int(deviation / _FINE_BLUR))
    if reduce > 1:
        size = (max(1, width // reduce), max(1, height // reduce))
        values = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    spread = deviation / reduce
    blurred = cv2.GaussianBlur(values, (0, 0), spread, borderType=cv2.BORDER_REFLECT)
    return cv2.resize(blurred, (width, height)) if reduce > 1 else blurred


def _about_pixel_centres(matrix: np.ndarray) -> np.ndarray:
    """OpenCV counts from the centre of the first pixel."""
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    return moved


def _crop(
    picture: Image.Image, outline: np.ndarray, margin: float
) -> tuple[Image.Image, float, float]:
    """What an outline covers of the picture, with its left and top; never empty."""
    low = np.floor(outline.min(0) - margin)
    high = np.ceil(outline.max(0) + margin)
    size = np.array(picture.size)
    low = np.clip(low, 0, size - 1).astype(int)
    high = np.clip(high, low + 1, size).astype(int)
    return picture.crop((*low.tolist(), *high.tolist())), float(low[0]), float(low[1])


def _blur_outside(result: Image.Image, source: tuple[int, int], matrix: np.ndarray) -> Image.Image:
    width, height = result.size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    back = inverse(matrix)
    from_x = back[0, 0] * x + back[0, 1] * y + back[0, 2]
    from_y = back[1, 0] * x + back[1, 1] * y + back[1, 2]
    outside = np.maximum.reduce(
        [-from_x, from_x - source[0], -from_y, from_y - source[1], np.zeros_like(from_x)]
    )
    side = max(width, height)
    weight = np.clip(outside * scale_of(matrix) / (_BORDER * side), 0, 1)[..., None]
    if not weight.any():
        return result
    sharp = np.asarray(result, np.float32)
    mixed = sharp + weight * (smooth(sharp, side / 16) - sharp)
    return Image.fromarray(np.rint(mixed).clip(0, 255).astype(np.uint8))
