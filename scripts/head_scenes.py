"""Made-up pictures with faces in them, among pieces of faces that are none, without end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from facemeld.faces.geometry import transform

CROP = 128  # pixels of the face crops
SCENE = 128  # pixels of a training scene
SIDES = (30, 150)  # of a face crop in it
SHARES = {"cat": 0.17, "dog": 0.2, "wild": 0.17, "woman": 0.12, "man": 0.12, "anime": 0.22}
"""How often a face of each domain is put into a scene."""


@dataclass(frozen=True)
class Crops:
    """All face crops of one domain."""

    kind: int
    pictures: np.ndarray
    """N 128 128 3, RGB."""
    points: np.ndarray
    """N 3 2: eyes and nose, in shares of the side."""


class Scenes:
    """Training pictures with the places of the faces in them, without end."""

    def __init__(self, crops: dict[str, Crops], random: np.random.Generator) -> None:
        self.crops, self.random = crops, random
        self.names = list(crops)
        shares = np.array([SHARES[name] for name in self.names])
        self.shares = shares / shares.sum()

    def __call__(self) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
        """A picture SCENE SCENE 3, 0 to 255, and the faces in it: kind, and 3 2 in pixels."""
        random = self.random
        scene, faces = self._background(), []
        for _ in range(random.choice(4, p=(0.3, 0.4, 0.2, 0.1))):
            self._paste(scene, self._piece(), self._place(SIDES[0] / 2, 70)[0])
        for number in range(random.choice(3, p=(0.12, 0.7, 0.18))):
            crops = self._some()
            index = random.integers(len(crops.pictures))
            matrix, side = self._place(*((SIDES[0], 64) if number else SIDES))
            points = transform(matrix, crops.points[index] * CROP)
            middle = points.mean(0)
            if any(np.linalg.norm(middle - p.mean(0)) < 0.8 * side for _, p in faces):
                continue
            if not (4 < middle.min() and middle.max() < SCENE - 4):
                continue
            faces = [f for f in faces if not _covered(f[1], matrix)]
            picture = crops.pictures[index]
            if random.random() < 0.5:
                picture = picture[:, ::-1]
                points = transform(matrix, (crops.points[index] * (-1, 1) + (1, 0)) * CROP)
                points = points[[1, 0, 2]]
            self._paste(scene, picture, matrix, around=side > 90 and random.random() < 0.6)
            faces.append((crops.kind, points))
        return recoloured(scene.clip(0, 255).astype(np.uint8), random), faces

    def _some(self) -> Crops:
        return self.crops[self.names[self.random.choice(len(self.names), p=self.shares)]]

    def _place(self, smallest: float, largest: float) -> tuple[np.ndarray, float]:
        random = self.random
        side = math.exp(random.uniform(math.log(smallest), math.log(largest)))
        roll = random.normal(0, 0.22)
        room = max(0.0, (SCENE - 0.8 * side) / 2)
        return placement(side, roll, SCENE / 2 + random.uniform(-room, room, 2)), side

    def _piece(self) -> np.ndarray:
        """A part of a crop that is no face: enlarged, upside down or shuffled."""
        random, crops = self.random, self._some()
        picture = crops.pictures[random.integers(len(crops.pictures))]
        way = random.random()
        if way < 0.5:
            size = random.integers(28, 60)
            left, top = random.integers(0, CROP - size, 2)
            return cv2.resize(picture[top : top + size, left : left + size], (CROP, CROP))
        return self._shuffled(picture, random.choice((16, 32)))

    def _shuffled(self, picture: np.ndarray, size: int) -> np.ndarray:
        cells = CROP // size
        tiles = picture.reshape(cells, size, cells, size, 3).swapaxes(1, 2)
        tiles = tiles.reshape(-1, size, size, 3)[self.random.permutation(cells**2)]
        return tiles.reshape(cells, cells, size, size, 3).swapaxes(1, 2).reshape(CROP, CROP, 3)

    def _background(self) -> np.ndarray:
        random = self.random
        way = random.random()
        if way < 0.2:
            scene = np.full((SCENE, SCENE, 3), random.uniform(0, 255, 3), np.float32)
            for cells in (2, 6, 24):
                noise = random.normal(0, random.uniform(5, 50), (cells, cells, 3))
                scene += cv2.resize(noise.astype(np.float32), (SCENE, SCENE), interpolation=2)
            return scene
        crops = self._some()
        picture = crops.pictures[random.integers(len(crops.pictures))]
        if way < 0.5:  # a corner, which rarely holds an eye
            size = random.integers(16, 44)
            left, top = random.choice((0, CROP - size), 2)
            picture = picture[top : top + size, left : left + size]
        elif way < 0.75:
            picture = self._shuffled(picture, random.choice((8, 16, 32)))
        else:
            picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(5, 12))
        return cv2.resize(picture, (SCENE, SCENE), interpolation=1).astype(np.float32)

    def _paste(
        self, scene: np.ndarray, picture: np.ndarray, matrix: np.ndarray, *, around: bool = False
    ) -> None:
        """Puts a crop into the scene; ``around``: its edges fill the rest of it."""
        scale = math.hypot(matrix[0, 0], matrix[1, 0])
        if scale < 0.7:  # else it would alias
            small = max(8, round(CROP * scale))
            picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
            matrix = matrix.copy()
            matrix[:, :2] *= CROP / small
        moved = cv2.warpAffine(
            picture, on_centres(matrix), (SCENE, SCENE), borderMode=cv2.BORDER_REPLICATE
        )
        if around:
            scene[:] = moved
            return
        mask = self._mask(picture.shape[0])
        mask = cv2.warpAffine(mask, on_centres(matrix), (SCENE, SCENE))[..., None]
        scene += mask * (moved - scene)

    def _mask(self, side: int) -> np.ndarray:
        y, x = (np.mgrid[:side, :side].astype(np.float32) + 0.5) / side * 2 - 1
        power = self.random.choice((2, 3, 8, 40))  # from an ellipse to a rectangle
        reach = (np.abs(x) ** power + np.abs(y) ** power) ** (1 / power)
        softness = self.random.choice((0.02, 0.1, 0.25))
        return np.clip((1 - reach) / softness, 0, 1)


def placement(side: float, roll: float, middle: np.ndarray) -> np.ndarray:
    """2 3: takes a crop to a side, a roll and a middle."""
    turn = (
        side
        / CROP
        * np.array([(math.cos(roll), -math.sin(roll)), (math.sin(roll), math.cos(roll))])
    )
    return np.column_stack([turn, middle - turn @ (CROP / 2, CROP / 2)])


def on_centres(matrix: np.ndarray) -> np.ndarray:
    """OpenCV counts from the centre of the first pixel."""
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5
    return moved


def _covered(points: np.ndarray, matrix: np.ndarray) -> bool:
    back = np.linalg.inv(matrix[:, :2])
    inside = (points - matrix[:, 2]) @ back.T / CROP
    return bool(((inside > 0) & (inside < 1)).all(1).any())


def recoloured(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Other light, softer or noisier."""
    values = picture.astype(np.float32)
    if random.random() < 0.08:
        values = np.repeat(values.mean(-1, keepdims=True), 3, -1)
    values = values * random.uniform(0.65, 1.3) * random.uniform(0.9, 1.1, 3)
    values += random.uniform(-25, 25)
    if random.random() < 0.25:
        values = cv2.GaussianBlur(values, (0, 0), random.uniform(0.4, 1.2))
    if random.random() < 0.3:
        values += random.normal(0, random.uniform(2, 10), values.shape).astype(np.float32)
    return values.clip(0, 255)
