"""Exponential moving average of networks, buffers included."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from facemeld.config import TrainingConfig

RAMPUP = 0.05  # of the pictures seen, the longest half-life at the start (Karras et al. 2020)


class MovingAverage:
    """Keeps ``average``, a copy of ``networks`` that follows them slowly.

    Trained parameters are averaged; buffers and frozen parameters are copied.

    Args:
        networks: what to follow.
        decay: share of the average that stays at each update, a function of the iteration.
    """

    def __init__(self, networks: nn.Module, *, decay: Callable[[int], float]) -> None:
        self.networks = networks
        self.average = copy.deepcopy(networks).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Moves the average one step; ``iteration`` counts from 0."""
        pairs = list(zip(self.average.parameters(), self.networks.parameters()))
        trained = [(a, p) for a, p in pairs if p.requires_grad]
        averages, values = [a for a, _ in trained], [p for _, p in trained]
        torch._foreach_lerp_(averages, values, 1 - self.decay(iteration))
        for average, value in zip(self.average.buffers(), self.networks.buffers()):
            average.copy_(value)


def decay_of(config: TrainingConfig) -> Callable[[int], float]:
    """The share that stays at each iteration, as the run's options say."""
    if config.ema_half_life:
        return per_picture(config.ema_half_life, config.batch_size, rampup=config.ema_rampup)
    return per_iteration(config.ema, rampup=config.ema_rampup)


def per_iteration(decay: float, *, rampup: bool = False) -> Callable[[int], float]:
    """The same share always; with a ramp-up at most (1 + i) / (10 + i) at iteration i."""

    def share(iteration: int) -> float:
        return min(decay, (1 + iteration) / (10 + iteration)) if rampup else decay

    return share


def per_picture(
    half_life: float, batch_size: int, *, rampup: bool = False
) -> Callable[[int], float]:
    """2^(-batch / half-life): after ``half_life`` pictures half of the average is newer.

    With a ramp-up the half-life is at most a twentieth of the pictures seen.
    """

    def share(iteration: int) -> float:
        seen = (iteration + 1) * batch_size
        return 0.5 ** (batch_size / (min(half_life, RAMPUP * seen) if rampup else half_life))

    return share
