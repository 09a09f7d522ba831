"""Masks of the parts of a face that is looked for in a source: eyes, mouth, what is around it, …"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facemeld.fusion.cache import RecentlyUsed
from facemeld.fusion.inputs import Input
from facemeld.images.read import centre_square

_SEEN_AT = 256  # pixels a side; detectors miss faces in much smaller pictures
_SMALLEST_EYE_DISTANCE = 0.18  # of the side; aligned faces have 0.35 to 0.4
_SHARE = 0.4  # of the feather; the usual one then softens parts as faces.masks does by itself
_MOST_FACES = 1000


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
        self._found = RecentlyUsed(_MOST_FACES)

    def __call__(
        self, source: Input, size: int, names: Sequence[str], *, feather: float
    ) -> dict[str, np.ndarray]:
        """Soft masks of these parts by name, float32, size x size.

        Sources are pictures of one face. Where none is found, or only one too small to be it, the
        parts are where an aligned face has them.

        Args:
            source: the picture; looked at once, however often it comes.
            size: side of the masks in pixels.
            names: of ``faces.masks.REGIONS``.
            feather: as for all regions; parts are small, and take two fifths of it.
        """
        from facemeld.faces.masks import region_masks

        kind, points = self._face(source)
        places = None if points is None else points * size
        return region_masks(kind, size, names, points=places, softness=_SHARE * feather)

    def _face(self, source: Input) -> tuple[str, np.ndarray | None]:
        """Its kind, and its five points in shares of the side; None for the template's."""
        from facemeld.faces.detect import select

        if (known := self._found.get(source.content)) is not None:
            return known
        # people are nearly always found; drawn eyes are between where people and animals have them
        found: tuple[str, np.ndarray | None] = ("anime", None)
        for face in select(self._finder.find(centre_square(source.image, _SEEN_AT)), "largest"):
            points = np.array(face.points) / _SEEN_AT
            if np.linalg.norm(points[1] - points[0]) >= _SMALLEST_EYE_DISTANCE:
                found = (face.kind, points)
        self._found.put(source.content, found, 1)
        return found
