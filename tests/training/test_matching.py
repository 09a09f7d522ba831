"""The end of a lean run: latent codes come to draw from the styles of the pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import tensors_of, tiny_config
from torch import Tensor

from facemeld.config import LossWeights
from facemeld.networks.mapping import MappingNetwork
from facemeld.training.loop import train
from facemeld.training.losses import energy_distance
from facemeld.training.matching import match_latents


def mapping_and_styles() -> tuple[MappingNetwork, list[Tensor]]:
    """A mapping network, and two domains of which one has two kinds of styles."""
    random = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    mapping = MappingNetwork(
        latent_size=4, style_size=8, domains=2, width=32, shared_layers=1, domain_layers=2
    )
    around = 0.1 * torch.randn(300, 8, generator=random) + 1
    sides = 0.1 * torch.randn(120, 8, generator=random)
    sides += torch.where(torch.arange(120)[:, None] % 3 == 0, 1.0, -1.0)
    return mapping.requires_grad_(False), [around, sides]


def test_mapped_styles_are_spread_as_the_pictures_are() -> None:
    mapping, styles = mapping_and_styles()
    before, after = match_latents(mapping, styles, latent_size=4, steps=500, seed=3)
    assert after < 0.1 * before
    latents = torch.randn(2000, 4, generator=torch.Generator().manual_seed(5))
    mapped = mapping.all_domains(latents)
    for k, own in enumerate(styles):
        assert energy_distance(mapped[:, k], own) < 0.1
    assert (mapped[:, 1].mean(dim=1) > 0).float().mean().item() == pytest.approx(1 / 3, abs=0.08)
    assert not any(p.requires_grad or p.grad is not None for p in mapping.parameters())


def test_the_same_seed_gives_the_same_bits() -> None:
    found = []
    for seed in (3, 3, 4):
        mapping, styles = mapping_and_styles()
        distances = match_latents(mapping, styles, latent_size=4, steps=5, seed=seed)
        found.append((distances, [p.clone() for p in mapping.parameters()]))
    assert found[0][0] == found[1][0] != found[2][0]
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1]))


@pytest.mark.parametrize("style_encoder", ["projected", "resnet"])
def test_a_run_ends_with_it(
    style_encoder: str, faces: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    config = tiny_config("lean", faces, matching_steps=4, weights=LossWeights(style_matching=1.0))
    network = dataclasses.replace(config.network, style_encoder=style_encoder)
    config = dataclasses.replace(config, network=network, late_weights=None)
    model = train(config, tmp_path / "run")
    assert "energy distance was" in capfd.readouterr().err
    average = {
        name.removeprefix("ema."): value
        for name, value in tensors_of(tmp_path / "run").items()
        if name.startswith("ema.")
    }
    finished = load_file(model / "model.safetensors")
    changed = {n for n, value in average.items() if not torch.equal(value, finished[n])}
    assert changed and all(name.startswith("mapping_network.") for name in changed)
