"""Swin blocks that start from ImageNet weights (Liu et al. 2021) instead of random ones.

The weights of torchvision and timm are read by their own names, from safetensors or PyTorch files.
A stage takes the weights of the ImageNet stage of its width, in the encoders of the generator and
of the style encoder; the decoder, which no classifier has, starts at random. Norms become the norm
of the place with the same scale and offset, position biases are resized to the window (bicubic, as
Swin's authors do), and the norm of a patch merging is folded into its convolution. The depthwise
convolution and the convolution of a stage have no counterpart and keep their start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facemeld.errors import UserError
from facemeld.networks.bundle import Networks
from facemeld.networks.swin import SwinBlock, SwinStage
from facemeld.networks.torch_file import read_torch_file

_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# torchvision: features.(2 stage + 1).block, mergings at features.(2 stage + 2)
_TORCHVISION_BLOCK = re.compile(r"features\.(\d+)\.(\d+)\.(.+)")
_TORCHVISION_MERGING = re.compile(r"features\.\d+\.((?:reduction|norm)\..+)")
_TIMM_BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.(.+)")
_TIMM_MERGING = re.compile(r"layers\.(\d+)\.downsample\.(.+)")
_TIMM_NAMES = {"mlp.0": "mlp.fc1", "mlp.3": "mlp.fc2"}
# their name -> ours; the position bias is resized on the way
_BLOCK_NAMES = {
    "norm1": "norm1",
    "attn.qkv": "attention.qkv",
    "attn.proj": "attention.out",
    "norm2": "norm2",
    "mlp.fc1": "mlp_in",
    "mlp.fc2": "mlp_out",
}


@dataclass
class _Stage:
    """The published weights of one width: blocks in order, and the merging after them."""

    blocks: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    merging: dict[str, Tensor] = field(default_factory=dict)


def find_swin_weights(path: str | Path) -> Path:
    """The weights file that a path names: itself, or the only one in a folder.

    Raises:
        UserError: there is none, or more than one.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.is_file():
            raise UserError("no such weights", where=str(path), fix="name a file or its folder")
        return path
    found = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES and p.is_file())
    if len(found) != 1:
        what = "no weights" if not found else f"{len(found)} files of weights"
        raise UserError(
            f"{what} in the folder", where=str(path), fix=f"name one file ({', '.join(_SUFFIXES)})"
        )
    return found[0]


@torch.no_grad()
def start_from_imagenet(networks: Networks, path: str | Path) -> list[str]:
    """Loads ImageNet weights into the Swin stages of the encoders.

    Args:
        networks: just built; changed in place.
        path: file, or folder that holds one.

    Returns:
        What was loaded, a line a stage.

    Raises:
        UserError: no file, not one of a Swin Transformer, or no stage of the networks fits it.
    """
    file = find_swin_weights(path)
    published = _read(file)
    loaded, reasons = [], set()
    for name, stage in _encoder_stages(networks):
        width = stage.conv.in_channels
        if width not in published:
            reasons.add(
                f"it has stages of {', '.join(map(str, published))} channels, {name} has {width}"
            )
            continue
        try:
            if problem := _misfit(stage, published[width]):
                reasons.add(problem)
            else:
                loaded.append(f"{name}: {_load_stage(stage, published[width])}")
        except (KeyError, RuntimeError):
            raise UserError(
                f"its stage of {width} channels is incomplete or of other shapes", where=str(file)
            ) from None
    if not loaded:
        what = "; ".join(sorted(reasons)) or "the networks have no Swin stages in their encoders"
        raise UserError(
            f"no stage can start from these weights: {what}",
            where=str(file),
            fix="choose widths, swin.head_width and swin.mlp_ratio like those of the file "
            "(Swin-T: 96, 192, 384; 32; 4)",
        )
    return loaded


def _encoder_stages(networks: Networks) -> Iterator[tuple[str, SwinStage]]:
    for part in ("generator.encoder", "style_encoder"):
        for name, module in networks.get_submodule(part).named_modules(prefix=part):
            if isinstance(module, SwinStage):
                yield name, module


def _read(file: Path) -> dict[int, _Stage]:
    """Published stages by their width."""
    if file.suffix == ".safetensors":
        try:
            weights = load_file(file)
        except (OSError, SafetensorError) as error:
            raise UserError(f"the weights cannot be read: {error}", where=str(file)) from None
    else:
        weights = read_torch_file(file)
        if isinstance(weights, dict) and isinstance(weights.get("model"), dict):
            weights = weights["model"]  # as Swin's authors publish them
    if not isinstance(weights, dict):
        weights = {}
    weights = {k: v.float() for k, v in weights.items() if isinstance(v, Tensor)}

    stages: dict[int, _Stage] = {}
    blocks: dict[tuple[str, int], dict[str, Tensor]] = {}
    mergings: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        if match := _TIMM_BLOCK.fullmatch(name):
            blocks.setdefault((match[1], int(match[2])), {})[match[3]] = value
        elif match := _TIMM_MERGING.fullmatch(name):
            mergings.setdefault(match[1], {})[match[2]] = value
        elif match := _TORCHVISION_MERGING.fullmatch(name):
            mergings.setdefault(name.split(".")[1], {})[match[1]] = value
        elif match := _TORCHVISION_BLOCK.fullmatch(name):
            key = match[3]
            for theirs, timm in _TIMM_NAMES.items():
                key = key.replace(theirs, timm)
            blocks.setdefault((match[1], int(match[2])), {})[key] = value
    for (_, index), block in blocks.items():
        if "attn.proj.bias" in block and "attn.relative_position_bias_table" in block:
            width = len(block["attn.proj.bias"])
            stages.setdefault(width, _Stage()).blocks[index] = block
    for merging in mergings.values():
        weight = merging.get("reduction.weight")
        if weight is not None and weight.ndim == 2 and weight.shape[1] // 4 in stages:
            stages[weight.shape[1] // 4].merging = merging
    if not stages:
        raise UserError(
            "not the weights of a Swin Transformer with torchvision's or timm's names",
            where=str(file),
        )
    return dict(sorted(stages.items()))


def _misfit(stage: SwinStage, published: _Stage) -> str:
    """Why the blocks of a stage cannot take these weights; empty if they can."""
    block = stage.blocks[0]
    theirs = published.blocks[min(published.blocks)]
    heads = theirs["attn.relative_position_bias_table"].shape[1]
    if heads != block.attention.heads:
        width = stage.conv.in_channels
        return f"its heads have {width // heads} channels, here swin.head_width is " + str(
            width // block.attention.heads
        )
    ratio = len(theirs["mlp.fc1.bias"]) // stage.conv.in_channels
    ours = block.mlp_in.out_features // stage.conv.in_channels
    return f"its MLP ratio is {ratio}, here swin.mlp_ratio is {ours}" if ratio != ours else ""


def _load_stage(stage: SwinStage, published: _Stage) -> str:
    """Copies block by block, and the merging if its width fits; says how much."""
    count = min(len(stage.blocks), len(published.blocks))
    for block, index in zip(stage.blocks, sorted(published.blocks)):
        _load_block(block, published.blocks[index])
    merging = published.merging
    text = f"{count} of {len(stage.blocks)} blocks"
    if stage.downsample and "norm.weight" in merging:
        weight = merging["reduction.weight"]
        if len(weight) == stage.resize.out_channels:
            _load_merging(stage.resize, weight, merging["norm.weight"], merging["norm.bias"])
            text += " and the merging of patches"
    return text


def _load_block(block: SwinBlock, weights: dict[str, Tensor]) -> None:
    for theirs, ours in _BLOCK_NAMES.items():
        module = block.get_submodule(ours)
        module.weight.copy_(weights[theirs + ".weight"])
        module.bias.copy_(weights[theirs + ".bias"])
    table = weights["attn.relative_position_bias_table"]
    side, ours = round(len(table) ** 0.5), 2 * block.attention.window - 1
    maps = table.T.unflatten(1, (side, side))[None]
    if side != ours:
        maps = F.interpolate(maps, size=(ours, ours), mode="bicubic", align_corners=False)
    block.attention.position_bias.copy_(maps[0].flatten(1).T)


def _load_merging(resize: nn.Conv2d, weight: Tensor, scale: Tensor, offset: Tensor) -> None:
    """Linear(norm(patches)) with the norm's scale and offset folded in.

    Published patches come column by column: (0, 0), (1, 0), (0, 1), (1, 1) as (y, x).
    """
    kernel = (weight * scale).unflatten(1, (2, 2, -1))  # C', x, y, C
    resize.weight.copy_(kernel.permute(0, 3, 2, 1))
    resize.bias.copy_(weight @ offset)
