"""OpenCV's detectors as plain functions: boxes of cascades, boxes and points of YuNet.

A cascade is a boosted chain of rectangle features (Viola & Jones 2001); YuNet is a network of
76,000 weights (Wu et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from facemeld.errors import UserError
from facemeld.faces.geometry import inverse, similarity, transform, warp

_YUNET_SIDE = 320  # pixels; smaller pictures are enlarged to it
_YUNET_LARGEST_SIDE = 1280  # faces of a hundredth of a larger picture are not looked for
_CASCADE_SIDE = 288
_CASCADE_STEP = 1.1
_CASCADE_NEIGHBOURS = 3
_CASCADE_SMALLEST = 0.1  # share of the shorter side
_EYE_SIDE = 160  # pixels of a box in which eyes are looked for
_EYE_REACH = 0.11  # how far, in boxes, an eye may be from its usual place
_CASCADE_ROLLS = (0.0, -20.0, 20.0)  # degrees, tried in turn: a cascade finds upright faces only


@dataclass(frozen=True)
class Find:
    """What one detector found, in pixels of the picture it was given."""

    corners: np.ndarray
    """4 2, clockwise from the top left; the box of a rolled face is rolled."""
    weight: float
    """The detector's own measure: 0 to 1 for YuNet, unbounded for a cascade."""
    points: np.ndarray | None = None
    """5 2 in the order of templates.POINTS; cascades find none."""

    @property
    def centre(self) -> np.ndarray:
        return self.corners.mean(0)

    @property
    def side(self) -> float:
        """Square root of the area."""
        return float(
            np.sqrt(np.prod(np.linalg.norm(self.corners[[1, 3]] - self.corners[0], axis=1)))
        )


class YuNet:
    """Human faces, and many animals and drawings, with five points each."""

    def __init__(self, path: Path, *, least: float) -> None:
        self._net = cv2.FaceDetectorYN.create(str(path), "", (_YUNET_SIDE, _YUNET_SIDE), least)

    def __call__(self, pixels: np.ndarray) -> list[Find]:
        """RGB, H W 3 -> what it finds."""
        image, scale = _resized(pixels, _YUNET_SIDE, _YUNET_LARGEST_SIDE)
        self._net.setInputSize(image.shape[1::-1])
        _, rows = self._net.detect(np.ascontiguousarray(image[..., ::-1]))  # wants BGR
        finds = []
        for row in rows if rows is not None else ():
            x, y, width, height = row[:4] / scale
            finds.append(Find(_corners(x, y, width, height), float(row[14]), _points(row, scale)))
        return finds


def _points(row: np.ndarray, scale: float) -> np.ndarray:
    return row[4:14].reshape(5, 2).astype(float) / scale


class Cascade:
    """Boxes of the faces, heads or eyes that a cascade was trained on."""

    def __init__(self, path: Path | str, *, least: float) -> None:
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise UserError("OpenCV cannot read this cascade", where=str(path))
        self._least = least

    def __call__(self, pixels: np.ndarray) -> list[Find]:
        """RGB, H W 3 -> what it finds in the picture, upright and rolled to either side."""
        image, scale = _resized(pixels, _CASCADE_SIDE, _CASCADE_SIDE)
        grey = cv2.equalizeHist(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        for roll in _CASCADE_ROLLS:
            turn = cv2.getRotationMatrix2D((grey.shape[1] / 2, grey.shape[0] / 2), roll, 1.0)
            turned = grey
            if roll:
                turned = cv2.warpAffine(
                    grey, turn, grey.shape[::-1], borderMode=cv2.BORDER_REPLICATE
                )
            if boxes := self._boxes(turned):
                back = inverse(turn)
                return [Find(transform(back, _corners(*b)) / scale, weight) for *b, weight in boxes]
        return []

    def _boxes(self, grey: np.ndarray) -> list[tuple[float, ...]]:
        smallest = max(20, int(_CASCADE_SMALLEST * min(grey.shape)))
        boxes, _, weights = self._cascade.detectMultiScale3(
            grey,
            scaleFactor=_CASCADE_STEP,
            minNeighbors=_CASCADE_NEIGHBOURS,
            minSize=(smallest, smallest),
            outputRejectLevels=True,
        )
        found = zip(np.reshape(boxes, (-1, 4)).tolist(), np.ravel(weights).tolist())
        return [(*box, weight) for box, weight in found if weight >= self._least]


class EyePair:
    """Both eyes inside a face's box, by OpenCV's cascade of eyes."""

    def __init__(self) -> None:
        self._cascade = cv2.CascadeClassifier(own_cascade("haarcascade_eye.xml"))

    def __call__(
        self, pixels: np.ndarray, corners: np.ndarray, expected: np.ndarray
    ) -> np.ndarray | None:
        """Where the eyes are, 2 2 in pixels; None unless both are near where they should be.

        Args:
            pixels: RGB, H W 3.
            corners: 4 2, of the face's box.
            expected: 2 2, left and right eye in shares of the box.
        """
        to_box = similarity(corners, _EYE_SIDE * np.array([(0, 0), (1, 0), (1, 1), (0, 1)]))
        face = np.asarray(warp(Image.fromarray(pixels), to_box, (_EYE_SIDE, _EYE_SIDE)))
        grey = cv2.equalizeHist(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY))
        smallest, largest = int(_EYE_SIDE * 0.12), int(_EYE_SIDE * 0.4)
        boxes = self._cascade.detectMultiScale(
            grey, 1.05, 2, minSize=(smallest, smallest), maxSize=(largest, largest)
        )
        boxes = np.reshape(boxes, (-1, 4))
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        eyes = []
        for place in expected * _EYE_SIDE:
            distances = np.linalg.norm(centres - place, axis=1)
            if not len(centres) or distances.min() > _EYE_REACH * _EYE_SIDE:
                return None
            eyes.append(centres[distances.argmin()])
        return transform(inverse(to_box), np.array(eyes))


def own_cascade(name: str) -> str:
    """The path of a cascade that comes inside OpenCV.

    Raises:
        UserError: this OpenCV has none.
    """
    path = Path(getattr(getattr(cv2, "data", None), "haarcascades", "")) / name
    if not path.is_file():
        raise UserError(
            f"this OpenCV ({cv2.__version__}) comes without its cascades",
            where=name,
            fix="pip install 'opencv-python-headless<5'",
        )
    return str(path)


def _corners(x: float, y: float, width: float, height: float) -> np.ndarray:
    return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], float)


def _resized(pixels: np.ndarray, smallest: int, largest: int) -> tuple[np.ndarray, float]:
    """The picture with its longer side within limits, and the factor."""
    side = max(pixels.shape[:2])
    scale = min(max(side, smallest), largest) / side
    if scale == 1:
        return pixels, 1.0
    size = [max(1, round(length * scale)) for length in pixels.shape[1::-1]]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(pixels, size, interpolation=method), scale
