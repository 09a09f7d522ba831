"""The reader of eyes and noses: its maps, and what the shipped weights read."""

from __future__ import annotations

import torch

from facemeld.networks.features import EfficientNetLite0
from facemeld.networks.points import POINTS, PointReader, load_point_reader, mean_places


def features_of(side: int, batch: int = 2) -> list[torch.Tensor]:
    sides = (side // stride for stride in (4, 8, 16, 32))
    return [torch.randn(batch, c, s, s) for c, s in zip(EfficientNetLite0.channels, sides)]


def test_maps_sum_to_one_and_points_are_their_means() -> None:
    points, maps = PointReader()(features_of(128))
    assert points.shape == (2, len(POINTS), 2) and maps.shape == (2, len(POINTS), 16, 16)
    torch.testing.assert_close(maps.exp().sum(dim=(2, 3)), torch.ones(2, len(POINTS)))
    torch.testing.assert_close(points, mean_places(maps.exp()))


def test_places_are_the_middles_of_the_cells() -> None:
    maps = torch.zeros(1, 1, 4, 8)
    maps[0, 0, 3, 0] = 1
    torch.testing.assert_close(mean_places(maps), torch.tensor([[[0.5 / 8, 3.5 / 4]]]))


def test_the_shipped_weights_are_frozen_and_can_be_differentiated_through() -> None:
    reader = load_point_reader()
    assert not any(p.requires_grad for p in reader.parameters())
    features = [f.requires_grad_() for f in features_of(128)]
    points, _ = reader(features)
    points.sum().backward()
    assert all(f.grad.abs().sum() > 0 for f in features)
