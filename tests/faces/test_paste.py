"""Pasting back undoes the alignment, and touches nothing outside its mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawn_portraits import photograph
from PIL import Image

from facemeld.faces.align import Alignment, aligned
from facemeld.faces.geometry import inverse, transform
from facemeld.faces.paste import face_mask, paste_back

SIZE = (420, 360)


def placed(degrees: float, side: float, size: int, x: float = 200, y: float = 170) -> Alignment:
    """Takes a rolled square of a photograph to ``size`` pixels."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = size / side * np.array([[c, -s], [s, c]])
    matrix = np.column_stack([turn, size / 2 - turn @ (x, y)])
    return Alignment(tuple(map(tuple, matrix.tolist())), size, None)


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    return photograph(np.array([[0.9, -0.2, 110.0], [0.2, 0.9, 40.0]]), SIZE)


def inside(how: Alignment) -> np.ndarray:
    """Which pixels of the photograph lie in the aligned square."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    points = transform(np.array(how.matrix), np.stack([x.ravel(), y.ravel()], 1))
    return ((points > 0) & (points < how.size)).all(1).reshape(SIZE[1], SIZE[0])


@pytest.mark.parametrize(("degrees", "side"), [(0, 200), (25, 200), (-160, 150), (10, 90)])
def test_what_was_aligned_comes_back_to_its_place(scene, degrees, side):
    how = placed(degrees, side, 200)
    back = paste_back(scene, aligned(scene, how), how)
    difference = np.abs(np.asarray(back, float) - np.asarray(scene, float))
    assert difference.mean() < 0.5 and np.quantile(difference, 0.999) < 12


@pytest.mark.parametrize("size", [32, 200, 640])
def test_no_byte_changes_outside_the_face(scene, size):
    how = placed(15, 180, size)
    green = Image.new("RGB", (size, size), (0, 255, 0))
    for match_colours in (True, False):
        back = np.asarray(paste_back(scene, green, how, match_colours=match_colours))
        changed = (back != np.asarray(scene)).any(2)
        assert changed.any() and not (changed & ~inside(how)).any()
        corner = transform(inverse(np.array(how.matrix)), [(size * 0.02, size * 0.02)])[0]
        assert not changed[int(corner[1]), int(corner[0])], "the corners are outside the mask"


def test_the_middle_is_the_fused_face(scene):
    how = placed(0, 200, 64)
    red = Image.new("RGB", (64, 64), (250, 10, 10))
    back = np.asarray(paste_back(scene, red, how, match_colours=False))
    assert back[170, 200].tolist() == [250, 10, 10]
    assert back[170, 160].tolist() == [250, 10, 10]


def test_matched_colours_leave_no_edge():
    grey = Image.new("RGB", SIZE, (100, 100, 100))
    how = placed(0, 200, 128)
    fused = Image.new("RGB", (128, 128), (160, 130, 90))
    plain = np.asarray(paste_back(grey, fused, how, match_colours=False), float)
    matched = np.asarray(paste_back(grey, fused, how), float)
    mask = np.zeros(SIZE[::-1])
    mask[70:270, 100:300] = face_mask(200)
    edge = (mask > 0.1) & (mask < 0.6)
    assert np.abs(matched - 100)[edge].mean() < 0.6 * np.abs(plain - 100)[edge].mean()
    assert np.abs(matched[170, 200] - (160, 130, 90)).max() < 25, "the face keeps its own colours"


def test_a_face_at_the_border_and_one_outside(scene):
    how = placed(30, 200, 100, x=5, y=350)
    back = paste_back(scene, Image.new("RGB", (100, 100)), how)
    assert back.size == SIZE and back.tobytes() != scene.tobytes()
    away = placed(0, 100, 100, x=-500, y=-500)
    assert paste_back(scene, Image.new("RGB", (100, 100)), away).tobytes() == scene.tobytes()


def test_the_photograph_itself_is_not_changed(scene):
    before = scene.tobytes()
    paste_back(scene, Image.new("RGB", (64, 64)), placed(0, 200, 64))
    assert scene.tobytes() == before


def test_the_mask_is_smooth_and_ends_before_the_sides():
    mask = face_mask(256)
    assert mask.max() == 1 and mask[128, 128] == 1
    assert mask[0].max() == mask[:, 0].max() == 0
    assert np.abs(np.diff(mask, axis=0)).max() < 0.06
