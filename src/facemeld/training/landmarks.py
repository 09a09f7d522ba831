"""Where the eyes and the nose of a fake should lie: as its source's do, in the terms of its domain.

Cats' eyes lie elsewhere than people's, and cats' heads are turned and shifted more in their
pictures. So the points of a source are carried over by the map that takes the distribution of its
domain's points to that of the target domain's with the least movement (optimal transport between
Gaussians, Olkin & Pukelsheim 1982): a head that is turned more than others stays so.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from facemeld.networks.points import PointReader, places

TOLERANCE = 0.02  # of the side: how far from its place a point may lie
SPREAD = 0.05  # of the wanted maps, as the reader learned them
LARGEST_STRETCH = 2.0  # of deviations from the mean face, where a target domain varies more
DISTANCE, MAPS = 10.0, 0.3  # weights of the two parts of the loss
DOUBT = 1.5  # how fast a source that is read unsurely loses its weight


class Wanted(NamedTuple):
    """Of fakes."""

    points: Tensor
    """B P 2, shares of the side."""
    weight: Tensor
    """B: how sure their sources' points are, up to 1."""


class Landmarks:
    """The loss, and what it has to know of the domains.

    Args:
        reader: reads the points from frozen features.
        points: N P 2, of all training pictures.
        entropies: N, of their maps, the mean over the points.
        domains: N int64.
        count: number of domains.
    """

    def __init__(
        self, reader: PointReader, points: Tensor, entropies: Tensor, domains: Tensor, count: int
    ) -> None:
        self.reader = reader
        self.usual_entropy = entropies.median()
        means, deviations = [], []
        for domain in range(count):
            own = points[domains == domain]
            own = torch.cat([own, mirrored(own)]).flatten(1).double()
            means.append(own.mean(dim=0))
            deviations.append(_root(torch.cov(own.T) + 1e-6 * torch.eye(own.shape[1])))
        self.means = torch.stack(means)  # K 2P
        self.maps = torch.stack(
            [torch.stack([_transport(s, t) for t in deviations]) for s in deviations]
        )  # K K 2P 2P

    def wanted(self, features: list[Tensor], sources: Tensor, targets: Tensor) -> Wanted:
        """Where the points of fakes should lie.

        Args:
            features: frozen features of the sources, finest first.
            sources, targets: B int64, domains of the sources and of the fakes.
        """
        with torch.no_grad():
            points, maps = self.reader(features)
            means, transport = self.means.to(points.device), self.maps.to(points.device)
            offsets = points.flatten(1).double() - means[sources]
            offsets = (transport[sources, targets] @ offsets[:, :, None]).squeeze(2)
            moved = (means[targets] + offsets).float().view_as(points)
            doubt = F.relu(entropy(maps) - self.usual_entropy.to(points.device))
            return Wanted(moved, torch.exp(-DOUBT * doubt))

    def loss(self, features: list[Tensor], wanted: Wanted) -> tuple[Tensor, Tensor]:
        """Distance beyond the tolerance, and divergence of the maps from peaks at the places.

        Args:
            features: frozen features of the fakes.
            wanted: of the fakes.

        Returns:
            The loss, and the mean distance in shares of the side.
        """
        points, maps = self.reader(features)
        off = (points - wanted.points).norm(dim=-1)  # B P
        peaks = peaks_at(wanted.points, maps)
        divergence = (peaks * ((peaks + 1e-9).log() - maps)).sum(dim=(2, 3))
        each = DISTANCE * F.relu(off - TOLERANCE) + MAPS * divergence
        return (each.mean(dim=1) * wanted.weight).mean(), off.mean()


def entropy(maps: Tensor) -> Tensor:
    """Of maps given as logarithms, the mean over the points. B P h w -> B"""
    return -(maps.exp() * maps).sum(dim=(2, 3)).mean(dim=1)


def mirrored(points: Tensor) -> Tensor:
    """Of mirrored pictures: the eyes change places. N 3 2 -> N 3 2"""
    return (points * points.new_tensor([-1, 1]) + points.new_tensor([1, 0]))[:, [1, 0, 2]]


def peaks_at(points: Tensor, like: Tensor) -> Tensor:
    """Gaussians at the points that sum to 1. B P 2 -> B P h w"""
    height, width = like.shape[-2:]
    across = _bell(places(width, like) - points[..., 0, None])
    down = _bell(places(height, like) - points[..., 1, None])
    peaks = down[..., :, None] * across[..., None, :]
    return peaks / (peaks.sum(dim=(2, 3), keepdim=True) + 1e-6)


def _bell(distance: Tensor) -> Tensor:
    return torch.exp(-distance.square() / (2 * SPREAD**2))


def _transport(source: Tensor, target: Tensor) -> Tensor:
    """Between centred Gaussians, given by the roots of their covariances. D D twice -> D D"""
    inverse = torch.linalg.inv(source)
    found = inverse @ _root(source @ target @ target @ source) @ inverse
    values, vectors = torch.linalg.eigh((found + found.T) / 2)
    return vectors * values.clamp(max=LARGEST_STRETCH) @ vectors.T


def _root(matrix: Tensor) -> Tensor:
    """Of a symmetric positive matrix."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T
