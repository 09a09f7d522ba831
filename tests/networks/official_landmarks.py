"""Weights in the layout of the official wing.ckpt, made from their own names.

The layout (names and shapes, as facts) is that of core/wing.py in clovaai/stargan-v2 at commit
875b70a. See benchmarks/parity_landmarks.py.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def weights(seed: int = 0) -> dict[str, Tensor]:
    """What ``state_dict`` of the file holds."""
    return {name: _values(name, shape, seed) for name, shape in shapes()}


def shapes() -> Shapes:
    """Names and shapes of all tensors but the counters of batch normalisation."""
    yield "conv1.conv.weight", (64, 6, 7, 7)
    yield "conv1.conv.bias", (64,)
    yield from _norm("bn1", 64)
    yield from _block("conv2", 64, 128)
    yield from _block("conv3", 128, 128)
    yield from _block("conv4", 128, 256)
    yield "m0.coordconv.conv.weight", (256, 259, 1, 1)
    yield "m0.coordconv.conv.bias", (256,)
    for level in (4, 3, 2, 1):
        for part in ("b1", "b2", "b3"):
            yield from _block(f"m0.{part}_{level}", 256, 256)
    yield from _block("m0.b2_plus_1", 256, 256)
    yield from _block("top_m_0", 256, 256)
    for name, outputs in (("conv_last0", 256), ("l0", 99)):
        yield f"{name}.weight", (outputs, 256, 1, 1)
        yield f"{name}.bias", (outputs,)
    yield from _norm("bn_end0", 256)


def pictures(batch: int, side: int) -> Tensor:
    """Smooth pictures in [-1, 1]. -> B 3 side side"""
    coarse = _normal("pictures", (batch, 3, 8, 8), 0)
    size = (side, side)
    return F.interpolate(coarse, size=size, mode="bilinear", align_corners=True).clamp(-1, 1)


def face_heatmaps(batch: int) -> Tensor:
    """A bell curve a landmark, of different heights, as a trained network answers. -> B 98 64 64"""
    random = np.random.Generator(np.random.PCG64(1))
    centres = random.uniform(0, 63, (batch, 98, 1, 1, 2)).astype(np.float32)
    heights = random.uniform(0.05, 1.1, (batch, 98, 1, 1)).astype(np.float32)
    y, x = np.mgrid[:64, :64].astype(np.float32)
    distance = (x - centres[..., 0]) ** 2 + (y - centres[..., 1]) ** 2
    return torch.from_numpy(heights * np.exp(-distance / 4.5))


def _norm(name: str, channels: int) -> Shapes:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)


def _block(name: str, inputs: int, outputs: int) -> Shapes:
    widths = (inputs, outputs // 2, outputs // 4, outputs // 4)
    for index, (before, after) in enumerate(zip(widths, widths[1:]), 1):
        yield from _norm(f"{name}.bn{index}", before)
        yield f"{name}.conv{index}.weight", (after, before, 3, 3)
    if inputs != outputs:
        yield from _norm(f"{name}.downsample.0", inputs)
        yield f"{name}.downsample.2.weight", (outputs, inputs, 1, 1)


def _values(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    values = _normal(name, shape, seed)
    if len(shape) > 1:
        return values * math.sqrt(1 / math.prod(shape[1:]))
    if name == "l0.bias":
        return values - 6  # so that heatmaps are zero nearly everywhere, as trained ones are
    if name.endswith("running_var"):
        return 1 + values.abs()
    return 1 + 0.2 * values if name.endswith("weight") else 0.2 * values


def _normal(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))
    return torch.from_numpy(random.standard_normal(shape, dtype=np.float32))
