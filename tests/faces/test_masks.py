"""Masks lie where the features are, and sum to 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facemeld.faces.masks import REGIONS, WHOLE, as_98_landmarks, heatmaps, region_masks
from facemeld.faces.templates import KINDS, template
from facemeld.networks.landmarks import landmarks, skip_masks


def drawn_landmarks(size: float = 1.0) -> np.ndarray:
    """66 landmarks of a frontal face with the human template's eyes, nose and mouth."""
    angle = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.5 + 0.42 * np.cos(angle), 0.35 + 0.6 * np.sin(angle)], 1)
    points = [jaw]
    for x in (0.305, 0.695):
        points.append(np.stack([np.linspace(x - 0.12, x + 0.12, 5), np.full(5, 0.17)], 1))
    points.append(np.stack([np.full(4, 0.5), np.linspace(0.27, 0.46, 4)], 1))
    points.append(np.stack([np.linspace(0.42, 0.58, 5), np.full(5, 0.52)], 1))
    ring = np.array([(-2, 0), (-1, -1), (1, -1), (2, 0), (1, 1), (-1, 1)]) * 0.03
    points += [np.array([x, 0.278]) + ring for x in (0.305, 0.695)]
    angle = np.linspace(np.pi, 3 * np.pi, 13)[:12]
    points.append(np.stack([0.5 + 0.175 * np.cos(angle), 0.67 + 0.06 * np.sin(angle)], 1))
    points.append(np.array([(0.42, 0.66), (0.5, 0.66), (0.58, 0.66)]))
    points.append(np.array([(0.58, 0.68), (0.5, 0.68), (0.42, 0.68)]))
    return np.concatenate(points) * size


@pytest.mark.parametrize("size", [32, 64, 200, 300])
@pytest.mark.parametrize("kind", [*KINDS, "landmarks"])
def test_regions_sum_to_one_and_cover_their_features(kind, size):
    if kind == "landmarks":
        places = template("human", size)
        masks = region_masks("human", size, landmarks=drawn_landmarks(size))
    else:
        places = template(kind, size)
        masks = region_masks(kind, size)
    assert tuple(masks) == WHOLE
    for mask in masks.values():
        assert mask.shape == (size, size) and mask.dtype == np.float32
        assert mask.min() >= 0 and mask.max() <= 1 + 1e-5
    assert np.abs(sum(masks.values()) - 1).max() < 1e-4

    def at(name: str, point: np.ndarray) -> float:
        return float(masks[name][int(point[1]), int(point[0])])

    left, right, nose = places[:3]
    assert at("eyes", left) > 0.5 and at("eyes", right) > 0.5
    assert at("nose", nose - (0, 0.02 * size)) > 0.4
    assert at("mouth", places[3:].mean(0)) > 0.5
    assert at("outer", np.array([1, size - 2])) > 0.9
    assert at("skin", (left + nose) / 2) > 0.3


def test_region_masks_follow_the_points_that_were_found():
    moved = template("animal", 128) + (10, -6)
    still, found = region_masks("animal", 128), region_masks("animal", 128, points=moved)
    shifted = np.roll(still["eyes"], (-6, 10), axis=(0, 1))
    assert (
        np.abs(found["eyes"] - shifted).max() < 0.15 < np.abs(found["eyes"] - still["eyes"]).max()
    )


@pytest.mark.parametrize("kind", [*KINDS, "landmarks"])
def test_ears_and_hair_lie_outside_the_face(kind):
    found = {"landmarks": drawn_landmarks(64)} if kind == "landmarks" else {}
    kind = "human" if kind == "landmarks" else kind
    left, right, nose, *mouth = template(kind, 64)
    if kind == "animal":  # upright above the eyes
        ear = left + (-0.65 * (right - left)[0], -0.85 * (right - left)[0])
    else:  # beside them
        ear = left + (-0.55 * (right - left)[0], 0.3 * (right - left)[0])
    x, y = np.clip(ear, 0, 63).astype(int)
    masks = {name: region_masks(kind, 64, [name], **found)[name] for name in REGIONS}
    assert masks["ears"][y, x] > 0.3 and masks["ears"][y, 63 - x] > 0.3
    assert masks["ears"][int(nose[1]), 32] == 0
    beside = {"animal": (41, 8), "anime": (10, 8), "human": (3, 5)}
    assert masks["hair"][beside[kind]] > 0.9 and masks["hair"][63, 1] < 0.1
    np.testing.assert_array_equal(masks["hair"], masks["fur"])
    between = int(left[1]), 32
    assert (masks["fur"][between] > 0.5) == (kind == "animal"), "on animals the skin is fur"
    assert masks["fur"][int(left[1]), int(left[0])] < 0.4, "eyes are not"


def test_a_part_of_several_regions_is_of_the_smallest():
    alone = region_masks("animal", 64, ["outer"])["outer"]
    both = region_masks("animal", 64, ["outer", "ears", "skin"])
    np.testing.assert_allclose(both["outer"] + both["ears"], alone, atol=1e-5)
    np.testing.assert_array_equal(both["ears"], region_masks("animal", 64, ["ears"])["ears"])
    fur = region_masks("animal", 64, ["fur", "skin"])
    np.testing.assert_array_equal(fur["skin"], both["skin"])
    assert (fur["fur"] + fur["skin"]).max() <= 1 + 1e-5


def test_softer_edges_are_wider():
    widths = [
        ((0.01 < mask) & (mask < 0.99)).mean()
        for mask in (region_masks("human", 128, softness=s)["eyes"] for s in (0, 0.02, 0.08))
    ]
    assert widths[0] < 0.02 < widths[1] < widths[2] / 2


def test_the_98_landmarks_lie_among_the_66():
    points = drawn_landmarks(256)
    many = as_98_landmarks(points)
    assert many.shape == (98, 2)
    assert np.allclose(many[[0, 16, 32]], points[[0, 8, 16]], atol=1)
    assert np.allclose(many[[60, 64, 68, 72]], points[[36, 39, 42, 45]])
    assert np.allclose(many[[76, 82]], points[[48, 54]])
    assert np.allclose(many[[79, 85]], points[[51, 57]])
    assert np.allclose(many[96:], [points[36:42].mean(0), points[42:48].mean(0)])
    for part in (slice(33, 42), slice(42, 51)):
        assert many[part][5:, 1].mean() > many[part][:5, 1].mean(), "the lower edge of a brow"


def test_heatmaps_peak_at_the_landmarks():
    points = as_98_landmarks(drawn_landmarks(256))
    found = landmarks(torch.from_numpy(heatmaps(points, 256))[None])[0].numpy()
    assert np.abs(found - points).max() < 2.1  # half a heatmap pixel


def test_masks_from_landmarks_mean_what_the_official_ones_mean():
    maps = heatmaps(as_98_landmarks(drawn_landmarks(256)), 256)
    whole, inner = skip_masks(torch.from_numpy(maps)[None])[0].numpy()
    eyes, mouth, chin = (78, 71), (128, 171), (128, 243)

    def near(mask: np.ndarray, place: tuple[int, int]) -> float:
        x, y = place
        return float(mask[y - 14 : y + 14, x - 14 : x + 14].max())

    assert near(whole, eyes) > 0.5 and near(whole, mouth) > 0.3 and near(whole, chin) > 0.5
    assert near(inner, eyes) > 0.5 and near(inner, mouth) < 0.05 and near(inner, chin) < 0.05
