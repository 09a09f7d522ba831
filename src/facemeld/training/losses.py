"""The losses, each a pure function with its equation; means over the batch.

D(x) are logits, s style codes, x pictures in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facemeld.evaluation.structure import luminance_structure, self_similarity

OUTER = 3
"""Steps between pixels from each edge on that ``edge_lines`` looks at."""


def logistic_real(logits: Tensor) -> Tensor:
    """softplus(-D(x)): the non-saturating loss of reals, and of fakes for the generator."""
    return F.softplus(-logits).mean()


def logistic_fake(logits: Tensor) -> Tensor:
    """softplus(D(G(x))): the discriminator's loss of fakes."""
    return F.softplus(logits).mean()


def hinge_real(logits: Tensor) -> Tensor:
    """max(0, 1 - D(x)) (Lim & Ye 2017)."""
    return F.relu(1 - logits).mean()


def hinge_fake(logits: Tensor) -> Tensor:
    """max(0, 1 + D(G(x)))."""
    return F.relu(1 + logits).mean()


def r1_penalty(logits: Tensor, pictures: Tensor) -> Tensor:
    """1/2 ||grad_x D(x)||^2 on real pictures (Mescheder et al. 2018)."""
    (gradient,) = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()


def l1(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|."""
    return (a - b).abs().mean()


def feature_distance(features: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """|a - b| / std(b) of each map of b, the mean over the maps: perceptual (Johnson et al. 2016).

    B C H W each -> a number
    """
    distances = []
    for a, b in zip(features, wanted, strict=True):
        a, b = a.float(), b.float()
        distances.append((a - b).abs().mean(dim=(1, 2, 3)) / (b.std(dim=(1, 2, 3)) + 1e-4))
    return torch.stack(distances).mean()


def likeness(own: Tensor, rivals: Tensor, temperature: float) -> Tensor:
    """-log softmax(-d / t) of the own reference among rivals: InfoNCE (van den Oord et al. 2018).

    Args:
        own: B L, distances to the own references at each level.
        rivals: B R L, to other ones.
        temperature: t.
    """
    logits = -torch.cat([own[:, None], rivals], dim=1) / temperature
    return -logits.log_softmax(dim=1)[:, 0].mean()


def content_hinge(fakes: Tensor, sources: Tensor, target: float) -> tuple[Tensor, Tensor]:
    """max(0, target - corr(layout of fake, layout of source)), and the mean correlation."""
    correlation = (luminance_structure(fakes) * luminance_structure(sources)).sum(dim=1)
    return F.relu(target - correlation).mean(), correlation.mean()


def edge_lines(fakes: Tensor, reals: Tensor) -> Tensor:
    """max(0, step of fakes - step of reals), summed over sides and steps, of the outermost pixels.

    A step is the mean |difference| of neighbours at the same distance from a side of the picture.
    Networks that judge pictures pad them with zeros, so that a line along the edges tells them
    much: generators learn to draw it. B 3 H W each -> a number
    """
    return F.relu(_outer_steps(fakes) - _outer_steps(reals)).sum()


def _outer_steps(pictures: Tensor) -> Tensor:
    """-> 4 OUTER: left, top, right, bottom; from the edge inwards."""
    sides = [torch.rot90(pictures.float(), k, (2, 3))[..., : OUTER + 1] for k in range(4)]
    return torch.stack([side.diff(dim=3).abs().mean(dim=(0, 1, 2)) for side in sides])


@dataclass(frozen=True)
class Movement:
    """Of pictures: mirrored or not, then shifted by whole pixels."""

    mirrored: bool
    down: int
    across: int

    @classmethod
    def draw(cls, random: np.random.Generator, side: int) -> Movement:
        """A random one of pictures of this side, by an eighth of it at most."""
        down, across = random.integers(-(side // 8), side // 8, 2, endpoint=True).tolist()
        return cls(bool(random.integers(2)), down, across)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures, moved; what comes in from beyond an edge is its reflection. B C H W"""
        if self.mirrored:
            pictures = pictures.flip(-1)
        side = pictures.shape[-1]
        edge = side // 8
        padded = F.pad(pictures, (edge,) * 4, mode="reflect")
        rows, columns = edge - self.down, edge - self.across
        return padded[..., rows : rows + side, columns : columns + side]


def geometry_consistency(moved_fakes: Tensor, fakes: Tensor, movement: Movement) -> Tensor:
    """|G(T(x), s) - T(G(x, s))| where no edge comes in (Fu et al., GcGAN, CVPR 2019).

    A generator that draws the same face whatever the source does not move it with the source.
    """
    edge = fakes.shape[-1] // 8
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    return l1(moved_fakes[inner], movement(fakes)[inner])


def self_similarity_distance(a: Tensor, b: Tensor) -> Tensor:
    """1 - correlation of the self-similarities of each place (Zheng et al., LSeSim, CVPR 2021)."""
    return 1 - (self_similarity(a) * self_similarity(b)).sum(dim=2).mean()


def energy_distance(a: Tensor, b: Tensor) -> Tensor:
    """2 E|a - b| - E|a - a'| - E|b - b'| of two samples (Szekely & Rizzo 2013), per unit length.

    Zero when both come from one distribution. ... N S and ... M S -> ...
    """
    scale = a.shape[-1] ** -0.5
    n, m = a.shape[-2], b.shape[-2]
    # the matrix-product shortcut of cdist would give equal points a distance
    exact = "donot_use_mm_for_euclid_dist"
    between = torch.cdist(a, b, compute_mode=exact).mean(dim=(-2, -1))
    within_a = torch.cdist(a, a, compute_mode=exact).sum(dim=(-2, -1)) / (n * (n - 1))
    within_b = torch.cdist(b, b, compute_mode=exact).sum(dim=(-2, -1)) / (m * (m - 1))
    return scale * (2 * between - within_a - within_b)


def style_spread_hinge(styles: Tensor, target: float) -> Tensor:
    """How far the deviation of each style entry falls short of ``target``, on average.

    The variance term of VICReg (Bardes et al. 2022): styles that gather at one point make style
    reconstruction easy and the generator deaf. ... N S -> ...
    """
    deviation = (styles.var(dim=-2) + 1e-4).sqrt()
    return (target - deviation).relu().mean(dim=-1)
