"""Tiny networks without training, of which every input moves the output."""

from __future__ import annotations

import torch
from torch import nn

from facemeld.config import NetworkConfig
from facemeld.networks.bundle import Networks


def untrained(style_encoder: str, domains: tuple[str, ...] = ("cat", "dog")) -> Networks:
    """Networks of 16 px: the compact ones with a projected style encoder, or the paper's."""
    projected = style_encoder == "projected"
    config = NetworkConfig(
        image_size=16,
        domains=domains,
        style_encoder=style_encoder,
        skips="additive" if projected else "none",
        skip_resolutions=(16,),
        widths=(8, 16),
        encoder_blocks=1,
        decoder_blocks=1,
        styled_output=projected,
        unit_styles=projected,
        style_size=8,
        latent_size=4,
        style_encoder_widths=(8, 8, 8),
        mapping_width=16,
        mapping_shared_layers=1,
        mapping_domain_layers=1,
        feature_size=32,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = Networks(config).eval()
        if projected:
            enliven(networks.style_encoder.features)
    return networks


def enliven(features: nn.Module) -> None:
    """He initialisation of a frozen feature network, which is made to be loaded: by default its
    maps fade away."""
    for layer in features.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
