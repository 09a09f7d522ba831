"""One face followed through a video: its place, smoothed so that it neither trembles nor lags."""

from __future__ import annotations

import cmath
import math
from dataclasses import replace

import numpy as np
from PIL import Image

from facemeld.faces.align import Alignment, alignment
from facemeld.faces.detect import FaceDetection, FaceFinder, select
from facemeld.faces.geometry import inverse, scale_of, transform
from facemeld.faces.templates import template

_PATIENCE = 0.2  # seconds for which a face that is not found is taken to be where it was
_NEAR = 1.0  # aligned sides around the last place in which is looked first
_LOOKED_AT = 480  # pixels a side of that part
_SAME = 0.5  # aligned sides that a face can move from one frame to the next
_JUMP, _FASTEST = 0.05, np.array([1.5, 1.5, 1.0, 1.0])  # likely in a frame; and, a second
_DOUBTS = 2  # finds in a row that are taken for mistakes
_SLOW, _BY_SPEED, _SPEED = 0.7, 8.0, 1.0  # Hz, Hz for each unit a second, Hz


class OneEuro:
    """A low-pass filter that opens with speed: calm at rest, quick in motion (Casiez et al. 2012).

    Args:
        fps: values a second.
    """

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self.value: np.ndarray | None = None
        self.speed: np.ndarray | float = 0.0

    def __call__(self, value: np.ndarray) -> np.ndarray:
        """The filtered value; the first as it is."""
        if self.value is None:
            self.value = value
            return value
        change = (value - self.value) * self.fps
        self.speed = self.speed + self._weight(_SPEED) * (change - self.speed)
        cutoff = _SLOW + _BY_SPEED * np.abs(self.speed)
        self.value = self.value + self._weight(cutoff) * (value - self.value)
        return self.value

    def _weight(self, cutoff):
        turn = 2 * math.pi * cutoff / self.fps
        return turn / (turn + 1)


class FaceTrack:
    """Gives the place of a face in one frame after the other.

    It begins with the largest face, and stays with the one nearest to the last place and with the
    template of its kind. A find that jumps is only believed if the next ones say the same. Where it
    is not found for up to a fifth of a second, the last place counts; after that, the next face
    that is found begins anew.

    Args:
        finder: finds the faces.
        size: side of the aligned pictures in pixels.
        fps: frames a second.
    """

    def __init__(self, finder: FaceFinder, *, size: int, fps: float) -> None:
        self.finder, self.size, self.fps = finder, size, float(fps)
        self.last: Alignment | None = None
        self._lost()

    def __call__(self, frame: Image.Image) -> Alignment | None:
        """Where the face is in the next frame; None if it is lost."""
        face = self._find(frame)
        if face is None:
            self.missing += 1
            if self.missing > _PATIENCE * self.fps:
                self._lost()
            return self.last
        self.missing = 0
        if self.kind is None:
            self.kind, self.own_finder = face.kind, self.finder.only(face.kind)
        how = alignment(face, self.size, target=template(self.kind))
        self.last = self._smoothed(how)
        return self.last

    def _lost(self) -> None:
        self.last, self.kind, self.missing = None, None, 0
        self.own_finder = self.finder
        self.filter, self.doubts = OneEuro(self.fps), 0

    def _find(self, frame: Image.Image) -> FaceDetection | None:
        if self.last is None:
            return next(iter(select(self.finder.find(frame), "largest")), None)
        place, side = _centre_and_side(self.last)
        for look in (lambda: self._near(frame, place, side), lambda: self.own_finder.find(frame)):
            close = [f for f in look() if self._distance(f, place, side) < _SAME]
            if close:
                return min(close, key=lambda f: self._distance(f, place, side))
        return None

    def _near(self, frame: Image.Image, place: np.ndarray, side: float) -> list[FaceDetection]:
        """The faces around the last place, looked for in a part of the frame."""
        low = np.floor(place - _NEAR * side).clip(0)
        high = np.ceil(place + _NEAR * side).clip(None, frame.size)
        if (high - low).min() < 16:
            return []
        part = frame.crop((*low.astype(int).tolist(), *high.astype(int).tolist()))
        scale = min(1.0, _LOOKED_AT / max(part.size))
        small = [max(1, round(s * scale)) for s in part.size]
        faces = self.own_finder.find(part.resize(small, Image.Resampling.BOX, reducing_gap=2.0))
        return [_moved(face, 1 / scale, low) for face in faces]

    def _distance(self, face: FaceDetection, place: np.ndarray, side: float) -> float:
        how = alignment(face, self.size, target=template(self.kind))
        centre, own = _centre_and_side(how)
        return float(np.linalg.norm(centre - place)) / side + abs(math.log(own / side))

    def _smoothed(self, how: Alignment) -> Alignment:
        """Centre (in sides), logarithm of the side and angle go through the filter."""
        matrix = np.array(how.matrix)
        centre, side = _centre_and_side(how)
        angle = cmath.phase(complex(matrix[0, 0], matrix[1, 0]))
        if self.filter.value is None:
            self.unit = side
        else:
            before = self.filter.value[3]
            angle = before + math.remainder(angle - before, math.tau)
        raw = np.array([*(centre / self.unit), math.log(side), angle])
        if self.filter.value is not None and self.doubts < _DOUBTS:
            if (np.abs(raw - self.filter.value) > _JUMP + _FASTEST / self.fps).any():
                self.doubts += 1
                return self.last
        self.doubts = 0
        x, y, log_side, angle = self.filter(raw)
        scale = self.size / math.exp(log_side)
        a, b = scale * math.cos(angle), scale * math.sin(angle)
        turn = np.array([[a, -b], [b, a]])
        shift = self.size / 2 - turn @ (np.array([x, y]) * self.unit)
        rows = np.column_stack([turn, shift]).tolist()
        return replace(how, matrix=tuple(tuple(row) for row in rows))


def _centre_and_side(how: Alignment) -> tuple[np.ndarray, float]:
    """Of the aligned square, in pixels of the frame."""
    matrix = np.array(how.matrix)
    middle = transform(inverse(matrix), [(how.size / 2, how.size / 2)])[0]
    return middle, how.size / scale_of(matrix)


def _moved(face: FaceDetection, scale: float, shift: np.ndarray) -> FaceDetection:
    left, top, width, height = (value * scale for value in face.box)
    points = np.array(face.points) * scale + shift
    return replace(
        face,
        box=(left + shift[0], top + shift[1], width, height),
        points=tuple(map(tuple, points.tolist())),
    )
