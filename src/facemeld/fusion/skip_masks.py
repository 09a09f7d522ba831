"""Masks for the skips of ``masked`` models, from whichever landmark network is at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facemeld.data.catalogue import MissingWeights, find_weights
from facemeld.errors import UserError
from facemeld.networks.landmarks import SIDE, read_landmark_network, skip_masks

Masker = Callable[[Tensor], Tensor]
"""Aligned pictures of people to their masks. B 3 H W in [-1, 1] -> B 2 256 256 in [0, 1]"""

_LEAST_CONFIDENCE = 0.6  # of the landmarks: below, they are not on a human face


def load_masker(weights_dir: str | Path | None = None) -> Masker:
    """The official network's masks if its file is at hand, else those from 66 landmarks.

    Raises:
        UserError: neither file is there, with the commands that fetch them.
    """
    try:
        return OfficialMasks(find_weights("wing", weights_dir))
    except MissingWeights as error:
        missing = error
    try:
        return LandmarkMasks(weights_dir)
    except MissingWeights as error:
        raise UserError(
            "this model's skips need masks of the face, and no landmark network is at hand",
            where="skips = masked",
            fix=f"{missing.fix}; or {error.fix}",
        ) from None


class OfficialMasks:
    """By the network that official StarGAN v2 was trained with."""

    def __init__(self, path: Path) -> None:
        self._network = read_landmark_network(path)

    def __call__(self, pictures: Tensor) -> Tensor:
        self._network.to(pictures.device)
        return self._network.masks(pictures.float())


class LandmarkMasks:
    """By drawing the 98 heatmaps at landmarks that stand between 66 found ones.

    A picture that shows no human face has empty masks: its skips carry nothing.
    """

    def __init__(self, weights_dir: str | Path | None = None) -> None:
        from facemeld.faces.landmarks import LandmarkFinder

        self._finder = LandmarkFinder(weights_dir)

    def __call__(self, pictures: Tensor) -> Tensor:
        from facemeld.faces.masks import as_98_landmarks, heatmaps
        from facemeld.images.tensors import to_pictures

        maps = []
        for picture in to_pictures(pictures):
            points, confidence = self._finder(picture)
            if confidence < _LEAST_CONFIDENCE:
                maps.append(np.zeros((98, 64, 64), np.float32))
            else:
                maps.append(heatmaps(as_98_landmarks(points), picture.width))
        masks = skip_masks(torch.from_numpy(np.stack(maps)).to(pictures.device))
        assert masks.shape[2:] == (SIDE, SIDE)
        return masks
