"""Arithmetic of style codes: weighted means, linear or on the sphere, and random variations.

Shapes: R codes that are mixed, S style size, … any further dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_MOST_STEPS = 100
_CLOSE = 1e-12  # radians; a step of the spherical mean that no longer matters


def mix_styles(codes: Tensor, weights: Sequence[float], interpolation: str) -> Tensor:
    """The weighted mean of style codes. … R S -> … S

    Spherical means have the direction from which the codes' directions lie equally far, weighted
    (Buss & Fillmore 2001; for two codes: Shoemake's slerp), and the weighted mean of their lengths.

    Args:
        codes: to mix.
        weights: R, summing to 1.
        interpolation: ``linear`` or ``spherical``.
    """
    shares = torch.tensor(list(weights)).to(codes)[:, None]
    if interpolation == "linear":
        return (codes * shares).sum(-2)
    return _spherical_mean(codes.double(), shares.double()).to(codes)


def vary_styles(codes: Tensor, noise: Tensor, angle: float) -> Tensor:
    """Each code turned towards random noise by an angle, its length kept. … S and S -> … S

    Args:
        codes: style codes.
        noise: one direction for all of them.
        angle: in degrees.
    """
    directions = F.normalize(codes, dim=-1)
    across = noise - (noise * directions).sum(-1, keepdim=True) * directions
    length = torch.linalg.vector_norm(codes, dim=-1, keepdim=True)
    turn = math.radians(angle)
    return math.cos(turn) * codes + math.sin(turn) * length * F.normalize(across, dim=-1)


def _spherical_mean(codes: Tensor, shares: Tensor) -> Tensor:
    lengths = torch.linalg.vector_norm(codes, dim=-1, keepdim=True)
    points = codes / lengths.clamp_min(1e-12)
    mean = F.normalize((shares * points).sum(-2, keepdim=True), dim=-1)
    for _ in range(_MOST_STEPS):
        along = (points * mean).sum(-1, keepdim=True)
        across = points - along * mean
        sine = torch.linalg.vector_norm(across, dim=-1, keepdim=True)
        # What the exponential map turns into the points: directions with the angles as lengths.
        tangents = across / sine.clamp_min(1e-12) * torch.atan2(sine, along)
        step = (shares * tangents).sum(-2, keepdim=True)
        angle = torch.linalg.vector_norm(step, dim=-1, keepdim=True)
        turned = torch.cos(angle) * mean + torch.sin(angle) * step / angle.clamp_min(1e-30)
        mean = F.normalize(turned, dim=-1)
        if angle.max() < _CLOSE:
            break
    return (mean * (shares * lengths).sum(-2, keepdim=True)).squeeze(-2)
