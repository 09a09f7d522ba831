"""All style encoders in several sizes: shapes, gradients, single = batch, a head a domain."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facemeld.config import SwinConfig
from facemeld.networks.style_encoder import (
    PRIOR,
    USUAL,
    ProjectedStyleEncoder,
    ResNetStyleEncoder,
    SwinStyleEncoder,
)

VARIANTS = {
    "resnet 16 px": lambda: ResNetStyleEncoder(widths=(8, 8, 12), style_size=5, domains=3),
    "resnet 64 px": lambda: ResNetStyleEncoder(widths=(4, 8, 8, 8, 16), style_size=64, domains=2),
    "resnet unit": lambda: ResNetStyleEncoder(
        widths=(8, 8, 8), style_size=5, domains=4, unit_styles=True
    ),
    "swin": lambda: SwinStyleEncoder(
        widths=(4, 8, 8), style_size=5, domains=3, swin=SwinConfig(window_size=4, head_width=4)
    ),
    "swin unit": lambda: SwinStyleEncoder(
        widths=(4, 8, 16),
        style_size=64,
        domains=2,
        unit_styles=True,
        swin=SwinConfig(window_size=4, head_width=4, convolutional_levels=1),
    ),
    "projected": lambda: ProjectedStyleEncoder(style_size=6, domains=3, feature_size=32),
    "projected narrow": lambda: ProjectedStyleEncoder(
        style_size=64, domains=1, feature_size=64, width=16
    ),
}
ALL = pytest.mark.parametrize("build", VARIANTS.values(), ids=VARIANTS)


@pytest.fixture(autouse=True)
def same_dice():
    torch.manual_seed(0)


def side(encoder: nn.Module) -> int:
    if isinstance(encoder, ProjectedStyleEncoder):
        return 24  # any size: the feature network resizes
    if isinstance(encoder, SwinStyleEncoder):
        return 20  # any size: the mean is over all positions
    return 4 << sum(getattr(block, "downsample", False) for block in encoder.trunk)


def inputs(encoder: nn.Module, batch: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    pictures = torch.rand(batch, 3, side(encoder), side(encoder)) * 2 - 1
    return pictures, torch.arange(batch) % encoder.domains


@ALL
def test_shape_and_gradients(build):
    encoder = build()
    for parameter in encoder.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))  # away from Swin's zeros
    pictures, domains = inputs(encoder)
    pictures.requires_grad_()
    styles = encoder(pictures, domains)
    assert styles.shape == (4, encoder.heads.out_features // encoder.domains)
    assert styles.isfinite().all()
    (styles * torch.randn_like(styles)).sum().backward()
    assert pictures.grad.isfinite().all() and pictures.grad.abs().max() > 0
    for name, parameter in encoder.named_parameters():
        if name.startswith("features."):
            assert not parameter.requires_grad and parameter.grad is None, name
        else:
            assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name


@ALL
def test_a_picture_alone_gives_what_it_gives_in_a_batch(build):
    encoder = build().eval()
    pictures, domains = inputs(encoder)
    with torch.inference_mode():
        together = encoder(pictures, domains)
        for i in range(len(pictures)):
            alone = encoder(pictures[i : i + 1], domains[i : i + 1])
            torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-5)


@ALL
def test_each_domain_has_its_own_head(build):
    encoder = build()
    pictures, _ = inputs(encoder)
    size = encoder.heads.out_features // encoder.domains
    for domain in range(encoder.domains):
        encoder.zero_grad()
        encoder(pictures, torch.full((4,), domain)).sum().backward()
        rows = encoder.heads.bias.grad.view(encoder.domains, size).abs().amax(dim=1)
        assert rows[domain] > 0 and rows.sum() == rows[domain]


@pytest.mark.parametrize("name", ["resnet unit", "projected", "projected narrow"])
def test_unit_styles_have_unit_mean_square(name):
    encoder = VARIANTS[name]()
    styles = encoder(*inputs(encoder))
    torch.testing.assert_close(styles.square().mean(dim=1), torch.ones(4), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith("resnet")])
def test_the_layout_of_the_pictures_changes_nothing(name):
    encoder = VARIANTS[name]().eval()
    pictures, domains = inputs(encoder)
    other = pictures.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert torch.equal(encoder(pictures, domains), encoder(other, domains))


def test_statistics_are_means_and_deviations():
    features = [torch.randn(2, 5, 4, 4), torch.randn(2, 7, 2, 2) * 3 + 1]
    pictures = torch.rand(2, 3, 8, 8)
    found = ProjectedStyleEncoder.statistics(features, pictures)
    expected = []
    for maps in (*features, pictures):
        expected += [maps.mean(dim=(2, 3)), maps.std(dim=(2, 3), correction=0)]
    torch.testing.assert_close(found, torch.cat(expected, dim=1), atol=1e-4, rtol=1e-4)


def test_fitted_scales_standardise_what_they_were_fitted_to():
    encoder = ProjectedStyleEncoder(style_size=6, domains=2, feature_size=32)
    scale, offset = torch.rand(encoder.mean.shape) + 0.5, torch.randn(encoder.mean.shape)
    domains = torch.arange(200) % 2
    statistics = offset + scale * torch.randn(200, len(scale))
    encoder.fit(statistics, domains)
    standardised = encoder.standardise(statistics)
    torch.testing.assert_close(standardised.mean(dim=0), torch.zeros(len(scale)), atol=0.05, rtol=0)
    torch.testing.assert_close(standardised.std(dim=0), torch.ones(len(scale)), atol=0.05, rtol=0)
    assert encoder.standardise(1e6 * statistics).abs().max() == 5


def _fitted(counts=(300, 40)):
    encoder = ProjectedStyleEncoder(style_size=6, domains=2, feature_size=32)
    domains = torch.arange(2).repeat_interleave(torch.tensor(counts))
    spread = torch.tensor([0.5, 0.2])[domains, None]
    rows = 2.0 * domains[:, None] - 1 + spread * torch.randn(len(domains), len(encoder.mean))
    encoder.fit_usual(rows, domains)
    return encoder, rows, domains


def test_what_is_usual_in_a_domain_is_its_mean_and_precision():
    encoder, rows, domains = _fitted()
    for domain in range(2):
        mine = rows[domains == domain]
        shares = torch.tensor([len(mine), PRIOR]) / (len(mine) + PRIOR)
        variance = shares[0] * mine.var(dim=0, correction=0) + shares[1]
        torch.testing.assert_close(encoder.domain_centre[domain], mine.mean(dim=0))
        torch.testing.assert_close(encoder.domain_precision[domain], variance.rsqrt())


def test_usual_statistics_stay_and_unusual_ones_are_drawn_to_the_middle_of_each_domain():
    encoder, _, _ = _fitted()
    centre, deviation = encoder.domain_centre[0], 1 / encoder.domain_precision[0]
    way = torch.randn(len(centre))
    way /= way.square().mean().sqrt()
    far = [0.5, USUAL - 0.01, USUAL, 1.5, 3.0]
    drawn = encoder.drawn_in(torch.stack([centre + r * deviation * way for r in far]))
    assert drawn.shape == (5, 2, len(centre))
    gone = ((drawn[:, 0] - centre) / deviation / way).T
    wanted = torch.tensor([0.5, USUAL - 0.01, USUAL, USUAL**2 / 1.5, USUAL**2 / 3])
    torch.testing.assert_close(gone, wanted.expand_as(gone), atol=1e-3, rtol=1e-3)
    other = (drawn[:, 1] - encoder.domain_centre[1]) * encoder.domain_precision[1]
    assert other.square().mean(dim=1).sqrt().max() < USUAL  # a stranger to the second domain


def test_a_domain_of_one_picture_says_little_of_what_is_usual():
    encoder, _, _ = _fitted(counts=(300, 1))
    assert encoder.domain_precision[1].max() <= (1 + PRIOR) ** 0.5 / PRIOR**0.5 + 1e-6
    kept = encoder.domain_precision.clone()
    encoder.fit_usual(torch.randn(50, len(encoder.mean)), torch.zeros(50, dtype=torch.int64))
    assert torch.equal(encoder.domain_precision[1], kept[1])  # it has no pictures now


def test_without_knowing_what_is_usual_nothing_is_drawn_in():
    encoder = ProjectedStyleEncoder(style_size=6, domains=3, feature_size=32)
    x = 5 * torch.randn(4, len(encoder.mean))
    assert torch.equal(encoder.drawn_in(x), x[:, None].expand(4, 3, -1))


def test_a_style_of_pictures_is_that_of_their_statistics_unless_they_are_unusual():
    encoder, _, _ = _fitted()
    pictures, domains = torch.rand(4, 3, 32, 32) * 2 - 1, torch.tensor([0, 1, 1, 0])
    x = encoder.statistics(encoder.features(pictures), pictures)
    unusual = encoder(pictures, domains)
    assert not torch.allclose(unusual, encoder.from_statistics(x, domains), atol=1e-2)
    encoder.fit_usual(x.repeat(2, 1), torch.tensor([0] * 4 + [1] * 4))  # now they are not
    usual = encoder(pictures, domains)
    torch.testing.assert_close(usual, encoder.from_statistics(x, domains), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(usual, encoder.describe(pictures)[0][torch.arange(4), domains])
