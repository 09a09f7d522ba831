"""Where which style applies in a decoder: by level (coarse, middle, fine) and by region.

Regions are spatially varying AdaIN: the scale and offset that each code makes, blended at every
pixel by soft masks.

Shapes: B pictures, R regions, L levels, S style size, C channels, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn


class RegionStyles(NamedTuple):
    """Several style codes at once, each as strong as its mask."""

    codes: Tensor
    """B R S"""
    masks: Tensor
    """B R H W in [0, 1], of any size; they sum to 1 over the regions."""


@dataclass(frozen=True)
class StyleField:
    """A style code for each decoder level and region."""

    codes: Tensor
    """B L R S, levels in the order of ``config.LEVELS``."""
    masks: Tensor | None = None
    """B R H W in [0, 1] that sum to 1 over the regions; None for one region, everywhere."""

    def at(self, level: int) -> Tensor | RegionStyles:
        """What the blocks of one level are given: B S for one region, else codes with masks."""
        codes = self.codes[:, level]
        return codes[:, 0] if self.masks is None else RegionStyles(codes, self.masks)


def style_maps(layer: nn.Linear, style: Tensor | RegionStyles, x: Tensor) -> Tensor:
    """What a layer makes of the style, for the maps x. -> B C 1 1, or B C H W with regions."""
    if isinstance(style, Tensor):
        return layer(style).to(x.dtype)[:, :, None, None]
    masks = resize_masks(style.masks, x.shape[2:]).flatten(2).transpose(1, 2)  # B HW R
    rows = masks @ layer(style.codes)
    return rows.to(x.dtype).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Means over areas for smaller masks, bilinear interpolation for larger ones: sums stay 1."""
    if masks.shape[2:] == size:
        return masks
    if masks.shape[2] > size[0]:
        factor, rest = divmod(int(masks.shape[2]), int(size[0]))  # tensors while they are traced
        if rest:
            return F.interpolate(masks, size=size, mode="area")
        return F.avg_pool2d(masks, factor)  # the same, in a form that can be exported
    return F.interpolate(masks, size=size, mode="bilinear", align_corners=False)
