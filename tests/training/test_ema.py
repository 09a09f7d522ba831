"""The moving average: its formula, its ramp-up, and what is copied instead."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from facemeld.training.ema import MovingAverage, per_iteration, per_picture


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trained = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.frozen = nn.Parameter(torch.tensor([5.0]), requires_grad=False)
        self.register_buffer("statistics", torch.tensor([0.0]))


def test_trained_parameters_are_averaged_and_buffers_copied() -> None:
    networks = Tiny()
    ema = MovingAverage(networks, decay=per_iteration(0.9))
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
    ema = MovingAverage(networks, decay=per_iteration(0.9))
    assert not ema.average.training and networks.training
    assert not any(p.requires_grad for p in ema.average.parameters())
    assert networks.trained.requires_grad
    networks.trained.data.zero_()
    assert ema.average.trained.tolist() == [1, 2]


def test_rampup_forgets_the_start() -> None:
    networks = Tiny()
    networks.trained.data.zero_()
    ema = MovingAverage(networks, decay=per_iteration(0.5, rampup=True))
    networks.trained.data.fill_(1.0)
    expected = 0.0
    for iteration in range(12):
        ema.update(iteration)
        stays = min(0.5, (1 + iteration) / (10 + iteration))
        expected = stays * expected + (1 - stays)
        torch.testing.assert_close(ema.average.trained.data, torch.full((2,), expected))


def test_a_half_life_is_in_pictures_whatever_the_batch() -> None:
    small, large = per_picture(1000, 10), per_picture(1000, 50)
    assert math.prod(small(i) for i in range(100)) == pytest.approx(0.5)
    assert math.prod(large(i) for i in range(20)) == pytest.approx(0.5)


def test_the_half_life_ramps_up_with_the_pictures_seen() -> None:
    share = per_picture(1000, 10, rampup=True)
    assert share(0) == pytest.approx(0.5 ** (10 / 0.5))
    assert share(999) == pytest.approx(0.5 ** (10 / 500))
    assert share(10**6) == per_picture(1000, 10)(0)
