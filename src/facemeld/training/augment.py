"""DiffAugment (Zhao et al. 2020): what the discriminator sees of few pictures, varied.

Reals and fakes alike are changed in colour, moved and partly covered before the discriminator
looks, so it cannot learn the training pictures by heart; every change is differentiable (twice, for
R1), so the generator learns through it. All of it runs where the pictures are.
"""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST_SHIFT = 1 / 8  # of the side
COVERED = 1 / 2  # of the side


def augment(pictures: Tensor, uniform: Tensor) -> Tensor:
    """Colour, then translation, then cutout. B 3 H W -> B 3 H W, fp32

    Args:
        pictures: B 3 H W in [-1, 1].
        uniform: B 8 in [0, 1), what the changes are drawn by; 7 are used.
    """
    with torch.autocast(pictures.device.type, enabled=False):
        brightness, saturation, contrast, down, across, top, left = uniform[:, :7].unbind(1)
        x = recolour(pictures.float(), brightness, saturation, contrast)
        return cover(move(x, down, across), top, left)


def recolour(x: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Adds -0.5 to 0.5, scales the distance to grey by 0 to 2, and that to the mean by 0.5 to 1.5.

    B 3 H W and three times B in [0, 1) -> B 3 H W
    """
    brightness, saturation, contrast = (
        v.view(-1, 1, 1, 1) for v in (brightness, saturation, contrast)
    )
    x = x + (brightness - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = torch.lerp(grey, x, 2 * saturation)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, x, contrast + 0.5)


def move(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Shifts by whole pixels, up to an eighth of the side each way; mid-grey comes in from outside.

    As two products with shifted unit matrices: exact, twice differentiable and the same on every
    device. B 3 H W and two times B in [0, 1) -> B 3 H W
    """
    rows = _shifted_identity(x.shape[2], down)  # B H H
    columns = _shifted_identity(x.shape[3], across)  # B W W
    return rows[:, None] @ x @ columns[:, None].mT


def cover(x: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Makes a square of half the side mid-grey; its centre may be anywhere.

    B 3 H W and two times B in [0, 1) -> B 3 H W
    """
    inside = _covered(x.shape[2], top)[:, None, :, None] & _covered(x.shape[3], left)[:, None, None]
    return x.masked_fill(inside, 0.0)


def _shifted_identity(side: int, uniform: Tensor) -> Tensor:
    """B -> B side side: row i picks place i - shift."""
    most = int(side * LARGEST_SHIFT + 0.5)
    shift = (uniform * (2 * most + 1)).floor() - most
    places = torch.arange(side, device=uniform.device)
    return (places[:, None] - places == shift[:, None, None]).to(uniform.dtype)


def _covered(side: int, uniform: Tensor) -> Tensor:
    """B -> B side: whether each row, or column, lies in the covered square."""
    centre = (uniform * (side + 1)).floor()[:, None]
    places = torch.arange(side, device=uniform.device)
    half = side * COVERED / 2
    return (places >= centre - half) & (places < centre + half)
