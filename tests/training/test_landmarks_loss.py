"""Where points of fakes should lie, and the loss that says how far they are from there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from facemeld.training.landmarks import (
    LARGEST_STRETCH,
    TOLERANCE,
    Landmarks,
    Wanted,
    entropy,
    mirrored,
    peaks_at,
)

MEANS = torch.tensor([[[0.3, 0.3], [0.7, 0.3], [0.5, 0.5]], [[0.35, 0.5], [0.65, 0.5], [0.5, 0.7]]])
SPREADS = (0.01, 0.015)


class Told(nn.Module):
    """A reader that is given points instead of features, and answers with maps around them."""

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        (points,) = features
        return points, (peaks_at(points, torch.empty(1, 3, 16, 16)) + 1e-9).log()


@pytest.fixture
def landmarks() -> Landmarks:
    torch.manual_seed(0)
    faces = [m + s * torch.randn(4000, 3, 2) for m, s in zip(MEANS, SPREADS)]
    domains = torch.tensor([0, 1]).repeat_interleave(4000)
    points = torch.cat(faces)
    entropies = entropy(Told()([points])[1])
    return Landmarks(Told(), points, entropies, domains, 2)


def wanted(landmarks: Landmarks, points: Tensor, source: int, target: int) -> Wanted:
    return landmarks.wanted([points], torch.tensor([source]), torch.tensor([target]))


def test_the_mean_face_becomes_the_mean_face(landmarks: Landmarks) -> None:
    found = wanted(landmarks, MEANS[:1], 0, 1)
    torch.testing.assert_close(found.points, MEANS[1:], atol=2e-3, rtol=0)


def test_offsets_are_carried_over_in_deviations(landmarks: Landmarks) -> None:
    offset = 0.01 * torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.3, 2.0]])
    found = wanted(landmarks, MEANS[:1] + offset, 0, 1)
    ratio = SPREADS[1] / SPREADS[0]
    torch.testing.assert_close(found.points, MEANS[1:] + ratio * offset, atol=3e-3, rtol=0)


def test_the_same_domain_keeps_them(landmarks: Landmarks) -> None:
    points = MEANS[:1] + 0.02 * torch.randn(1, 3, 2)
    torch.testing.assert_close(wanted(landmarks, points, 0, 0).points, points, atol=1e-4, rtol=0)


def test_small_movements_are_not_blown_up() -> None:
    torch.manual_seed(0)
    faces = torch.cat([m + s * torch.randn(999, 3, 2) for m, s in zip(MEANS, (0.002, 0.1))])
    domains = torch.tensor([0, 1]).repeat_interleave(999)
    landmarks = Landmarks(Told(), faces, torch.zeros(1998), domains, 2)
    moved = wanted(landmarks, MEANS[:1] + 0.01, 0, 1).points
    still = wanted(landmarks, MEANS[:1], 0, 1).points
    assert (moved - still).norm() <= 1.001 * LARGEST_STRETCH * (0.01 * 6**0.5)


def test_unsure_sources_weigh_less(landmarks: Landmarks) -> None:
    maps = torch.full((1, 3, 16, 16), 1 / 256).log()
    landmarks.reader = lambda features: (features[0], maps)
    assert wanted(landmarks, MEANS[:1], 0, 1).weight < 0.2


def test_the_loss_grows_with_the_distance_beyond_the_tolerance(landmarks: Landmarks) -> None:
    aim = Wanted(MEANS[:1], torch.ones(1))
    losses, distances = [], []
    for shift in (0.0, TOLERANCE, 0.05, 0.1, 0.2):
        loss, off = landmarks.loss([MEANS[:1] + torch.tensor([shift, 0.0])], aim)
        losses.append(loss.item())
        distances.append(off.item())
    assert losses == sorted(losses) and losses[0] < 1e-3
    torch.testing.assert_close(torch.tensor(distances), torch.tensor((0, TOLERANCE, 0.05, 0.1, 0.2)))
    half = Wanted(MEANS[:1], torch.full((1,), 0.5))
    assert landmarks.loss([MEANS[:1] + 0.1], half)[0].item() == pytest.approx(
        landmarks.loss([MEANS[:1] + 0.1], aim)[0].item() / 2
    )


def test_mirrored_faces_exchange_their_eyes() -> None:
    face = torch.tensor([[[0.2, 0.3], [0.7, 0.4], [0.5, 0.6]]])
    expected = torch.tensor([[[0.3, 0.4], [0.8, 0.3], [0.5, 0.6]]])
    torch.testing.assert_close(mirrored(face), expected)
