"""Both discriminators in several sizes: shapes, gradients, R1, single = batch, a head a domain."""

from __future__ import annotations

import pytest
import torch

from facemeld.networks.discriminator import ProjectedDiscriminator, ResNetDiscriminator
from facemeld.networks.features import EfficientNetLite0

WIDTHS = pytest.mark.parametrize("widths", [(4, 8), (8, 8, 12), (4, 8, 8, 8, 16)])
FEATURE_SIZES = pytest.mark.parametrize("feature_size", [32, 64, 128])


@pytest.fixture(autouse=True)
def same_dice():
    torch.manual_seed(0)


def pictures_for(widths: tuple[int, ...], batch: int = 3) -> torch.Tensor:
    side = 4 << (len(widths) - 1)
    return torch.rand(batch, 3, side, side) * 2 - 1


def features_for(feature_size: int, batch: int = 3) -> list[torch.Tensor]:
    sides = [feature_size // stride for stride in (4, 8, 16, 32)]
    return [
        torch.randn(batch, channels, side, side)
        for channels, side in zip(EfficientNetLite0.channels, sides)
    ]


@WIDTHS
def test_resnet_shape_and_gradients(widths):
    discriminator = ResNetDiscriminator(widths=widths, domains=3)
    pictures = pictures_for(widths).requires_grad_()
    logits = discriminator(pictures, torch.tensor([0, 1, 2]))
    assert logits.shape == (3,) and logits.isfinite().all()
    logits.square().sum().backward()
    for name, tensor in [("pictures", pictures), *discriminator.named_parameters()]:
        assert tensor.grad.isfinite().all() and tensor.grad.abs().max() > 0, name


@WIDTHS
def test_r1_reaches_every_weight(widths):
    discriminator = ResNetDiscriminator(widths=widths, domains=2)
    pictures = pictures_for(widths).requires_grad_()
    logits = discriminator(pictures, torch.tensor([0, 1, 0]))
    (gradient,) = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
    (0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()).backward()
    for name, parameter in discriminator.named_parameters():
        if name.endswith("weight"):
            assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name


@WIDTHS
def test_resnet_single_is_batch_and_domains_are_apart(widths):
    discriminator = ResNetDiscriminator(widths=widths, domains=4).eval()
    pictures = pictures_for(widths)
    with torch.inference_mode():
        together = discriminator(pictures, torch.tensor([3, 0, 2]))
        for i, domain in enumerate((3, 0, 2)):
            alone = discriminator(pictures[i : i + 1], torch.tensor([domain]))
            torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-5)
    discriminator(pictures, torch.tensor([1, 1, 1])).sum().backward()
    assert discriminator.heads.bias.grad.tolist() == [0, 3, 0, 0]


@FEATURE_SIZES
def test_projected_shape_and_gradients(feature_size):
    discriminator = ProjectedDiscriminator(domains=3, feature_size=feature_size, width=8)
    features = [maps.requires_grad_() for maps in features_for(feature_size)]
    logits = discriminator(features, torch.tensor([0, 1, 2]))
    patches = sum(min(feature_size // stride, 4) ** 2 for stride in (4, 8, 16, 32))
    assert logits.shape == (3, patches) and logits.isfinite().all()
    (logits * torch.randn_like(logits)).sum().backward()
    for maps in features:
        assert maps.grad.isfinite().all() and maps.grad.abs().max() > 0
    for name, parameter in discriminator.named_parameters():
        if name.startswith("projections."):
            assert not parameter.requires_grad and parameter.grad is None, name
        else:
            assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name


@FEATURE_SIZES
def test_projected_single_is_batch(feature_size):
    discriminator = ProjectedDiscriminator(domains=2, feature_size=feature_size, width=8).eval()
    features = features_for(feature_size)
    with torch.inference_mode():
        together = discriminator(features, torch.tensor([1, 0, 1]))
        for i, domain in enumerate((1, 0, 1)):
            alone = discriminator([maps[i : i + 1] for maps in features], torch.tensor([domain]))
            torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-5)


def test_projections_are_the_same_in_every_run():
    first = ProjectedDiscriminator(domains=2)
    torch.manual_seed(99)
    second = ProjectedDiscriminator(domains=2)
    for a, b in zip(first.projections, second.projections):
        assert torch.equal(a.weight, b.weight)
    assert not torch.equal(first.heads[0][-1].weight, second.heads[0][-1].weight)


def test_scales_give_each_projected_map_unit_deviation():
    discriminator = ProjectedDiscriminator(domains=2, feature_size=64, width=8)
    features = [20 * maps for maps in features_for(64, batch=8)]
    discriminator.set_scale(features)
    for maps, projection, scale in zip(features, discriminator.projections, discriminator.scales):
        assert (projection(maps) * scale).std().item() == pytest.approx(1, rel=1e-4)
