"""Arithmetic of style codes: weighted means, linear or on the sphere, and random variations.

Shapes: R codes that are mixed, S style size, … any further dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_MOST_STEPS = 100
_CLOSE = 1e-12  # radians; a step of the spherical mean that no longer matters


def lerp(one, other, share: float):
    """Between two arrays, or tensors, of one kind: share 0 is the one, 1 the other, to the bit."""
    if share < 0.5:
        return one + share * (other - one)
    return other - (1 - share) * (other - one)


def unit_mean_square(codes: np.ndarray) -> np.ndarray:
    """Scales each style code to unit mean square, as ``networks.layers.unit_rms``. … S -> … S"""
    mean = np.square(codes).mean(-1, keepdims=True, dtype=np.float64)
    return (codes / np.sqrt(mean + 1e-6)).astype(codes.dtype)


def mix_styles(codes: np.ndarray, weights: Sequence[float], interpolation: str) -> np.ndarray:
    """The weighted mean of style codes. … R S -> … S

    Spherical means have the direction from which the codes' directions lie equally far, weighted
    (Buss & Fillmore 2001; for two codes: Shoemake's slerp), and the weighted mean of their lengths.

    Args:
        codes: to mix.
        weights: R, summing to 1.
        interpolation: ``linear`` or ``spherical``.
    """
    shares = np.array(list(weights), np.float64)[:, None]
    exact = codes.astype(np.float64)
    if interpolation == "linear":
        return (exact * shares).sum(-2).astype(codes.dtype)
    return _spherical_mean(exact, shares).astype(codes.dtype)


def vary_styles(codes: np.ndarray, noise: np.ndarray, angle: float) -> np.ndarray:
    """Each code turned towards random noise by an angle, its length kept. … S and S -> … S

    Args:
        codes: style codes.
        noise: one direction for all of them.
        angle: in degrees.
    """
    directions = _normalised(codes.astype(np.float64))
    across = noise - (noise * directions).sum(-1, keepdims=True) * directions
    length = np.linalg.norm(codes, axis=-1, keepdims=True)
    turn = math.radians(angle)
    turned = math.cos(turn) * codes + math.sin(turn) * length * _normalised(across)
    return turned.astype(codes.dtype)


def _normalised(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-12)


def _spherical_mean(codes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(codes, axis=-1, keepdims=True)
    points = codes / lengths.clip(1e-12)
    mean = _normalised((shares * points).sum(-2, keepdims=True))
    for _ in range(_MOST_STEPS):
        along = (points * mean).sum(-1, keepdims=True)
        across = points - along * mean
        sine = np.linalg.norm(across, axis=-1, keepdims=True)
        # What the exponential map turns into the points: directions with the angles as lengths.
        tangents = across / sine.clip(1e-12) * np.arctan2(sine, along)
        step = (shares * tangents).sum(-2, keepdims=True)
        angle = np.linalg.norm(step, axis=-1, keepdims=True)
        turned = np.cos(angle) * mean + np.sin(angle) * step / angle.clip(1e-30)
        mean = _normalised(turned)
        if angle.max() < _CLOSE:
            break
    return (mean * (shares * lengths).sum(-2, keepdims=True))[..., 0, :]
