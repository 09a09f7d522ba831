"""Swin blocks that start from published weights: names, layouts, and that they stay."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from drawn_faces import write_faces
from safetensors.torch import save_file
from tiny_runs import tiny_config
from torch import Tensor

from facemeld.config import NetworkConfig, SwinConfig
from facemeld.errors import UserError
from facemeld.networks.bundle import Networks, load_model
from facemeld.networks.swin import SwinBlock
from facemeld.training.loop import train
from facemeld.training.warm_start import find_swin_weights, start_from_imagenet

WIDTH, HEADS, WINDOW, RATIO = 8, 2, 4, 4
CONFIG = NetworkConfig(
    image_size=16,
    domains=("cat", "dog"),
    generator="swin-encoder",
    style_encoder="swin",
    widths=(4, 8, 16),
    style_encoder_widths=(4, 8, 16),
    style_size=4,
    mapping_width=8,
    swin=SwinConfig(window_size=4, head_width=4, mlp_ratio=4, convolutional_levels=1),
)
TIMM_TO_TORCHVISION = {"mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3"}


def published(window: int = WINDOW, heads: int = HEADS, ratio: int = RATIO) -> dict[str, Tensor]:
    """A Swin Transformer of two blocks and a merging, with timm's names and random weights."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    weights = {"patch_embed.proj.weight": normal(WIDTH, 3, 4, 4), "head.weight": normal(3, 16)}
    for index in range(2):
        block = {
            "norm1.weight": normal(WIDTH),
            "norm1.bias": normal(WIDTH),
            "attn.qkv.weight": normal(3 * WIDTH, WIDTH),
            "attn.qkv.bias": normal(3 * WIDTH),
            "attn.proj.weight": normal(WIDTH, WIDTH),
            "attn.proj.bias": normal(WIDTH),
            "attn.relative_position_bias_table": normal((2 * window - 1) ** 2, heads),
            "attn.relative_position_index": torch.zeros(window**4, dtype=torch.int64),
            "norm2.weight": normal(WIDTH),
            "norm2.bias": normal(WIDTH),
            "mlp.fc1.weight": normal(ratio * WIDTH, WIDTH),
            "mlp.fc1.bias": normal(ratio * WIDTH),
            "mlp.fc2.weight": normal(WIDTH, ratio * WIDTH),
            "mlp.fc2.bias": normal(WIDTH),
        }
        weights |= {f"layers.0.blocks.{index}.{name}": value for name, value in block.items()}
    return weights | {
        "layers.0.downsample.norm.weight": normal(4 * WIDTH),
        "layers.0.downsample.norm.bias": normal(4 * WIDTH),
        "layers.0.downsample.reduction.weight": normal(2 * WIDTH, 4 * WIDTH),
    }


def torchvision_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with torchvision's names."""
    renamed = {}
    for name, value in weights.items():
        name = name.replace("layers.0.blocks.", "features.1.").replace(
            "layers.0.downsample.", "features.2."
        )
        for timm, theirs in TIMM_TO_TORCHVISION.items():
            name = name.replace(timm, theirs)
        renamed[name] = value
    return renamed


def write(path: Path, weights: dict[str, Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


def stage_of(networks: Networks):
    """The generator's stage of 8 channels."""
    return networks.generator.encoder[1]


def as_published(block: SwinBlock) -> dict[str, Tensor]:
    return {
        "norm1.weight": block.norm1.weight,
        "attn.qkv.weight": block.attention.qkv.weight,
        "attn.proj.bias": block.attention.out.bias,
        "attn.relative_position_bias_table": block.attention.position_bias,
        "norm2.bias": block.norm2.bias,
        "mlp.fc1.weight": block.mlp_in.weight,
        "mlp.fc2.weight": block.mlp_out.weight,
    }


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("names", [dict, torchvision_names])
def test_every_block_takes_its_weights(tmp_path, suffix, names):
    weights, networks = published(), Networks(CONFIG)
    write(tmp_path / f"swin{suffix}", names(weights))
    lines = start_from_imagenet(networks, tmp_path)
    assert len(lines) == 2 and all("2 of 2 blocks and the merging" in line for line in lines)
    for stage in (stage_of(networks), networks.style_encoder.stages[1]):
        for index, block in enumerate(stage.blocks):
            for name, value in as_published(block).items():
                assert torch.equal(value, weights[f"layers.0.blocks.{index}.{name}"]), name


def test_merging_is_the_published_one(tmp_path):
    """Linear(norm(four patches)) with the norm's statistics left to what came before."""
    weights, networks = published(), Networks(CONFIG)
    start_from_imagenet(networks, write(tmp_path / "swin.pth", weights))
    x = torch.randn(2, WIDTH, 8, 8)
    rows = x.permute(0, 2, 3, 1)
    patches = [rows[:, y::2, z::2] for y, z in ((0, 0), (1, 0), (0, 1), (1, 1))]
    merged = torch.cat(patches, dim=-1) * weights["layers.0.downsample.norm.weight"]
    merged = merged + weights["layers.0.downsample.norm.bias"]
    expected = F.linear(merged, weights["layers.0.downsample.reduction.weight"])
    found = stage_of(networks).resize(x).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_another_window_resizes_the_position_bias(tmp_path):
    weights, networks = published(window=7), Networks(CONFIG)
    start_from_imagenet(networks, write(tmp_path / "swin.pth", weights))
    table = weights["layers.0.blocks.0.attn.relative_position_bias_table"]
    found = stage_of(networks).blocks[0].attention.position_bias
    assert found.shape == (49, HEADS)
    # the centre of the table is the bias of a position to itself
    torch.testing.assert_close(found[24], table[84], atol=0.2, rtol=0.2)
    assert math.isclose(found.mean().item(), table.mean().item(), abs_tol=0.2)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (published(heads=4), "heads have 2 channels, here swin.head_width is 4"),
        (published(ratio=2), "MLP ratio is 2, here swin.mlp_ratio is 4"),
        ({"features.0.weight": torch.zeros(2)}, "not the weights of a Swin Transformer"),
        (
            {k: v for k, v in published().items() if "mlp.fc2" not in k},
            "incomplete or of other shapes",
        ),
    ],
    ids=["heads", "ratio", "something else", "incomplete"],
)
def test_weights_that_do_not_fit(tmp_path, weights, words):
    with pytest.raises(UserError, match=words):
        start_from_imagenet(Networks(CONFIG), write(tmp_path / "swin.pth", weights))


def test_networks_without_swin_stages_refuse(tmp_path):
    path = write(tmp_path / "swin.pth", published())
    config = dataclasses.replace(
        CONFIG, generator="resnet", style_encoder="resnet", style_encoder_widths=(4, 4, 4)
    )
    with pytest.raises(UserError, match="no Swin stages"):
        start_from_imagenet(Networks(config), path)


def test_a_folder_names_one_file(tmp_path):
    with pytest.raises(UserError, match="no such weights"):
        find_swin_weights(tmp_path / "missing")
    with pytest.raises(UserError, match="no weights in the folder"):
        find_swin_weights(tmp_path)
    for name in ("a.pth", "b.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match="2 files"):
        find_swin_weights(tmp_path)


def test_nothing_overwrites_loaded_weights(tmp_path):
    """A whole run at learning rate zero ends with the published weights."""
    weights = published()
    data = write_faces(tmp_path / "data")
    config = tiny_config(
        "starganv2",
        data,
        network=dataclasses.replace(CONFIG, discriminator_widths=(4, 4, 4), domains=()),
        learning_rate=0.0,
        mapping_learning_rate=0.0,
        pictures=8,
        swin_weights=str(write(tmp_path / "swin.pth", weights)),
    )
    model = load_model(train(config, tmp_path / "run"))
    for index, block in enumerate(stage_of(model).blocks):
        for name, value in as_published(block).items():
            assert torch.equal(value, weights[f"layers.0.blocks.{index}.{name}"]), name
