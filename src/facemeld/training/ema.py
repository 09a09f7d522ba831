"""Exponential moving average of networks, buffers included."""

from __future__ import annotations

import copy

import torch
from torch import nn


class MovingAverage:
    """Keeps ``average``, a copy of ``networks`` that follows them slowly.

    Trained parameters are averaged; buffers and frozen parameters are copied.

    Args:
        networks: what to follow.
        decay: share of the average that stays at each update.
        rampup: at update i let at most (1 + i) / (10 + i) stay, so that the start is forgotten.
    """

    def __init__(self, networks: nn.Module, *, decay: float, rampup: bool = False) -> None:
        self.networks = networks
        self.average = copy.deepcopy(networks).eval().requires_grad_(False)
        self.decay = decay
        self.rampup = rampup

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Moves the average one step; ``iteration`` counts from 0."""
        decay = self.decay
        if self.rampup:
            decay = min(decay, (1 + iteration) / (10 + iteration))
        pairs = list(zip(self.average.parameters(), self.networks.parameters()))
        trained = [(a, p) for a, p in pairs if p.requires_grad]
        averages, values = [a for a, _ in trained], [p for _, p in trained]
        torch._foreach_lerp_(averages, values, 1 - decay)
        for average, value in zip(self.average.buffers(), self.networks.buffers()):
            average.copy_(value)
