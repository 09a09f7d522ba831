"""The moving average: its formula, its ramp-up, and what is copied instead."""

from __future__ import annotations

import torch
from torch import nn

from facemeld.training.ema import MovingAverage


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trained = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.frozen = nn.Parameter(torch.tensor([5.0]), requires_grad=False)
        self.register_buffer("statistics", torch.tensor([0.0]))


def test_trained_parameters_are_averaged_and_buffers_copied() -> None:
    networks = Tiny()
    ema = MovingAverage(networks, decay=0.9)
    expected = networks.trained.detach().clone()
    for iteration, value in enumerate((4.0, -2.0, 7.0)):
        networks.trained.data.fill_(value)
        networks.statistics.fill_(value)
        ema.update(iteration)
        expected = 0.9 * expected + 0.1 * value
        torch.testing.assert_close(ema.average.trained.data, expected)
        assert ema.average.statistics.item() == value
    assert ema.average.frozen.item() == 5


def test_the_average_is_a_copy_that_does_not_train() -> None:
    networks = Tiny().train()
    ema = MovingAverage(networks, decay=0.9)
    assert not ema.average.training and networks.training
    assert not any(p.requires_grad for p in ema.average.parameters())
    assert networks.trained.requires_grad
    networks.trained.data.zero_()
    assert ema.average.trained.tolist() == [1, 2]


def test_rampup_forgets_the_start() -> None:
    networks = Tiny()
    networks.trained.data.zero_()
    ema = MovingAverage(networks, decay=0.5, rampup=True)
    networks.trained.data.fill_(1.0)
    expected = 0.0
    for iteration in range(12):
        ema.update(iteration)
        stays = min(0.5, (1 + iteration) / (10 + iteration))
        expected = stays * expected + (1 - stays)
        torch.testing.assert_close(ema.average.trained.data, torch.full((2,), expected))
