"""Heads of animals, people and anime characters with their eyes and noses, by a network of our own.

A map of centres for each kind and the places of the eyes and the nose at each (Zhou et al. 2019,
"Objects as Points"), on the first half of EfficientNet-lite0. `scripts/train_heads.py` made its
weights; what they were trained on, and their licence, is beside them in assets/heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from facemeld.errors import UserError
from facemeld.faces.geometry import inverse, similarity, transform, warp
from facemeld.faces.templates import KINDS, template

STRIDE = 8  # pixels of the input for each answer
UNIT = 32.0  # pixels of the input, in which the network counts distances

_NETWORK = Path(__file__).parents[1] / "assets" / "heads" / "heads.onnx"
_SIDES = (128, 256, 512)  # pixels of the longer side; a head is to be 30 to 150 in one of them
_MULTIPLE = 16  # of pixels, which the network's input has to be
_LOOK = 128  # pixels of the second look at one head
_LOOK_FACE = 88  # pixels that an aligned face takes of it
_SAME_HEAD = 0.6  # distance of two middles, in distances from the middle to the eyes and the nose


@dataclass(frozen=True)
class Head:
    """A head, in pixels of the picture that it was found in."""

    kind: str
    weight: float
    """0 to 1."""
    points: np.ndarray
    """3 2: left eye, right eye, nose."""

    @property
    def middle(self) -> np.ndarray:
        return self.points.mean(0)

    @property
    def reach(self) -> float:
        """Mean distance of the points from their middle."""
        return float(np.linalg.norm(self.points - self.middle, axis=1).mean())

    def all_points(self) -> np.ndarray:
        """The five points of templates.POINTS; the mouth is where it usually is. -> 5 2"""
        usual = template(self.kind)
        placed = transform(similarity(usual[:3], self.points), usual)
        return np.concatenate([self.points, placed[3:]])


class HeadFinder:
    """Finds heads of every kind.

    Args:
        least: weight below which nothing is a head.

    Raises:
        UserError: onnxruntime is missing.
    """

    def __init__(self, *, least: float) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError(
                "finding heads needs onnxruntime", fix="pip install 'facemeld[faces]'"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(_NETWORK), options, providers=["CPUExecutionProvider"]
        )
        self._least = least

    def __call__(self, pixels: np.ndarray) -> list[Head]:
        """RGB, H W 3 -> heads, surest first; where two kinds are likely, one head of each."""
        heads = []
        longest = max(pixels.shape[:2])
        for side in _SIDES:
            if side > 2 * longest and side != _SIDES[0]:
                break
            scale = side / longest
            size = [max(1, round(length * scale)) for length in pixels.shape[1::-1]]
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            image = cv2.resize(pixels, size, interpolation=method)
            for head in self._peaks(image):
                heads.append(Head(head.kind, head.weight, head.points / scale))
        picture = Image.fromarray(pixels)
        return [self._again(picture, head) for head in _separate(heads)]

    def _again(self, picture: Image.Image, head: Head) -> Head:
        """The same head from a closer look at it, upright and at the size that is read best."""
        goal = template(head.kind, _LOOK_FACE)[:3] + (_LOOK - _LOOK_FACE) / 2
        matrix = similarity(head.points, goal)
        look = np.asarray(warp(picture, matrix, (_LOOK, _LOOK)))
        points, weights = [], []
        for image in (look, look[:, ::-1]):
            same = [h for h in self._peaks(image) if h.kind == head.kind]
            if not same:
                continue
            best = min(same, key=lambda h: np.linalg.norm(h.middle - _LOOK / 2))
            seen = best.points if image is look else (best.points * (-1, 1) + (_LOOK, 0))[[1, 0, 2]]
            if np.linalg.norm(seen.mean(0) - goal.mean(0)) < _LOOK / 4:
                points.append(seen)
                weights.append(best.weight)
        if not points:
            return head
        weight = max(head.weight, float(np.mean(weights)))
        return Head(head.kind, weight, transform(inverse(matrix), np.mean(points, axis=0)))

    def _peaks(self, image: np.ndarray) -> Iterator[Head]:
        """RGB, H W 3 -> heads of one scale."""
        height, width = image.shape[:2]
        image = cv2.copyMakeBorder(
            image, 0, -height % _MULTIPLE, 0, -width % _MULTIPLE, cv2.BORDER_REPLICATE
        )
        values = (image.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
        (answer,) = self._session.run(None, {"pictures": values})
        chances = 1 / (1 + np.exp(-answer[0, : len(KINDS)]))
        offsets = answer[0, len(KINDS) :].reshape(3, 2, *answer.shape[2:])
        y, x = np.mgrid[: answer.shape[2], : answer.shape[3]]
        points = offsets * UNIT + np.stack([x, y]) * STRIDE + STRIDE / 2
        for kind, chance in zip(KINDS, chances):
            highest = cv2.dilate(chance, np.ones((3, 3), np.uint8))
            for i, j in np.argwhere((chance == highest) & (chance >= self._least)):
                near = np.s_[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
                weights = chance[near] / chance[near].sum()
                mean = (points[..., near[0], near[1]] * weights).sum((-2, -1))
                yield Head(kind, float(chance[i, j]), mean)


def _separate(heads: list[Head]) -> list[Head]:
    """The surest of those that are one head, for each kind."""
    kept: list[Head] = []
    for head in sorted(heads, key=lambda head: -head.weight):
        if not any(
            head.kind == other.kind
            and np.linalg.norm(head.middle - other.middle)
            < _SAME_HEAD * max(head.reach, other.reach)
            for other in kept
        ):
            kept.append(head)
    return kept
