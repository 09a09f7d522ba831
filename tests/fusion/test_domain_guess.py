"""The classifier of domains that a projected style encoder carries, fitted in closed form."""

from __future__ import annotations

import pytest
import torch
from tiny_models import enliven
from torch import Tensor

from facemeld.networks.style_encoder import ProjectedStyleEncoder

COLOURS = torch.tensor([[0.6, -0.2, -0.5], [-0.4, 0.5, -0.3], [-0.3, -0.4, 0.6]])


def pictures(counts: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Blotchy pictures about a colour for each domain, and their domains."""
    random = torch.Generator().manual_seed(seed)
    domains = torch.arange(3).repeat_interleave(torch.tensor(counts))
    noise = 0.4 * torch.randn(len(domains), 3, 2, 2, generator=random)
    blotches = torch.nn.functional.interpolate(noise, size=(32, 32), mode="nearest")
    return (COLOURS[domains][:, :, None, None] + blotches).clamp(-1, 1), domains


@pytest.fixture
def encoder() -> ProjectedStyleEncoder:
    torch.manual_seed(0)
    encoder = ProjectedStyleEncoder(style_size=8, domains=3, feature_size=32, width=16)
    enliven(encoder.features)
    return encoder


def fit(encoder: ProjectedStyleEncoder, counts: list[int]) -> None:
    seen, domains = pictures(counts, seed=1)
    encoder.fit(encoder.statistics(encoder.features(seen), seen), domains)


def test_new_pictures_are_told_apart_whatever_the_sizes_of_the_domains(
    encoder: ProjectedStyleEncoder,
) -> None:
    fit(encoder, [60, 15, 8])
    new, domains = pictures([20, 20, 20], seed=2)
    right = (encoder.guess_domains(new) == domains).view(3, 20).float().mean(dim=1)
    assert right.min() >= 0.8, right


def test_statistics_are_standardised_over_the_training_pictures(
    encoder: ProjectedStyleEncoder,
) -> None:
    fit(encoder, [30, 30, 30])
    seen, _ = pictures([30, 30, 30], seed=1)
    rows = encoder.standardise(encoder.statistics(encoder.features(seen), seen))
    colours = rows[:, -6:]  # means and deviations of red, green and blue
    assert colours.mean(dim=0).abs().max() < 0.05
    assert (colours.std(dim=0) - 1).abs().max() < 0.05
    assert rows.abs().max() <= 5


def test_a_domain_without_pictures_does_not_break_the_fit(encoder: ProjectedStyleEncoder) -> None:
    fit(encoder, [20, 20, 0])
    new, domains = pictures([10, 10, 0], seed=2)
    assert (encoder.guess_domains(new) == domains).float().mean() > 0.8
