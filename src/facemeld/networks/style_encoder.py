"""Style encoders: a reference picture and its domain to a style code.

``ResNetStyleEncoder`` is the paper's (Choi et al. 2020, table 7). ``ProjectedStyleEncoder`` reads
the mean and deviation of frozen ImageNet features, in the spirit of Huang & Belongie (2017), where
such statistics are the style; it needs little training.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemeld.config import SwinConfig
from facemeld.networks.features import FeatureStatistics
from facemeld.networks.layers import ResidualBlock, conv, initialise, linear, of_domain, unit_rms
from facemeld.networks.swin import SwinStage

USUAL = 1.15
"""How far from its domain's mean a picture is at most taken as it is; four of five are nearer."""
PRIOR = 16
"""Pictures that a domain's deviations are held to 1 with."""


def residual_trunk(widths: tuple[int, ...]) -> nn.Sequential:
    """conv, residual blocks without norm down to 4x4, conv4x4: B 3 H W -> B C 1 1.

    The paper's style encoder and discriminator share this shape.
    """
    blocks = [
        ResidualBlock(inputs=i, outputs=o, downsample=True) for i, o in zip(widths, widths[1:])
    ]
    last = widths[-1]
    return nn.Sequential(
        conv(3, widths[0]),
        *blocks,
        nn.LeakyReLU(0.2),
        initialise(nn.Conv2d(last, last, 4)),
        nn.LeakyReLU(0.2),
    )


class ResNetStyleEncoder(nn.Module):
    """The paper's style encoder.

    Args:
        widths: channels of each resolution, finest first, ending at 4 x 4.
        style_size: S.
        domains: K.
        unit_styles: scale the styles to unit mean square.
    """

    per_domain = ("heads.",)  # see networks/transfer.py

    def __init__(
        self, *, widths: tuple[int, ...], style_size: int, domains: int, unit_styles: bool = False
    ) -> None:
        super().__init__()
        self.domains = domains
        self.unit_styles = unit_styles
        self.trunk = residual_trunk(widths)
        self.heads = linear(widths[-1], domains * style_size)

    def forward(self, pictures: Tensor, domains: Tensor) -> Tensor:
        """B 3 H W and B int64 -> B S."""
        return of_domain(self.describe(pictures)[0], domains)

    def describe(self, pictures: Tensor) -> tuple[Tensor, None]:
        """B 3 H W -> the style in every domain, B K S; it cannot tell the domain."""
        x = self.trunk(pictures.contiguous()).flatten(1)  # the weights alone decide the layout
        styles = self.heads(x).unflatten(1, (self.domains, -1))
        return unit_rms(styles) if self.unit_styles else styles, None


class SwinStyleEncoder(nn.Module):
    """Convolutional levels, Swin stages with layer norm, and the mean over all positions.

    The mean, unlike a flattened map, makes the style independent of where a feature is.

    Args:
        widths: channels of each resolution, finest first; the last stage does not halve.
        style_size: S.
        domains: K.
        unit_styles: scale the styles to unit mean square.
        swin: shape of the Swin blocks.
    """

    per_domain = ("heads.",)

    def __init__(
        self,
        *,
        widths: tuple[int, ...],
        style_size: int,
        domains: int,
        unit_styles: bool = False,
        swin: SwinConfig = SwinConfig(),
    ) -> None:
        super().__init__()
        self.domains = domains
        self.unit_styles = unit_styles
        self.from_rgb = conv(3, widths[0])
        self.stages = nn.ModuleList()
        for level, width in enumerate(widths):
            last = level == len(widths) - 1
            sizes = {
                "inputs": width,
                "outputs": width if last else widths[level + 1],
                "downsample": not last,
            }
            if level < swin.first_level(len(widths)):
                self.stages.append(ResidualBlock(**sizes))
            else:
                self.stages.append(SwinStage(sizes=swin, norm="layer", **sizes))
        self.norm = nn.LayerNorm(widths[-1])
        self.heads = linear(widths[-1], domains * style_size)

    def forward(self, pictures: Tensor, domains: Tensor) -> Tensor:
        """B 3 H W and B int64 -> B S."""
        return of_domain(self.describe(pictures)[0], domains)

    def describe(self, pictures: Tensor) -> tuple[Tensor, None]:
        """B 3 H W -> the style in every domain, B K S; it cannot tell the domain."""
        x = self.from_rgb(pictures.contiguous())  # the weights alone decide the layout
        for stage in self.stages:
            x = stage(x)
        x = F.leaky_relu(self.norm(x.mean(dim=(2, 3))), 0.2)
        styles = self.heads(x).unflatten(1, (self.domains, -1))
        return unit_rms(styles) if self.unit_styles else styles, None


class ProjectedStyleEncoder(FeatureStatistics):
    """Style from the statistics of frozen EfficientNet-lite0 features and of the colours.

    ``statistics`` and ``from_statistics`` are the two halves of what training needs: it computes
    the features once for this network and the discriminator, and the statistics of each real
    picture once for the whole run. ``forward`` and ``describe``, which see what people bring, draw
    unusual statistics towards the usual ones of the domain in between (``drawn_in``): a style far
    off all that training showed is painted as gaudy skin and stripes.

    Args:
        style_size: S.
        domains: K.
        feature_size: the pictures are resized to this side before the features are taken.
        width: units of the hidden layers.
    """

    per_domain = ("heads.", "domain_")
    later = ("domain_centre", "domain_precision")  # zeros in files from before there were any

    def __init__(
        self, *, style_size: int, domains: int, feature_size: int = 128, width: int = 256
    ) -> None:
        super().__init__(feature_size=feature_size)
        self.domains = domains
        size = len(self.mean)
        self.register_buffer("domain_weight", torch.zeros(domains, size))
        self.register_buffer("domain_bias", torch.zeros(domains))
        self.register_buffer("domain_centre", torch.zeros(domains, size))
        self.register_buffer("domain_precision", torch.zeros(domains, size))
        self.register_load_state_dict_pre_hook(_without_usual)
        self.hidden = nn.ModuleList([linear(size, width), linear(width, width)])
        self.heads = linear(width, domains * style_size)

    def fit(self, statistics: Tensor, domains: Tensor, *, keep_scale: bool = False) -> None:
        """Fits what follows from the training pictures in closed form.

        These are the scale of the statistics, what is usual in each domain, and a classifier of
        domains (ridge regression, every domain weighted equally) for pictures whose domain nobody
        named.

        Args:
            statistics: N F.
            domains: N int64.
            keep_scale: keep the scale that trained layers rely on, and fit the rest.
        """
        if not keep_scale:
            self.fit_scale(statistics)
        rows = self.standardise(statistics.to(self.mean)).double()
        targets = F.one_hot(domains, self.domains).to(rows)
        share = (targets / targets.sum(dim=0).clamp(min=1)).sum(dim=1, keepdim=True)
        centre = (share * rows).sum(dim=0) / share.sum()
        rows = rows - centre
        ridge = 1e-2 * self.domains * torch.eye(rows.shape[1]).to(rows)
        weight = torch.linalg.solve(rows.T @ (share * rows) + ridge, rows.T @ (share * targets))
        self.domain_weight.copy_(weight.T)
        self.domain_bias.copy_(-centre @ weight)
        self.fit_usual(statistics, domains)

    def fit_usual(self, statistics: Tensor, domains: Tensor) -> None:
        """Takes each domain's mean and precision of statistics from its pictures, N F and N.

        The variance is that of the pictures and of ``PRIOR`` more of unit variance, so that it says
        something of a domain of few pictures, too. A domain without pictures stays as it is.
        """
        rows = self.standardise(statistics.to(self.mean)).double()
        for domain in domains.unique().tolist():
            mine = rows[domains == domain]
            spread = (mine - mine.mean(dim=0)).square().sum(dim=0)
            self.domain_centre[domain] = mine.mean(dim=0)
            self.domain_precision[domain] = ((len(mine) + PRIOR) / (spread + PRIOR)).sqrt()

    def unusualness(self, x: Tensor) -> Tensor:
        """Mean square of standardised statistics' deviations from the mean of each domain, each by
        the domain's own deviation: about 1 for its pictures. B F -> B K
        """
        away = x[:, None] - self.domain_centre
        return (away * self.domain_precision).square().mean(dim=2)

    def drawn_in(self, x: Tensor) -> Tensor:
        """Standardised statistics, unusual ones drawn towards the mean of each domain.

        A distance r, the root of ``unusualness``, beyond ``USUAL`` becomes USUAL² / r: the stranger
        a picture, the less its statistics say, and the more typical is its style. In the spirit of
        the truncation trick (Brock et al. 2019), for references. B F -> B K F
        """
        away = x[:, None] - self.domain_centre
        squared = self.unusualness(x)[..., None]
        return self.domain_centre + away * (USUAL**2 / squared.clamp(min=USUAL**2))

    def guess_domains(self, pictures: Tensor) -> Tensor:
        """The most likely domain of each picture. B 3 H W -> B int64"""
        return self.describe(pictures)[1].argmax(dim=1)

    def from_statistics(self, statistics: Tensor, domains: Tensor) -> Tensor:
        """B F and B int64 -> B S of unit mean square."""
        return of_domain(unit_rms(self.unscaled(self.standardise(statistics))), domains)

    def describe(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """B 3 H W -> the style in every domain, B K S, and how likely each domain is, B K."""
        x = self.standardise(self.statistics(self.features(pictures), pictures))
        styles = self.unscaled(self.drawn_in(x)).diagonal(dim1=1, dim2=2).transpose(1, 2)
        return unit_rms(styles), F.linear(x, self.domain_weight, self.domain_bias)

    def unscaled(self, x: Tensor) -> Tensor:
        """Standardised statistics, … F -> styles not yet of unit mean square, … K S."""
        for layer in self.hidden:
            x = F.leaky_relu(layer(x), 0.2)
        return self.heads(x).unflatten(-1, (self.domains, -1))

    def forward(self, pictures: Tensor, domains: Tensor) -> Tensor:
        """B 3 H W and B int64 -> B S."""
        return of_domain(self.describe(pictures)[0], domains)


def _without_usual(module: ProjectedStyleEncoder, weights: dict, prefix: str, *_: object) -> None:
    """Weights from before it was known what is usual: nothing is drawn in."""
    for name in module.later:
        weights.setdefault(prefix + name, torch.zeros_like(getattr(module, name), device="cpu"))
