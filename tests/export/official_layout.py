"""Checkpoints in the layout of official StarGAN v2, with weights made from their own names.

The layout (names and shapes, as facts) is that of clovaai/stargan-v2 at commit 875b70a. Each value
depends on the seed and on the tensor's name alone, so the same weights can be given to the official
code, which is not part of this repository: see benchmarks/parity_stargan_v2.py.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def normal(name: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Standard normal numbers that depend on the name and the seed alone."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))
    return torch.from_numpy(random.standard_normal(shape, dtype=np.float32))


def weights(name: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """He-initialised matrices; norms and biases far enough from 1 and 0 that each one matters."""
    values = normal(name, shape, seed)
    if len(shape) > 1:
        return values * math.sqrt(2 / math.prod(shape[1:]))
    if name.endswith("weight"):
        return 1 + 0.2 * values
    return 0.2 * values


def shapes(
    *,
    image_size: int,
    domains: int,
    w_hpf: float = 0,
    style_size: int = 64,
    latent_size: int = 16,
    max_width: int = 512,
) -> dict[str, dict[str, tuple[int, ...]]]:
    """Names and shapes of each part's tensors, the high-pass filter left out."""
    first = 2**14 // image_size
    levels = int(math.log2(image_size))
    halvings = levels - 3 if w_hpf else levels - 4
    return {
        "generator": dict(_generator(first, halvings, style_size, max_width)),
        "mapping_network": dict(_mapping_network(latent_size, style_size, domains)),
        "style_encoder": dict(_style_encoder(first, levels - 2, style_size, domains, max_width)),
    }


def checkpoint(
    *, w_hpf: float = 0, store_filter: bool = True, prefix: str = "", seed: int = 0, **sizes
) -> dict[str, dict[str, Tensor]]:
    """What a ``_nets_ema.ckpt`` holds."""
    parts = {}
    for part, named in shapes(w_hpf=w_hpf, **sizes).items():
        parts[part] = {
            f"{prefix}{name}": weights(f"{part}.{name}", shape, seed)
            for name, shape in named.items()
        }
    if w_hpf and store_filter:
        laplacian = torch.full((3, 3), -1.0)
        laplacian[1, 1] = 8.0
        parts["generator"][f"{prefix}hpf.filter"] = laplacian / w_hpf
    return parts


def inputs(
    image_size: int, domains: int, *, latent_size: int = 16, batch: int = 2
) -> dict[str, Tensor]:
    """Pictures, latent codes, domains, and masks (B 2 H W in [0, 1]) for a comparison."""
    return {
        "sources": _maps("sources", batch, 3, image_size).clamp(-1, 1),
        "references": _maps("references", batch, 3, image_size).clamp(-1, 1),
        "latents": normal("latents", (batch, latent_size)),
        "domains": torch.arange(batch).flip(0) % domains,
        "masks": (0.5 + _maps("masks", batch, 2, image_size)).clamp(0, 1),
    }


def _maps(name: str, batch: int, channels: int, side: int) -> Tensor:
    """Coarse shapes under fine noise, as pictures have them."""
    coarse = normal(name, (batch, channels, 8, 8))
    coarse = F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=True)
    return coarse + 0.2 * normal(f"{name} {side}", (batch, channels, side, side))


def _convolution(name: str, inputs: int, outputs: int, kernel: int = 3):
    yield f"{name}.weight", (outputs, inputs, kernel, kernel)
    yield f"{name}.bias", (outputs,)


def _linear(name: str, inputs: int, outputs: int):
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, channels: int):
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)


def _residual_block(name: str, inputs: int, outputs: int, *, normalise: bool):
    yield from _convolution(f"{name}.conv1", inputs, inputs)
    yield from _convolution(f"{name}.conv2", inputs, outputs)
    if normalise:
        yield from _norm(f"{name}.norm1", inputs)
        yield from _norm(f"{name}.norm2", inputs)
    if inputs != outputs:
        yield f"{name}.conv1x1.weight", (outputs, inputs, 1, 1)


def _styled_block(name: str, inputs: int, outputs: int, style_size: int):
    yield from _convolution(f"{name}.conv1", inputs, outputs)
    yield from _convolution(f"{name}.conv2", outputs, outputs)
    yield from _linear(f"{name}.norm1.fc", style_size, 2 * inputs)
    yield from _linear(f"{name}.norm2.fc", style_size, 2 * outputs)
    if inputs != outputs:
        yield f"{name}.conv1x1.weight", (outputs, inputs, 1, 1)


def _generator(first: int, halvings: int, style_size: int, max_width: int):
    widths = [first]
    for _ in range(halvings):
        widths.append(min(2 * widths[-1], max_width))
    pairs = [*zip(widths, widths[1:]), (widths[-1], widths[-1]), (widths[-1], widths[-1])]
    yield from _convolution("from_rgb", 3, first)
    for index, (fine, coarse) in enumerate(pairs):
        yield from _residual_block(f"encode.{index}", fine, coarse, normalise=True)
    for index, (fine, coarse) in enumerate(reversed(pairs)):
        yield from _styled_block(f"decode.{index}", coarse, fine, style_size)
    yield from _norm("to_rgb.0", first)
    yield from _convolution("to_rgb.2", first, 3, kernel=1)


def _mapping_network(latent_size: int, style_size: int, domains: int):
    yield from _linear("shared.0", latent_size, 512)
    for layer in (2, 4, 6):
        yield from _linear(f"shared.{layer}", 512, 512)
    for domain in range(domains):
        for layer in (0, 2, 4):
            yield from _linear(f"unshared.{domain}.{layer}", 512, 512)
        yield from _linear(f"unshared.{domain}.6", 512, style_size)


def _style_encoder(first: int, halvings: int, style_size: int, domains: int, max_width: int):
    yield from _convolution("shared.0", 3, first)
    width = first
    for index in range(halvings):
        wider = min(2 * width, max_width)
        yield from _residual_block(f"shared.{index + 1}", width, wider, normalise=False)
        width = wider
    yield from _convolution(f"shared.{halvings + 2}", width, width, kernel=4)
    for domain in range(domains):
        yield from _linear(f"unshared.{domain}", width, style_size)
