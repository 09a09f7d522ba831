"""Winograd's convolution: the function of the plain one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facemeld.networks import winograd
from facemeld.networks.winograd import WinogradConv, with_winograd


@pytest.mark.parametrize("side", [4, 5, 6, 7, 16])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_plain_convolution(side: int, bias: bool) -> None:
    torch.manual_seed(side)
    layer = nn.Conv2d(24, 20, 3, padding=1, bias=bias)
    pictures = torch.randn(3, 24, side, side)
    with torch.no_grad():
        wanted, found = layer(pictures), WinogradConv(layer, side)(pictures)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 3e-5 * wanted.abs().max()


def test_only_wide_plain_convolutions_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "_FEWEST_CHANNELS", 8)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),  # too narrow
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.Conv2d(8, 8, 3, padding=1),  # of too small maps
    )
    pictures = torch.randn(2, 3, 16, 16)
    fast = with_winograd(network, pictures)
    replaced = [index for index, layer in enumerate(fast) if isinstance(layer, WinogradConv)]
    assert replaced == [1] and isinstance(network[1], nn.Conv2d)
    with torch.no_grad():
        torch.testing.assert_close(fast(pictures), network(pictures), rtol=0, atol=1e-5)
    assert with_winograd(network, pictures[..., :8, :8]) is network
