"""Where the features of an aligned face lie: one template for each kind of face.

Measured on aligned training faces, so that newly aligned ones fall into the same places; how, and
with what spread, is in docs/data.md. All values are shares of the picture's side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facemeld.errors import UserError
from facemeld.images.read import shown

KINDS = ("human", "animal", "anime")
POINTS = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")

TEMPLATES = {
    "human": ((0.305, 0.278), (0.695, 0.278), (0.5, 0.515), (0.325, 0.668), (0.675, 0.668)),
    "animal": ((0.35, 0.48), (0.65, 0.48), (0.5, 0.70), (0.42, 0.785), (0.58, 0.785)),
    "anime": ((0.335, 0.397), (0.665, 0.397), (0.5, 0.545), (0.43, 0.64), (0.57, 0.64)),
}
"""For each kind the five POINTS as (x, y)."""

_MEAN_SIDE = 256  # pixels of the pictures that celeba_lm_mean.npz speaks of
_LARGEST_MEAN_FILE = 1_000_000


def template(kind: str, size: float = 1.0) -> np.ndarray:
    """The five points of an aligned face of ``size`` pixels. -> 5 2"""
    return np.array(TEMPLATES[kind]) * size


def official_template(path: Path) -> np.ndarray:
    """The layout of CelebA-HQ, which the official human models were trained on. -> 5 2, shares

    Args:
        path: ``celeba_lm_mean.npz`` of the official StarGAN v2, 98 mean landmarks at 256 px.

    Raises:
        UserError: the file is missing or holds something else.
    """
    points = read_mean_landmarks(path) / _MEAN_SIDE
    left, right = (points[[*range(first, first + 8), pupil]].mean(0) for first, pupil in _EYES)
    return np.stack([left, right, points[54], points[76], points[82]])


_EYES = ((60, 96), (68, 97))  # first of the eight points around an eye, and its pupil


def read_mean_landmarks(path: Path) -> np.ndarray:
    """The 98 mean landmarks in ``celeba_lm_mean.npz``, in pixels of 256. -> 98 2

    Raises:
        UserError: the file is missing or holds something else. Nothing in it is executed.
    """
    try:
        if path.stat().st_size > _LARGEST_MEAN_FILE:
            raise ValueError("too large")
        with np.load(path, allow_pickle=False) as arrays:
            points = np.asarray(arrays["mean"], dtype=np.float64)
        if points.shape != (98, 2) or not np.isfinite(points).all():
            raise ValueError(f"'mean' has the shape {points.shape}")
    except FileNotFoundError:
        raise UserError("there is no such file", where=shown(path), fix="check the path") from None
    except Exception as error:  # a damaged archive can make NumPy raise many kinds
        raise UserError(
            f"not the 98 mean landmarks of the official code: {error}",
            where=shown(path),
            fix="give celeba_lm_mean.npz as it was published",
        ) from None
    return points
