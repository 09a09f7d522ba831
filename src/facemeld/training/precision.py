"""Which precision trains faster on this device.

Not every processor that has bf16 instructions gains by them: some run them at half the rate of
fp32, so ``auto`` measures instead of reading flags.
"""

from __future__ import annotations

import time

import torch
from torch import nn

TRIALS = 8


def fastest_precision(device: torch.device) -> str:
    """``fp32`` or ``bf16``: the faster one for a training-sized convolution, both ways."""
    if device.type != "cpu":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    layer = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    pictures = torch.ones(8, 64, 32, 32).contiguous(memory_format=torch.channels_last)
    times: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(TRIALS):  # in turn, so that other work on the machine slows both
        for name, seconds in times.items():
            seconds.append(_seconds(layer, pictures, name == "bf16"))
    return min(times, key=lambda name: min(times[name]))


def _seconds(layer: nn.Module, pictures: torch.Tensor, bf16: bool) -> float:
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = layer(pictures.requires_grad_())
    out.float().sum().backward()
    return time.perf_counter() - began
