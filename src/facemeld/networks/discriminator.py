"""Multi-domain discriminators: a picture and a domain to a logit (or a few of them).

``ResNetDiscriminator`` is the paper's (Choi et al. 2020, table 7). ``ProjectedDiscriminator`` puts
small heads on frozen ImageNet features (Sauer et al. 2021, "Projected GANs converge faster").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from facemeld.networks.features import EfficientNetLite0
from facemeld.networks.layers import conv, of_domain
from facemeld.networks.style_encoder import residual_trunk


class ResNetDiscriminator(nn.Module):
    """The paper's discriminator: one logit a domain, of which the sample's own counts.

    Args:
        widths: channels of each resolution, finest first, ending at 4 x 4.
        domains: K.
    """

    per_domain = ("heads.",)  # see networks/transfer.py

    def __init__(self, *, widths: tuple[int, ...], domains: int) -> None:
        super().__init__()
        self.trunk = residual_trunk(widths)
        self.heads = conv(widths[-1], domains, 1)

    def forward(self, pictures: Tensor, domains: Tensor) -> Tensor:
        """B 3 H W and B int64 -> B logits."""
        return of_domain(self.heads(self.trunk(pictures)).flatten(1), domains)


class ProjectedDiscriminator(nn.Module):
    """Heads with a logit a domain on four frozen feature maps, each projected to equal width.

    The feature network is not part of this module: training shares one between this and the
    projected style encoder.

    Args:
        domains: K.
        feature_size: side of the pictures that the feature network sees.
        width: channels of the fixed random projections.
    """

    def __init__(self, *, domains: int, feature_size: int = 128, width: int = 64) -> None:
        super().__init__()
        fixed = torch.Generator().manual_seed(0)
        self.projections = nn.ModuleList()
        self.heads = nn.ModuleList()
        for stride, channels in zip((4, 8, 16, 32), EfficientNetLite0.channels):
            projection = nn.Conv2d(channels, width, 1, bias=False).requires_grad_(False)
            nn.init.kaiming_normal_(projection.weight, generator=fixed)
            self.projections.append(projection)
            self.heads.append(_projected_head(feature_size // stride, width, domains))
        self.register_buffer("scales", torch.ones(4))
        # bias, weight and the left singular vector of each head's last layer; see transfer.py
        last = [f"heads.{i}.{len(head) - 1}." for i, head in enumerate(self.heads)]
        spectral = ("bias", "parametrizations.weight.original", "parametrizations.weight.0._u")
        self.per_domain = tuple(layer + name for layer in last for name in spectral)

    def set_scale(self, features: list[Tensor]) -> None:
        """Scales each projected map of these features to unit deviation."""
        with torch.no_grad():
            maps = [p(f) for p, f in zip(self.projections, features)]
            self.scales.copy_(torch.stack([1 / m.float().std() for m in maps]))

    def forward(self, features: list[Tensor], domains: Tensor) -> Tensor:
        """Feature maps and B int64 -> B N logits, N patches of all four maps."""
        logits = []
        for maps, projection, head, scale in zip(
            features, self.projections, self.heads, self.scales
        ):
            patches = head(projection(maps) * scale.to(maps.dtype))  # B K h w
            logits.append(of_domain(patches, domains).flatten(1).float())
        return torch.cat(logits, dim=1)


def _projected_head(side: int, width: int, domains: int) -> nn.Sequential:
    """Convolutions of stride 2 down to 4 x 4 patches, then a logit a domain; spectral norm."""
    layers: list[nn.Module] = []
    if side <= 4:
        layers += [spectral_norm(nn.Conv2d(width, width, 3, 1, 1)), nn.LeakyReLU(0.2)]
    while side > 4:
        layers += [spectral_norm(nn.Conv2d(width, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
        side //= 2
    return nn.Sequential(
        *layers,
        spectral_norm(nn.Conv2d(width, 2 * width, 3, 1, 1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(2 * width, domains, 1)),
    )
