"""Wider styles: the model paints as before, and new entries say what sets pictures apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import untrained
from torch import Tensor

from facemeld.data.folders import scan_domains
from facemeld.data.sampling import BatchSampler
from facemeld.data.store import load_pictures
from facemeld.errors import UserError
from facemeld.networks.bundle import Networks
from facemeld.training.widening import with_wider_styles


@pytest.fixture
def networks() -> Networks:
    return untrained("projected").requires_grad_(False)


@pytest.fixture
def sampler(faces: Path) -> BatchSampler:
    store = load_pictures(scan_domains(faces, only=("cat", "dog")), 16)
    return BatchSampler(store, sources=1, latent_size=0, seed=0)


def statistics(networks: Networks, sampler: BatchSampler) -> tuple[Tensor, Tensor]:
    """Standardised ones of every picture, and the domains."""
    encoder = networks.style_encoder
    pictures = sampler.pictures_of_rows(range(sum(sampler.counts)))
    found = encoder.standardise(encoder.statistics(encoder.features(pictures), pictures))
    return found, torch.arange(len(sampler.counts)).repeat_interleave(torch.tensor(sampler.counts))


def test_the_generator_paints_as_before_whatever_the_new_entries_are(
    networks: Networks, sampler: BatchSampler
) -> None:
    wide, _ = with_wider_styles(networks, sampler, entries=3, steps=1, seed=0)
    assert wide.config.style_size == networks.config.style_size + 3
    random = torch.Generator().manual_seed(0)
    pictures, styles = (
        torch.randn(4, 3, 16, 16, generator=random),
        torch.randn(4, 8, generator=random),
    )
    new = torch.randn(4, 3, generator=random)
    painted = wide.generator(pictures, torch.cat([styles, new], dim=1))
    torch.testing.assert_close(painted, networks.generator(pictures, styles))


def test_old_entries_stay_and_new_ones_are_whitened_components(
    networks: Networks, sampler: BatchSampler
) -> None:
    wide, missed = with_wider_styles(networks, sampler, entries=3, steps=300, seed=0)
    rows, labels = statistics(networks, sampler)
    before, after = networks.style_encoder.unscaled(rows), wide.style_encoder.unscaled(rows)
    scale = before[torch.arange(len(rows)), labels].square().mean().sqrt()
    assert (after[..., :8] - before).square().mean() < 0.1 * scale**2
    own = after[torch.arange(len(rows)), labels, 8:] / scale
    parts = [own[labels == k] for k in (0, 1)]
    spread = sum(part.T @ part / len(part) for part in parts) / 2
    torch.testing.assert_close(spread, torch.eye(3), rtol=0, atol=0.35)
    assert 0 < missed < 0.1


def test_codes_keep_their_old_entries(networks: Networks, sampler: BatchSampler) -> None:
    wide, _ = with_wider_styles(networks, sampler, entries=3, steps=1, seed=0)
    latents = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    before, after = (n.mapping_network.unscaled(latents) for n in (networks, wide))
    torch.testing.assert_close(after[..., :8], before)
    assert after[..., 8:].std() > 0


def test_the_same_seed_makes_the_same_wide_model(networks: Networks, sampler: BatchSampler) -> None:
    kept = {name: value.clone() for name, value in networks.state_dict().items()}
    first, second, other = (
        with_wider_styles(networks, sampler, entries=2, steps=3, seed=seed)[0].state_dict()
        for seed in (1, 1, 2)
    )
    assert all(map(torch.equal, first.values(), second.values()))
    assert not all(map(torch.equal, first.values(), other.values()))
    assert all(torch.equal(v, kept[n]) for n, v in networks.state_dict().items())


def test_what_cannot_be_widened_is_told(networks: Networks, sampler: BatchSampler) -> None:
    with pytest.raises(UserError, match="style_encoder = projected"):
        with_wider_styles(untrained("resnet"), sampler, entries=1, steps=1, seed=0)
    for entries in (0, 10_000):
        with pytest.raises(UserError, match=f"more entries here, not {entries}"):
            with_wider_styles(networks, sampler, entries=entries, steps=1, seed=0)
    with pytest.raises(UserError, match="at least one step, not 0"):
        with_wider_styles(networks, sampler, entries=1, steps=0, seed=0)
