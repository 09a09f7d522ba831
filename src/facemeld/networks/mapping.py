"""The mapping network of StarGAN v2 (Choi et al. 2020, table 6): latent code to style code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemeld.networks.layers import linear, of_domain, unit_rms


class DomainLinear(nn.Module):
    """One linear layer a domain, computed for all domains at once. B K I -> B K O."""

    def __init__(self, *, domains: int, inputs: int, outputs: int) -> None:
        super().__init__()
        # K O I, each domain's matrix as nn.Linear keeps it
        self.weight = nn.Parameter(torch.empty(domains, outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(domains, outputs))
        for weight in self.weight:
            nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bki,koi->bko", x, self.weight) + self.bias


class MappingNetwork(nn.Module):
    """Latent code and domain to style code.

    Args:
        latent_size: Z.
        style_size: S.
        domains: K.
        width: units of each hidden layer.
        shared_layers: layers common to all domains.
        domain_layers: layers of each domain's head, the last one included.
        unit_styles: scale the styles to unit mean square.
    """

    per_domain = ("heads.",)  # see networks/transfer.py

    def __init__(
        self,
        *,
        latent_size: int,
        style_size: int,
        domains: int,
        width: int = 512,
        shared_layers: int = 4,
        domain_layers: int = 4,
        unit_styles: bool = False,
    ) -> None:
        super().__init__()
        self.unit_styles = unit_styles
        sizes = [latent_size] + [width] * shared_layers
        self.shared = nn.ModuleList(linear(i, o) for i, o in zip(sizes, sizes[1:]))
        first = width if shared_layers else latent_size
        sizes = [first] + [width] * (domain_layers - 1) + [style_size]
        self.heads = nn.ModuleList(
            DomainLinear(domains=domains, inputs=i, outputs=o) for i, o in zip(sizes, sizes[1:])
        )

    def forward(self, latents: Tensor, domains: Tensor) -> Tensor:
        """B Z and B int64 -> B S."""
        return of_domain(self.all_domains(latents), domains)

    def all_domains(self, latents: Tensor) -> Tensor:
        """B Z -> the style in every domain, B K S."""
        styles = self.unscaled(latents)
        return unit_rms(styles) if self.unit_styles else styles

    def unscaled(self, latents: Tensor) -> Tensor:
        """B Z -> styles before they are brought to unit mean square, if they are. B K S"""
        x = latents
        for layer in self.shared:
            x = F.relu(layer(x))
        x = x[:, None].expand(-1, self.heads[0].weight.shape[0], -1)  # B K width
        for layer in self.heads[:-1]:
            x = F.relu(layer(x))
        return self.heads[-1](x)
