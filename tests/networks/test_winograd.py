"""Winograd's convolution: the function of the plain one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemeld.networks import winograd
from facemeld.networks.layers import Conv3x3
from facemeld.networks.winograd import pays, winograd_conv


def _case(height: int = 8, width: int = 12) -> tuple[Tensor, nn.Conv2d, Tensor]:
    torch.manual_seed(height)
    pictures = torch.randn(3, 24, height, width).to(memory_format=torch.channels_last)
    gradient = torch.randn(3, 20, height, width).to(memory_format=torch.channels_last)
    return pictures.requires_grad_(), nn.Conv2d(24, 20, 3, padding=1), gradient


def _near(found: Tensor, wanted: Tensor) -> bool:
    return bool((found - wanted).abs().max() < 5e-5 * wanted.abs().max())


@pytest.mark.parametrize("buffer", [1, 4_000_000])  # a sample at a time, and all at once
def test_in_training_it_is_the_plain_convolution(
    buffer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "_BUFFER", buffer)
    x, layer, gradient = _case()
    parameters = (x, layer.weight, layer.bias)
    wanted, found = layer(x), winograd_conv(x, layer.weight, layer.bias)
    assert _near(found, wanted)
    pairs = (torch.autograd.grad(out, parameters, gradient) for out in (found, wanted))
    assert all(_near(f, w) for f, w in zip(*pairs, strict=True))


def test_only_the_gradients_that_are_wanted() -> None:
    x, layer, gradient = _case()
    (of_x,) = torch.autograd.grad(winograd_conv(x, layer.weight.detach(), None), x, gradient)
    assert _near(of_x, torch.autograd.grad(layer(x), x, gradient)[0])
    out = winograd_conv(x.detach(), layer.weight, None)
    (of_weight,) = torch.autograd.grad(out, layer.weight, gradient)
    assert _near(of_weight, torch.autograd.grad(layer(x), layer.weight, gradient)[0])


def test_its_gradient_can_be_differentiated() -> None:
    """As the R1 penalty needs it."""
    x, layer, gradient = _case()
    penalties = []
    for out in (winograd_conv(x, layer.weight, layer.bias), layer(x)):
        (of_x,) = torch.autograd.grad(out.square(), x, gradient, create_graph=True)
        penalties.append(torch.autograd.grad(of_x.square().sum(), (x, layer.weight)))
    assert all(_near(f, w) for f, w in zip(*penalties, strict=True))


def test_its_gradient_is_in_single_precision_wherever_it_is_called() -> None:
    """As of the R1 penalty in a training in bf16."""
    x, layer, gradient = _case()
    out = winograd_conv(x, layer.weight, layer.bias)
    wanted = torch.autograd.grad(out, (x, layer.weight), gradient, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(out, (x, layer.weight), gradient)
    assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("how", ["forward", "halving", "doubling"])
def test_wide_layers_take_it_in_training_alone(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, x = Conv3x3(128, 128), torch.randn(4, 128, 16, 16)
    used = []
    plain = winograd_conv
    monkeypatch.setattr(
        "facemeld.networks.layers.winograd_conv", lambda *given: used.append(1) or plain(*given)
    )
    run = layer if how == "forward" else getattr(layer, how)
    trained = run(x)
    assert used
    with torch.no_grad():
        assert _near(trained, run(x))
    assert len(used) == 1


def test_where_it_does_not_pay() -> None:
    wide, maps = Conv3x3(64, 64), torch.randn(4, 64, 16, 16)
    assert pays(maps, wide)
    assert not pays(maps, wide, folded=True)
    assert not pays(maps[:3], wide)  # too few tiles
    assert not pays(maps[:, :, :14], wide)
    assert not pays(maps[:, :32], Conv3x3(32, 64))
    assert not pays(maps.double(), wide)
    assert not pays(maps.to("meta"), wide)
    with torch.autocast("cpu", torch.bfloat16):
        assert not pays(maps, wide)
    with torch.no_grad():
        assert not pays(maps, wide)
    plain = F.conv2d(maps, wide.weight, wide.bias, padding=1)
    assert _near(wide(maps), plain)
