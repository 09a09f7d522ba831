"""Building blocks against plain PyTorch: values, gradients, second gradients, bf16."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from facemeld.networks import kernels, layers


def gradients(function, *inputs: Tensor) -> list[Tensor]:
    inputs = tuple(x.detach().requires_grad_() for x in inputs)
    out = function(*inputs)
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape)
    return [out, *torch.autograd.grad((out * weights).sum(), inputs)]


def assert_close(found: list[Tensor], expected: list[Tensor], atol: float = 1e-5) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 16, 4, 6), (3, 1, 2, 2)])
def test_instance_norm_is_pytorchs(shape, layout):
    x = (3 * torch.randn(shape) + 5).contiguous(memory_format=layout)
    assert_close(gradients(kernels.instance_norm, x), gradients(F.instance_norm, x))


def test_instance_norm_of_a_blank_map_is_finite():
    found = gradients(kernels.instance_norm, torch.full((1, 2, 4, 4), 0.7))
    assert all(part.isfinite().all() for part in found)
    assert found[0].abs().max() < 1e-3


def test_instance_norm_keeps_its_statistics_in_fp32():
    x = (100 + torch.randn(1, 4, 64, 64)).bfloat16()
    expected = F.instance_norm(x.float())
    found = kernels.instance_norm(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.01)


def test_adain_is_the_papers_equation():
    block = layers.AdaIN(style_size=5, channels=3)
    with torch.no_grad():
        block.linear.bias.normal_()
    x, style = torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    gamma, beta = (style @ block.linear.weight.T + block.linear.bias)[:, :, None, None].chunk(2, 1)
    torch.testing.assert_close(block(x, style), (1 + gamma) * F.instance_norm(x) + beta)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("slope", [1.0, 0.2])
@pytest.mark.parametrize("per_sample", [True, False])
def test_norm_affine_map_and_activation_in_one(layout, slope, per_sample):
    x = (3 * torch.randn(2, 5, 6, 8) + 20).contiguous(memory_format=layout)
    scale, shift = torch.randn(2, *((2, 5) if per_sample else (5,)))

    def plain(x, scale, shift):
        maps = (v.expand(2, 5)[:, :, None, None] for v in (scale, shift))
        return F.leaky_relu(F.instance_norm(x) * next(maps) + next(maps), slope)

    def fused(x, scale, shift):
        return kernels.normalise(x, scale, shift, slope)

    assert_close(gradients(fused, x, scale, shift), gradients(plain, x, scale, shift), atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pointwise_convolution_is_convolution(layout):
    layer = layers.conv(6, 5, 1).to(memory_format=layout)
    x = torch.randn(2, 6, 4, 7).contiguous(memory_format=layout)
    found = gradients(lambda x: kernels.pointwise_conv(x, layer), x)
    assert_close(found, gradients(layer, x))
    assert found[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(16, 20), (8, 8)])
def test_doubling_convolution_is_upsampling_then_convolution(layout, height, width):
    layer = layers.conv(6, 5).to(memory_format=layout)
    with torch.no_grad():
        layer.bias.normal_()
    x = torch.randn(2, 6, height, width).contiguous(memory_format=layout)

    def plain(x, weight, bias):
        return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1)

    def folded(x, *parameters):
        named = dict(zip(("weight", "bias"), parameters))
        with torch.nn.utils.stateless._reparametrize_module(layer, named):
            return kernels.doubling_conv(x, layer)

    parts = (x, layer.weight, layer.bias)
    assert_close(gradients(folded, *parts), gradients(plain, *parts), atol=1e-3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_halving_convolution_is_convolution_then_pooling(layout):
    layer = layers.conv(6, 9).to(memory_format=layout)
    with torch.no_grad():
        layer.bias.normal_()
    x = torch.randn(2, 6, 8, 12)
    folded = gradients(lambda x: kernels.halving_conv(x, layer), x)
    assert_close(folded, gradients(lambda x: F.avg_pool2d(layer(x), 2), x))


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("downsample", [False, True])
@pytest.mark.parametrize("outputs", [4, 6])
def test_residual_block_is_the_papers(normalise, downsample, outputs):
    block = layers.ResidualBlock(
        inputs=4, outputs=outputs, normalise=normalise, downsample=downsample
    )
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))

    def norm(x: Tensor, layer) -> Tensor:
        return F.instance_norm(x, weight=layer.weight, bias=layer.bias) if normalise else x

    def paper(x: Tensor) -> Tensor:
        pool = (lambda maps: F.avg_pool2d(maps, 2)) if downsample else (lambda maps: maps)
        residual = pool(block.conv1(F.leaky_relu(norm(x, block.norm1), 0.2)))
        residual = block.conv2(F.leaky_relu(norm(residual, block.norm2), 0.2))
        return (pool(block.shortcut(x)) + residual) / 2**0.5

    x = torch.randn(2, 4, 8, 8)
    assert_close(gradients(block, x), gradients(paper, x))


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("shortcut", [False, True])
def test_styled_block_is_the_papers(upsample, shortcut):
    block = layers.StyledResidualBlock(
        inputs=6, outputs=4, style_size=5, upsample=upsample, shortcut=shortcut
    )
    factor = 2 if upsample else 1

    def grow(x: Tensor) -> Tensor:
        return x.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)

    def paper(x: Tensor, style: Tensor) -> Tensor:
        residual = block.conv1(grow(F.leaky_relu(block.norm1(x, style), 0.2)))
        residual = block.conv2(F.leaky_relu(block.norm2(residual, style), 0.2))
        return (block.shortcut(grow(x)) + residual) / 2**0.5 if shortcut else residual

    x, style = torch.randn(2, 6, 4, 4), torch.randn(2, 5)
    assert_close(gradients(block, x, style), gradients(paper, x, style))


def test_high_pass_is_eight_times_less_the_neighbours():
    x = torch.randn(1, 2, 5, 6)
    padded = F.pad(x, (1, 1, 1, 1))
    neighbourhood = sum(padded[:, :, i : i + 5, j : j + 6] for i in range(3) for j in range(3))
    torch.testing.assert_close(layers.high_pass(x), 9 * x - neighbourhood)


def test_unit_rms():
    styles = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    scaled = layers.unit_rms(styles)
    torch.testing.assert_close(scaled[0], styles[0] / (12.5**0.5))
    assert torch.equal(scaled[1], styles[1])


def test_he_initialisation():
    layer = layers.conv(64, 256)
    assert layer.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert torch.equal(layer.bias, torch.zeros(256))


@pytest.mark.parametrize("step", ["forward", "halving", "doubling"])
def test_a_separable_convolution_is_a_full_one_whose_kernel_factorises(step: str) -> None:
    separable = layers.SeparableConv3x3(5, 7, doubles=step == "doubling")
    full = layers.Conv3x3(5, 7)
    with torch.no_grad():
        kernels_of_maps = separable.depthwise.weight[:, 0]  # of inputs, or of outputs
        between = separable.pointwise.weight[:, :, 0, 0]  # outputs, inputs
        along = "ohw" if step == "doubling" else "ihw"
        full.weight.copy_(torch.einsum(f"oi,{along}->oihw", between, kernels_of_maps))
    x = torch.randn(2, 5, 32, 16)
    assert_close([getattr(separable, step)(x)], [getattr(full, step)(x)], atol=1e-4)
    weights = [sum(p.numel() for p in m.parameters()) for m in (separable, full)]
    assert weights[0] < weights[1] / 3
