"""Weights drawn from a seed in the layouts of published networks, for comparing architectures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from facemeld.networks.head_geometry import BLOCKS
from facemeld.networks.inception import InceptionFeatures

ALEXNET = ((0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3))


def _drawn(random: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """He initialisation, so that maps keep their size through a deep network."""
    values = random.standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(values * np.float32(np.sqrt(2 / np.prod(shape[1:]))))


def inception(seed: int) -> dict[str, Tensor]:
    """A state dict in torchvision's names; the classifier is zero."""
    random, weights = np.random.default_rng(seed), {}
    for name, module in InceptionFeatures("fid").named_modules():
        if not isinstance(module, torch.nn.Conv2d):
            continue
        shape = tuple(module.weight.shape)
        weights[f"{name}.conv.weight"] = _drawn(random, shape)
        for part, low, high in (
            ("weight", 0.8, 1.2),
            ("bias", -0.1, 0.1),
            ("running_mean", -0.1, 0.1),
            ("running_var", 0.8, 1.2),
        ):
            values = random.uniform(low, high, shape[0]).astype(np.float32)
            weights[f"{name}.bn.{part}"] = torch.from_numpy(values)
    return weights


def alexnet(seed: int) -> dict[str, Tensor]:
    """The convolutions of torchvision's AlexNet."""
    random, weights = np.random.default_rng(seed), {}
    for position, outputs, inputs, kernel in ALEXNET:
        shape = (outputs, inputs, kernel, kernel)
        weights[f"features.{position}.weight"] = _drawn(random, shape)
        bias = random.uniform(-0.1, 0.1, outputs).astype(np.float32)
        weights[f"features.{position}.bias"] = torch.from_numpy(bias)
    return weights


def lpips_heads(seed: int) -> dict[str, Tensor]:
    """The linear heads in the names of the ``lpips`` package."""
    random = np.random.default_rng(seed)
    return {
        f"lin{index}.model.1.weight": torch.from_numpy(
            random.uniform(0, 1, (1, outputs, 1, 1)).astype(np.float32)
        )
        for index, (_, outputs, _, _) in enumerate(ALEXNET)
    }


def pixels(seed: int, count: int, side: int) -> Tensor:
    """Smooth pictures of 256 levels, count 3 side side."""
    coarse = torch.from_numpy(np.random.default_rng(seed).random((count, 3, 12, 12), np.float32))
    smooth = torch.nn.functional.interpolate(coarse.double(), size=(side, side), mode="bilinear")
    return (smooth * 255).round().to(torch.uint8)


def features(seed: int, count: int, size: int) -> np.ndarray:
    """Correlated non-negative features like those of a network, count size, float32."""
    random = np.random.default_rng([seed, 7])
    mixing = np.random.default_rng(11).standard_normal((size, size)) / np.sqrt(size)
    values = random.standard_normal((count, size)) @ mixing + 0.1 * seed
    return np.maximum(values, 0).astype(np.float32)


def head_pose(seed: int) -> dict[str, Tensor]:
    """A state dict in the names of 3DDFA v2's ``mb05_120x120.pth``."""
    random, weights = np.random.default_rng(seed), {}

    def layer(conv: str, norm: str, shape: tuple[int, ...]) -> None:
        weights[f"module.{conv}.weight"] = _drawn(random, shape)
        for part in ("weight", "bias", "running_mean", "running_var"):
            low, high = (0.8, 1.2) if part in ("weight", "running_var") else (-0.1, 0.1)
            values = random.uniform(low, high, shape[0]).astype(np.float32)
            weights[f"module.{norm}.{part}"] = torch.from_numpy(values)

    layer("conv1", "bn1", (16, 3, 3, 3))
    inputs = 16
    for name, outputs, _ in BLOCKS:
        layer(f"{name}.conv_dw", f"{name}.bn_dw", (inputs, 1, 3, 3))
        layer(f"{name}.conv_sep", f"{name}.bn_sep", (outputs, inputs, 1, 1))
        inputs = outputs
    for name, outputs in (("fc_param", 62), ("fc_lm", 136)):
        weights[f"module.{name}.weight"] = _drawn(random, (outputs, inputs))
        weights[f"module.{name}.bias"] = torch.zeros(outputs)
    return weights
