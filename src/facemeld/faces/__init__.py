"""Faces in photographs: find them, bring them to one place, mask them, put them back.

Coordinates are pixels with the picture's top left corner at (0, 0), so the centre of the first
pixel is at (0.5, 0.5). Left and right are the viewer's. OpenCV comes with ``facemeld[faces]``.
"""

from __future__ import annotations

from facemeld.errors import UserError

try:
    import cv2  # noqa: F401
except ImportError:
    raise UserError("finding faces needs OpenCV", fix="pip install 'facemeld[faces]'") from None
