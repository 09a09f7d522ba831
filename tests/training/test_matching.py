"""The end of a lean run: latent codes come to draw from the styles of the pictures."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import tensors_of, tiny_config
from torch import Tensor

from facemeld.config import LossWeights
from facemeld.networks.bundle import Networks
from facemeld.training import loop
from facemeld.training.loop import train
from facemeld.training.losses import energy_distance
from facemeld.training.matching import match_latents
from facemeld.training.samples import SampleSheet


def networks_and_styles() -> tuple[Networks, list[Tensor]]:
    """Networks, and two domains of which one has two kinds of styles."""
    random = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    config = tiny_config("starganv2").network
    networks = Networks(dataclasses.replace(config, domains=("cat", "dog"), mapping_width=32))
    around = 0.1 * torch.randn(300, 8, generator=random) + 1
    sides = 0.1 * torch.randn(120, 8, generator=random)
    sides += torch.where(torch.arange(120)[:, None] % 3 == 0, 1.0, -1.0)
    return networks.requires_grad_(False), [around, sides]


def test_mapped_styles_are_spread_as_the_pictures_are() -> None:
    networks, styles = networks_and_styles()
    before, after = match_latents(networks, styles, steps=500, seed=3)
    mapping = networks.mapping_network
    assert after < 0.1 * before
    latents = torch.randn(2000, 4, generator=torch.Generator().manual_seed(5))
    mapped = mapping.all_domains(latents)
    for k, own in enumerate(styles):
        assert energy_distance(mapped[:, k], own) < 0.1
    assert (mapped[:, 1].mean(dim=1) > 0).float().mean().item() == pytest.approx(1 / 3, abs=0.08)
    assert not any(p.requires_grad or p.grad is not None for p in networks.parameters())


def test_the_same_seed_gives_the_same_bits() -> None:
    found = []
    for seed in (3, 3, 4):
        networks, styles = networks_and_styles()
        distances = match_latents(networks, styles, steps=5, seed=seed)
        found.append((distances, [p.clone() for p in networks.parameters()]))
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


@pytest.mark.parametrize("place", [(loop, "styles_of"), (SampleSheet, "write")])
def test_a_request_to_stop_does_not_wait_for_it(
    place: tuple[object, str], faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one that comes during the matching, nor one just before, while all is saved."""
    config = tiny_config("lean", faces, matching_steps=4, sample_every=48)
    whole = train(config, tmp_path / "whole") / "model.safetensors"
    usual = getattr(*place)

    def asked_to_stop(*given, **named):
        os.kill(os.getpid(), signal.SIGTERM)
        return usual(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(*place, asked_to_stop)
        with pytest.raises(SystemExit, match="143"):
            train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()
    later = train(config, tmp_path / "run") / "model.safetensors"
    assert later.read_bytes() == whole.read_bytes()
