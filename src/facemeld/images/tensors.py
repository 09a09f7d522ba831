"""Between pictures and tensors: `B C H W`, float32 in [-1, 1], RGB. The round trip is exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_tensor(images: Sequence[Image.Image]) -> Tensor:
    """RGB images of one size -> B 3 H W float32 in [-1, 1], channels-last in memory.

    Raises:
        ValueError: no images, several sizes, or a mode other than RGB.
    """
    if not images:
        raise ValueError("to_tensor needs at least one image")
    kinds = {(image.mode, image.size) for image in images}
    if len(kinds) > 1 or images[0].mode != "RGB":
        raise ValueError(f"to_tensor needs RGB images of one size, got {sorted(kinds)}")
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))  # B H W 3
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_pictures(tensor: Tensor) -> list[Image.Image]:
    """B 3 H W in [-1, 1] -> B RGB images; values outside are clamped, then rounded.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    if tensor.ndim != 4 or tensor.shape[1] != 3:
        raise ValueError(f"to_pictures needs B 3 H W, got {tuple(tensor.shape)}")
    tensor = tensor.detach().float()
    if not torch.isfinite(tensor).all():
        raise ValueError("the pictures contain values that are not finite")
    pixels = tensor.clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to(torch.uint8)
    return [Image.fromarray(picture) for picture in pixels.permute(0, 2, 3, 1).cpu().numpy()]
