"""Between pictures and tensors: `B C H W`, float32 in [-1, 1], RGB. The round trip is exact."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from facemeld.images.arrays import from_array, to_array


def to_tensor(images: Sequence[Image.Image]) -> Tensor:
    """RGB images of one size -> B 3 H W float32 in [-1, 1], channels-last in memory.

    Raises:
        ValueError: no images, several sizes, or a mode other than RGB.
    """
    return torch.from_numpy(to_array(images))


def to_pictures(tensor: Tensor) -> list[Image.Image]:
    """B 3 H W in [-1, 1] -> B RGB images; values outside are clamped, then rounded.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    return from_array(tensor.detach().float().cpu().numpy())
