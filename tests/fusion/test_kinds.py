"""Every kind of generator with every kind of skips is saved, loaded and fuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facemeld.config import NetworkConfig, SwinConfig
from facemeld.config.network import GENERATORS, SKIPS
from facemeld.errors import UserError
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.networks.bundle import Networks


def networks_of(generator: str, skips: str) -> Networks:
    """Random networks of 16 px, all of whose parts matter."""
    config = NetworkConfig(
        image_size=16,
        domains=("cat", "dog"),
        generator=generator,
        style_encoder="swin",
        skips=skips,
        skip_resolutions=(16,),
        widths=(8, 16),
        encoder_blocks=1,
        decoder_blocks=1,
        style_size=8,
        latent_size=4,
        mapping_width=8,
        mapping_shared_layers=1,
        mapping_domain_layers=1,
        feature_size=64,
        swin=SwinConfig(window_size=4, head_width=4, convolutional_levels=1),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = Networks(config).eval()
        for parameter in networks.parameters():  # some start at zero
            parameter.data += 0.1 * torch.randn_like(parameter)
    return networks


@pytest.mark.parametrize("skips", SKIPS)
@pytest.mark.parametrize("generator", GENERATORS)
def test_every_generator_is_saved_loaded_and_fuses(
    generator: str,
    skips: str,
    cats: list[Path],
    dogs: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def masker(pictures: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(pictures), 2, 256, 256)

    monkeypatch.setattr("facemeld.fusion.skip_masks.load_masker", lambda weights_dir: masker)
    built = FusionPipeline.from_networks(networks_of(generator, skips))
    built.save_pretrained(tmp_path / "model", card="")
    pipe = FusionPipeline.from_pretrained(tmp_path / "model")
    kept, loaded = built.networks.state_dict(), pipe.networks.state_dict()
    assert kept.keys() == loaded.keys()
    assert [name for name in kept if not torch.equal(kept[name], loaded[name])] == []

    def fused(look: Path, **controls) -> Image.Image:
        expected = built(cats[0], look, domain="dog", **controls).images[0]
        found = pipe(cats[0], look, domain="dog", **controls).images[0]
        assert levels(found, expected) <= 1  # equal weights at other addresses round to 1e-6
        return found

    plain = fused(dogs[0])
    mixed = fused(dogs[0], strength=0.2, source_domain="cat")
    assert levels(plain, fused(dogs[1])) > 3 and levels(plain, mixed) > 3
    if skips == "none":
        with pytest.raises(UserError, match="skips"):
            fused(dogs[0], content_strength=0.0)
    else:
        assert levels(plain, fused(dogs[0], content_strength=0.0)) > 3


def levels(a: Image.Image, b: Image.Image) -> int:
    """The largest difference of two pictures of one size, in 255ths."""
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())
