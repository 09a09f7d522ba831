"""66 landmarks of a human face, by the network of OpenSeeFace (github.com/emilianavt/OpenSeeFace).

The points are those of iBUG 300-W (Sagonas et al. 2016) without the inner corners of the mouth:
jaw 0-16, brows 17-26, bridge of the nose 27-30, nostrils 31-35, eyes 36-47, outer lips 48-59,
inner lips 60-65; left means the viewer's left.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from facemeld.data.catalogue import find_weights
from facemeld.errors import UserError
from facemeld.faces.geometry import inverse, transform, warp

LANDMARKS = 66
_SIDE = 224  # pixels of the network's input
_CELLS = 28  # of its output, along a side
_LOGIT_SCALE = 16.0
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_ALIGNED_BOX = (-0.06, -0.06, 1.06, 1.14)  # brow to chin with a margin, in an aligned picture


class LandmarkFinder:
    """Finds the landmarks of faces that are already aligned.

    Args:
        weights_dir: folder to look in first for published weights.

    Raises:
        UserError: the network's file or onnxruntime is missing.
    """

    def __init__(self, weights_dir: str | Path | None = None) -> None:
        path = find_weights("openseeface", weights_dir)
        try:
            import onnxruntime
        except ImportError:
            raise UserError(
                "landmarks of people need onnxruntime", fix="pip install 'facemeld[faces]'"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, picture: Image.Image) -> tuple[np.ndarray, float]:
        """Landmarks of an aligned face, square RGB, in its pixels, and how sure the network is.

        Returns:
            66 2, and 0 to 1; about 0.85 for people, below 0.7 for others.
        """
        side = picture.width
        left, top, right, bottom = (share * side for share in _ALIGNED_BOX)
        scale = _SIDE / max(right - left, bottom - top)
        matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
        pixels = np.asarray(warp(picture, matrix, (_SIDE, _SIDE)), np.float32) / 255
        values = ((pixels - _MEAN) / _DEVIATION).astype(np.float32).transpose(2, 0, 1)[None]
        name = self._session.get_inputs()[0].name
        (output,) = self._session.run(None, {name: values})
        points, confidence = _decode(output[0])
        return transform(inverse(matrix), points), confidence


def _decode(maps: np.ndarray) -> tuple[np.ndarray, float]:
    """Maps of confidence, vertical and horizontal offset, 198 28 28 -> 66 2 in input pixels."""
    flat = maps.reshape(3, LANDMARKS, -1).astype(np.float64)
    best = flat[0].argmax(1)
    confidence, down, right = (np.take_along_axis(m, best[:, None], 1)[:, 0] for m in flat)
    last = _SIDE - 1

    def offset(share: np.ndarray) -> np.ndarray:
        share = share.clip(1e-7, 1 - 1e-7)
        return last * np.log(share / (1 - share)) / _LOGIT_SCALE

    y = last * (best // _CELLS) / (_CELLS - 1) + offset(down)
    x = last * (best % _CELLS) / (_CELLS - 1) + offset(right)
    return np.stack([x, y], axis=1), float(confidence.mean())
