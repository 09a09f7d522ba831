"""A model's networks as plain functions of tensors, the shape in which exports hold them.

Shapes: B samples, K domains, S style size, Z latent size, L levels, R regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from facemeld.config import LEVELS, NetworkConfig
from facemeld.fusion.exported import content_names
from facemeld.networks.bundle import Networks
from facemeld.networks.generator import Content, Generator
from facemeld.networks.landmarks import SIDE
from facemeld.networks.styles import StyleField

BATCH, REGIONS = "batch", "regions"
"""Names of dimensions that are free."""


@dataclass(frozen=True)
class Graph:
    """One function, with what is needed to trace it."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    """Examples of two samples."""
    outputs: tuple[str, ...]

    def free_dimensions(self) -> dict[str, dict[int, str]]:
        """Of inputs and outputs: the dimensions that may have any size, with their names."""
        free = {name: {0: BATCH} for name, value in self.inputs.items() if value.dim()}
        if "masks" in free:
            free["masks"][1] = free["styles"][2] = REGIONS
        return free | {name: {0: BATCH} for name in self.outputs}


class Encoder(nn.Module):
    """B 3 H W -> the parts of the picture's ``Content``."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        content = self.generator.encode(pictures)
        return (content.bottleneck, *content.skips)


class _Decoder(nn.Module):
    """Takes its inputs in the order of ``_decoder_inputs``."""

    def __init__(self, networks: Networks, *, regions: bool) -> None:
        super().__init__()
        self.generator = networks.generator
        self.regions = regions

    def forward(self, styles: Tensor, *rest: Tensor) -> Tensor:
        left = list(rest)
        masks = left.pop(0) if self.regions else None
        generator = self.generator
        strength = 1.0 if generator.skips == "none" else left.pop(0)
        skip_masks = left.pop(0) if generator.skips == "masked" else None
        content = Content(left[0], tuple(left[1:]))
        codes = styles if self.regions else styles[:, :, None]
        return generator.decode(content, StyleField(codes, masks), skip_masks, strength)


class _StyleEncoder(nn.Module):
    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.style_encoder = networks.style_encoder

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        return tuple(part for part in self.style_encoder.describe(pictures) if part is not None)


class _MappingNetwork(nn.Module):
    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.mapping_network = networks.mapping_network

    def forward(self, latents: Tensor) -> Tensor:
        return self.mapping_network.all_domains(latents)


def graphs_of(networks: Networks) -> list[Graph]:
    """Encoder, decoders (one style a level; and one a level and region), style encoder and mapping
    network. The names of their parameters are those of the model's weights."""
    config = networks.config
    random = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    pictures = drawn(2, 3, config.image_size, config.image_size).clamp(-1, 1)
    latents = drawn(2, config.latent_size)
    encoder = Encoder(networks.generator)
    with torch.inference_mode(False), torch.no_grad():
        maps = dict(zip(content_names(config.skip_sides()), encoder(pictures)))
        domain_styles = networks.mapping_network.all_domains(latents)
    styles = domain_styles[:, torch.arange(len(LEVELS)) % domain_styles.shape[1]]  # B L S
    scores = ("domain_scores",) if config.style_encoder == "projected" else ()
    return [
        Graph("encoder", encoder, {"pictures": pictures}, tuple(maps)),
        Graph(
            "decoder",
            _Decoder(networks, regions=False),
            {"styles": styles} | _decoder_inputs(config, maps),
            ("pictures",),
        ),
        Graph(
            "decoder_regions",
            _Decoder(networks, regions=True),
            {
                "styles": torch.stack([styles, styles.flip(1)], dim=2),
                "masks": drawn(2, 2, config.image_size, config.image_size).softmax(dim=1),
            }
            | _decoder_inputs(config, maps),
            ("pictures",),
        ),
        Graph(
            "style_encoder", _StyleEncoder(networks), {"pictures": pictures}, ("styles", *scores)
        ),
        Graph("mapping_network", _MappingNetwork(networks), {"latents": latents}, ("styles",)),
    ]


def _decoder_inputs(config: NetworkConfig, maps: dict[str, Tensor]) -> dict[str, Tensor]:
    inputs = {}
    if config.skips != "none":
        inputs["content_strength"] = torch.tensor(1.0)
    if config.skips == "masked":
        inputs["skip_masks"] = torch.full((2, 2, SIDE, SIDE), 0.5)
    return inputs | maps
