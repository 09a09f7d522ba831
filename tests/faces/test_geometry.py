"""Transforms are exact, and warping neither aliases nor shifts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawn_portraits import portrait
from PIL import Image

from facemeld.faces.geometry import (
    centre_square_matrix,
    inverse,
    scale_of,
    similarity,
    transform,
    warp,
)


def turned(degrees: float, scale: float, x: float, y: float) -> np.ndarray:
    c, s = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return np.array([[c, -s, x], [s, c, y]])


@pytest.mark.parametrize("count", [2, 5])
def test_similarity_finds_the_transform_that_made_the_points(count):
    points = np.random.default_rng(0).uniform(0, 100, (count, 2))
    matrix = turned(33, 0.4, -7, 12)
    assert np.allclose(similarity(points, transform(matrix, points)), matrix)


def test_similarity_has_the_least_squared_error():
    random = np.random.default_rng(1)
    points, target = random.uniform(0, 100, (2, 5, 2))

    def error(matrix: np.ndarray) -> float:
        return float(np.square(transform(matrix, points) - target).sum())

    best = similarity(points, target)
    a, b = best[0, 0], best[1, 0]
    for da, db, dx, dy in np.eye(4).repeat(2, 0) * np.tile([[1e-3], [-1e-3]], (4, 1)):
        other = best + np.array([[da, -db, dx], [db, da, dy]])
        assert error(other) > error(best), (a, b)


def test_the_inverse_undoes():
    matrix = turned(-70, 3.0, 5, 6)
    points = np.random.default_rng(2).uniform(-9, 9, (4, 2))
    assert np.allclose(transform(inverse(matrix), transform(matrix, points)), points)
    assert scale_of(matrix) == pytest.approx(3.0)


def test_the_identity_returns_the_same_bytes():
    picture = portrait(64)
    assert warp(picture, np.eye(2, 3), (64, 64)).tobytes() == picture.tobytes()


@pytest.mark.parametrize("side", [40, 97, 400])
def test_a_centred_square_agrees_with_pillow(side):
    picture = portrait(256).crop((0, 20, 256, 220))
    found = warp(picture, centre_square_matrix(256, 200, side), (side, side))
    box = (28, 0, 228, 200)
    expected = picture.resize((side, side), Image.Resampling.LANCZOS, box=box)
    difference = np.abs(np.asarray(found, float) - np.asarray(expected, float))[2:-2, 2:-2]
    assert difference.mean() < 1.0


@pytest.mark.parametrize("scale", [0.5, 0.23, 0.11, 0.04])
def test_shrinking_does_not_alias(scale):
    size = 1024
    stripes = np.zeros((size, size, 3), np.uint8)
    stripes[:, 1::2] = 255  # the finest there are: they must turn grey
    side = int(size * scale) - 4
    small = np.asarray(warp(Image.fromarray(stripes), turned(0, scale, 0, 0), (side, side)))
    assert np.abs(small[4:-4, 4:-4].astype(float) - 127.5).max() < 12


@pytest.mark.parametrize("scale", [0.07, 0.3, 1.0, 2.7])
def test_a_blob_lands_where_its_centre_goes(scale):
    y, x = np.mgrid[:300, :300]
    blob = 255 * np.exp(-((x + 0.5 - 170) ** 2 + (y + 0.5 - 120) ** 2) / (2 * 30**2))
    picture = Image.fromarray(np.repeat(blob[..., None], 3, 2).astype(np.uint8))
    matrix = turned(20, scale, 60 * scale, 10 * scale)
    side = round(330 * scale)
    found = np.asarray(warp(picture, matrix, (side, side)), float)[..., 0]
    found = np.maximum(found - 130, 0)  # the blob alone, without its mirror images
    y, x = np.mgrid[:side, :side]
    centre = [(found * (x + 0.5)).sum() / found.sum(), (found * (y + 0.5)).sum() / found.sum()]
    assert np.abs(centre - transform(matrix, [(170, 120)])[0]).max() < max(0.1, 0.3 * scale)


def test_outside_is_mirrored_then_blurred():
    random = np.random.default_rng(3)
    picture = Image.fromarray(random.integers(0, 256, (100, 100, 3), dtype=np.uint8))
    shifted = np.asarray(warp(picture, np.array([[1.0, 0, 80], [0, 1, 0]]), (200, 100)), float)
    assert np.array_equal(shifted[:, 80:180], np.asarray(picture))
    assert shifted[:, :40].std() < 0.5 * shifted[:, 85:175].std()
    edge = np.abs(shifted[:, 79] - shifted[:, 80]).mean()
    assert edge < 5, "the picture goes on beyond its border"
