"""Masks of the parts of a face that is looked for in a source: eyes, mouth, what is around it, …"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facemeld.errors import UserError
from facemeld.fusion.inputs import Input
from facemeld.images.read import centre_square, shown

_SEEN_AT = 256  # pixels a side; detectors miss faces in much smaller pictures


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

        Raises:
            UserError: no face was found.
        """
        from facemeld.faces.detect import select
        from facemeld.faces.masks import region_masks

        faces = select(self._finder.find(centre_square(source.image, _SEEN_AT)), "largest")
        if not faces:
            raise UserError(
                "no face was found, so it is not known where its parts are",
                where=shown(str(source.name)),
                fix="name a mask picture instead, or align the source first",
            )
        points = np.array(faces[0].points) * (size / _SEEN_AT)
        return region_masks(faces[0].kind, size, points=points)
