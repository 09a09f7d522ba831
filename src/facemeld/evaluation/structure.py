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
