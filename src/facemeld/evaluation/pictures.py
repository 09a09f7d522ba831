"""Pictures of an evaluation: decoded as its protocol says, and what is saved of fakes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from facemeld.data.shards import ShardPicture
from facemeld.data.store import content
from facemeld.errors import UserError
from facemeld.images.read import centre_square, read_picture


def decode(
    files: Sequence[Path | ShardPicture], image_size: int, protocol: str
) -> NDArray[np.uint8]:
    """The pictures at the model's size, N H W 3.

    ``starganv2`` resizes both sides with Pillow's bilinear filter, as the official code does;
    ``clean`` crops the centre square and resizes it with Lanczos, as training does.
    """

    def one(file: Path | ShardPicture) -> NDArray[np.uint8]:
        picture = read_picture(content(file))
        if protocol == "starganv2":
            resized = picture.resize((image_size, image_size), Image.Resampling.BILINEAR)
        else:
            resized = centre_square(picture, image_size)
        return np.asarray(resized)

    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        return np.stack(list(pool.map(one, files)))


def quantised(pictures: Tensor) -> Tensor:
    """B 3 H W in [-1, 1] -> the 256 levels that a saved file has, as floats in [0, 255]."""
    return pictures.float().clamp(-1, 1).add(1).mul(127.5).add(0.5).floor().clamp(max=255)


def saved_levels(fakes: Tensor, target: str) -> Tensor:
    """What a file would hold of a model's results: ``quantised``, checked.

    Raises:
        UserError: they are not finite; ``target`` is the domain that is named then.
    """
    if not torch.isfinite(fakes).all():
        raise UserError(
            f"the model makes values that are not finite ({target})",
            fix="a run that diverged has no scores; evaluate an earlier checkpoint",
        )
    return quantised(fakes)


def as_levels(pictures: NDArray[np.uint8], device: torch.device | str) -> Tensor:
    """B H W 3 bytes -> B 3 H W floats in [0, 255]."""
    return torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float()


def as_bytes(levels: Tensor) -> NDArray[np.uint8]:
    """B 3 H W in [0, 255] -> B H W 3 bytes."""
    return levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
