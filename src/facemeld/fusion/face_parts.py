"""Masks of the parts of a face that is looked for in a source: eyes, mouth, what is around it, …"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facemeld.fusion.inputs import Input
from facemeld.images.read import centre_square

_SEEN_AT = 256  # pixels a side; detectors miss faces in much smaller pictures
_SMALLEST_EYE_DISTANCE = 0.18  # of the side; aligned faces have 0.35 to 0.4


class FaceParts:
    """Finds the largest face of a source and draws masks of its parts (see ``faces.masks``).

    Args:
        weights_dir: folder to look in first for the detectors.

    Raises:
        UserError: OpenCV is not installed.
    """

    def __init__(self, weights_dir: str | Path | None = None) -> None:
        from facemeld.faces.detect import FaceFinder

        self._finder = FaceFinder(weights_dir=weights_dir)

    def __call__(self, source: Input, size: int) -> dict[str, np.ndarray]:
        """Soft masks by name, float32, size x size, that sum to 1.

        Sources are pictures of one face. Where none is found, or only one too small to be it, the
        parts are where an aligned face has them.
        """
        from facemeld.faces.detect import select
        from facemeld.faces.masks import region_masks

        faces = select(self._finder.find(centre_square(source.image, _SEEN_AT)), "largest")
        for face in faces:
            points = np.array(face.points) / _SEEN_AT
            if np.linalg.norm(points[1] - points[0]) >= _SMALLEST_EYE_DISTANCE:
                return region_masks(face.kind, size, points=points * size)
        # people are nearly always found; drawn eyes are between where people and animals have them
        return region_masks("anime", size)
