"""Arithmetic of style codes and colours, against what can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from facemeld.fusion.colour import from_oklab, match_colours, to_oklab
from facemeld.fusion.mixing import mix_styles, vary_styles

RANDOM = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("interpolation", ["linear", "spherical"])
@pytest.mark.parametrize("weights", [[0, 1, 0], [1, 0, 0]])
def test_all_the_weight_on_one_is_that_one(interpolation: str, weights: list) -> None:
    codes = torch.randn(3, 6, generator=RANDOM)
    found = mix_styles(codes, weights, interpolation)
    torch.testing.assert_close(found, codes[weights.index(1)])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_spherical_mean_of_two_divides_their_angle(share: float) -> None:
    one = torch.tensor([2.0, 0.0, 0.0])
    angle = math.radians(100)
    other = 4 * torch.tensor([math.cos(angle), math.sin(angle), 0.0])
    found = mix_styles(torch.stack([one, other]), [1 - share, share], "spherical")
    length = 2 + 2 * share
    expected = length * torch.tensor([math.cos(share * angle), math.sin(share * angle), 0.0])
    torch.testing.assert_close(found, expected)


def test_the_spherical_mean_of_three_is_where_their_pulls_cancel() -> None:
    codes = torch.nn.functional.normalize(torch.randn(3, 8, generator=RANDOM).double(), dim=-1)
    weights = torch.tensor([0.5, 0.3, 0.2]).double()
    mean = mix_styles(codes, weights.tolist(), "spherical")
    mean = mean / mean.norm()
    across = codes - (codes @ mean)[:, None] * mean
    pulls = across / across.norm(dim=1, keepdim=True) * torch.acos(codes @ mean)[:, None]
    assert (weights[:, None] * pulls).sum(0).norm() < 1e-6


def test_equal_codes_stay_themselves_on_the_sphere() -> None:
    code = torch.randn(6, generator=RANDOM)
    torch.testing.assert_close(mix_styles(code.expand(4, 6), [0.25] * 4, "spherical"), code)


def test_variations_turn_by_the_angle_and_keep_the_length() -> None:
    codes, noise = torch.randn(2, 3, 1, 8, generator=RANDOM), torch.randn(8, generator=RANDOM)
    turned = vary_styles(codes, noise, 35)
    torch.testing.assert_close(turned.norm(dim=-1), codes.norm(dim=-1))
    cosine = torch.nn.functional.cosine_similarity(turned, codes, dim=-1)
    torch.testing.assert_close(cosine, torch.full_like(cosine, math.cos(math.radians(35))))
    torch.testing.assert_close(vary_styles(codes, noise, 0), codes)


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
