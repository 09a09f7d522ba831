"""Arithmetic of style codes and colours, against what can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from facemeld.fusion.colour import from_oklab, match_colours, to_oklab
from facemeld.fusion.mixing import lerp, mix_styles, unit_mean_square, vary_styles
from facemeld.networks.layers import unit_rms

RANDOM = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, dtype=np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.mark.parametrize("interpolation", ["linear", "spherical"])
@pytest.mark.parametrize("weights", [[0, 1, 0], [1, 0, 0]])
def test_all_the_weight_on_one_is_that_one(interpolation: str, weights: list) -> None:
    codes = drawn(3, 6)
    found = mix_styles(codes, weights, interpolation)
    np.testing.assert_allclose(found, codes[weights.index(1)], rtol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_spherical_mean_of_two_divides_their_angle(share: float) -> None:
    angle = math.radians(100)
    codes = np.array([[2, 0, 0], [4 * math.cos(angle), 4 * math.sin(angle), 0]])
    found = mix_styles(codes, [1 - share, share], "spherical")
    length = 2 + 2 * share
    expected = [length * math.cos(share * angle), length * math.sin(share * angle), 0]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_spherical_mean_of_three_is_where_their_pulls_cancel() -> None:
    codes = drawn(3, 8).astype(np.float64)
    codes /= np.linalg.norm(codes, axis=-1, keepdims=True)
    weights = np.array([0.5, 0.3, 0.2])
    mean = mix_styles(codes, weights.tolist(), "spherical")
    mean /= np.linalg.norm(mean)
    across = codes - (codes @ mean)[:, None] * mean
    angles = np.arccos(codes @ mean)[:, None]
    pulls = across / np.linalg.norm(across, axis=1, keepdims=True) * angles
    assert np.linalg.norm((weights[:, None] * pulls).sum(0)) < 1e-6


def test_equal_codes_stay_themselves_on_the_sphere() -> None:
    code = drawn(6)
    found = mix_styles(np.stack([code] * 4), [0.25] * 4, "spherical")
    np.testing.assert_allclose(found, code, rtol=1e-6)


def test_variations_turn_by_the_angle_and_keep_the_length() -> None:
    codes, noise = drawn(2, 3, 1, 8), drawn(8)
    turned = vary_styles(codes, noise, 35)
    lengths = np.linalg.norm(codes, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), lengths, rtol=1e-5)
    np.testing.assert_allclose(cosine(turned, codes), math.cos(math.radians(35)), rtol=1e-5)
    np.testing.assert_allclose(vary_styles(codes, noise, 0), codes, rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_between_two_arrays_the_ends_are_exact(share: float) -> None:
    one, other = drawn(50), drawn(50) * 1e4
    found = lerp(one, other, share)
    np.testing.assert_allclose(found, (1 - share) * one + share * other, rtol=1e-3)
    if share in (0.0, 1.0):
        assert np.array_equal(found, other if share else one)


def test_codes_of_unit_mean_square_are_as_the_networks_make_them() -> None:
    codes = drawn(3, 2, 8) * 5
    expected = unit_rms(torch.from_numpy(codes))
    torch.testing.assert_close(torch.from_numpy(unit_mean_square(codes)), expected)


def coloured(seed: int, low: int, high: int) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(low, high, (12, 12, 3), np.uint8))


def test_oklab_is_as_published() -> None:
    # Red, and white, in the values that its author and CSS Color 4 give.
    for colour, expected in (
        ((255, 0, 0), (0.6280, 0.2249, 0.1258)),
        ((255, 255, 255), (1.0, 0.0, 0.0)),
    ):
        found = to_oklab(Image.new("RGB", (1, 1), colour))[0, 0]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    picture = coloured(0, 0, 256)
    assert from_oklab(to_oklab(picture)).tobytes() == picture.tobytes()


def test_matched_colours_have_the_others_means_and_deviations() -> None:
    picture, like = coloured(1, 60, 180), coloured(2, 90, 140)
    assert match_colours(picture, like, 0) is picture
    goal = to_oklab(like).reshape(-1, 3)
    distances = []
    for share in (0.0, 0.5, 1.0):
        found = to_oklab(match_colours(picture, like, share)).reshape(-1, 3)
        distances.append(
            np.abs(found.mean(0) - goal.mean(0)).sum() + np.abs(found.std(0) - goal.std(0)).sum()
        )
    assert distances[0] > 1.5 * distances[1] > 2 * distances[2] and distances[2] < 0.005


def test_a_picture_of_one_colour_takes_the_others_mean() -> None:
    flat, like = Image.new("RGB", (4, 4), (200, 10, 10)), coloured(3, 80, 160)
    found = to_oklab(match_colours(flat, like, 1.0))
    np.testing.assert_allclose(found[0, 0], to_oklab(like).mean((0, 1)), atol=0.01)
