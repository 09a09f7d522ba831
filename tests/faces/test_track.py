"""A face is followed where it goes, without trembling."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from drawn_portraits import photograph
from PIL import Image

from facemeld.faces.align import alignment
from facemeld.faces.detect import FaceDetection, FaceFinder, select
from facemeld.faces.geometry import inverse, scale_of, transform
from facemeld.faces.track import FaceTrack, OneEuro

FPS = 25
SIZE = (480, 300)


def pose(number: int) -> np.ndarray:
    """2 3: where a portrait of 256 px is, gliding to the right, turning and growing."""
    t = number / FPS
    scale, angle = 0.55 + 0.05 * t, 0.12 * math.sin(2 * t)
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    turn = np.array([[a, -b], [b, a]])
    return np.column_stack([turn, np.array([140 + 60 * t, 150]) - turn @ [128, 128]])


def centre_of(matrix: np.ndarray) -> np.ndarray:
    return transform(inverse(matrix), [(32, 32)])[0]


@pytest.fixture(scope="module")
def followed() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres of the aligned square in 18 frames: in truth, frame by frame, and as followed."""
    finder = FaceFinder("human")
    track = FaceTrack(finder, size=64, fps=FPS)
    at_rest = photograph(pose(0), SIZE)
    first = np.array(alignment(select(finder.find(at_rest), "largest")[0], 64).matrix)
    in_portrait = transform(inverse(pose(0)), [centre_of(first)])[0]
    truth, single, smooth = [], [], []
    random = np.random.default_rng(0)
    for number in range(18):
        frame = photograph(pose(number), SIZE)
        noisy = np.asarray(frame, float) + random.normal(0, 4, (SIZE[1], SIZE[0], 1))
        frame = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        truth.append(transform(pose(number), [in_portrait])[0])
        found = select(finder.find(frame), "largest")
        single.append(centre_of(np.array(alignment(found[0], 64).matrix)))
        smooth.append(centre_of(np.array(track(frame).matrix)))
    return np.array(truth), np.array(single), np.array(smooth)


def test_the_place_goes_along(followed) -> None:
    truth, _, smooth = followed
    side = 256 * 0.6
    assert np.linalg.norm(truth[-1] - truth[0]) > side * 0.25
    assert np.linalg.norm(smooth - truth, axis=1).max() < 0.06 * side


def test_the_place_trembles_less_than_without_smoothing(followed) -> None:
    truth, single, smooth = followed
    trembling = [np.diff(places - truth, n=2, axis=0).std() for places in (single, smooth)]
    assert trembling[1] < 0.5 * trembling[0]


def test_the_filter_is_calm_at_rest_and_quick_in_motion() -> None:
    random = np.random.default_rng(0)
    still = OneEuro(FPS)
    calm = np.array([still(np.array([v])) for v in random.normal(0, 0.01, 100)])
    assert calm[20:].std() < 0.005
    moving = OneEuro(FPS)
    for number in range(50):
        last = moving(np.array([number / FPS]))  # a side a second
    assert 49 / FPS - last < 0.06


def test_a_face_that_goes_is_let_go_and_found_again() -> None:
    track = FaceTrack(FaceFinder("human"), size=64, fps=10)
    with_face, far = photograph(pose(0), SIZE), photograph(pose(22), SIZE)
    empty = with_face.resize((1, 1)).resize(SIZE)
    assert track(empty) is None
    place = track(with_face)
    assert place is not None
    assert [track(empty) for _ in range(4)] == [place, place, None, None]
    again = track(far)
    assert np.linalg.norm(centre_of(np.array(again.matrix)) - [140 + 60 * 0.88, 150]) < 15


def test_a_single_wrong_find_is_not_believed() -> None:
    class Mistaken:
        """Finds what a finder finds, but once twice as large."""

        def __init__(self, finder: FaceFinder, turn: int) -> None:
            self.finder, self.turn, self.count = finder, turn, 0

        def only(self, kind: str) -> Mistaken:
            return self

        def find(self, picture: Image.Image) -> list[FaceDetection]:
            self.count += 1
            faces = self.finder.find(picture)
            if self.count != self.turn:
                return faces
            points = np.array(faces[0].points)
            wrong = points.mean(0) + 1.3 * (points - points.mean(0))
            return [replace(faces[0], points=tuple(map(tuple, wrong.tolist())))]

    frame = photograph(pose(0), SIZE)
    track = FaceTrack(Mistaken(FaceFinder("human"), turn=4), size=64, fps=FPS)
    scales = [scale_of(np.array(track(frame).matrix)) for _ in range(6)]
    assert max(scales) < 1.02 * min(scales)


def test_a_finder_of_one_kind_finds_the_same_faces_of_it() -> None:
    finder = FaceFinder("auto")
    picture = photograph(pose(3), SIZE)
    face = finder.find(picture)[0]
    assert finder.only(face.kind).find(picture)[0].points == face.points
