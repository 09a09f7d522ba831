"""What a picture keeps of another one's layout, whatever the colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def luminance_structure(pictures: Tensor, side: int = 16) -> Tensor:
    """Unit vectors of the luminance gradients at ``side`` px. B C H W -> B N.

    Their inner product is the correlation of two pictures' layouts, whatever their contrast.
    """
    light = F.adaptive_avg_pool2d(pictures.float().mean(dim=1, keepdim=True), side)
    across = (light[..., 1:] - light[..., :-1])[:, :, :-1]
    down = (light[:, :, 1:] - light[:, :, :-1])[..., :-1]
    gradients = torch.cat([across, down], dim=1).flatten(1)
    gradients = gradients - gradients.mean(dim=1, keepdim=True)
    return gradients / (gradients.norm(dim=1, keepdim=True) + 1e-4)


def self_similarity(features: Tensor) -> Tensor:
    """Which places of a map resemble which, whatever the colours. B C H W -> B (H W) (H W)

    A row is a unit vector of one place's cosine similarities to all places, less their mean.
    """
    places = features.flatten(2)
    places = F.normalize(places - places.mean(dim=2, keepdim=True), dim=1)
    similar = places.transpose(1, 2) @ places
    return F.normalize(similar - similar.mean(dim=2, keepdim=True), dim=2)
