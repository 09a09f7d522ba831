"""Runs with Swin blocks: they learn, go on bitwise, and have learning rates of their own."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import checkpoints, log_lines, tensors_of, tiny_config

from facemeld.config import SwinConfig, TrainingConfig
from facemeld.networks.bundle import Networks, build_generator
from facemeld.networks.swin import SwinBlock, swin_parameters
from facemeld.training.loop import train
from facemeld.training.optimizers import optimizer_of, set_learning_rates

SWIN = SwinConfig(window_size=4, head_width=4, convolutional_levels=1)


def swin_run(recipe: str, faces: Path | str = "", network: dict = {}, **changes) -> TrainingConfig:
    config = tiny_config(recipe, faces, **changes)
    network = {"generator": "swin-unet", "swin": SWIN} | network
    return dataclasses.replace(config, network=dataclasses.replace(config.network, **network))


def test_swin_blocks_have_a_share_of_the_learning_rate_and_a_warm_up() -> None:
    config = swin_run(
        "lean",
        pictures=800,
        learning_rate=1e-3,
        weight_decay=0.01,
        swin_learning_rate=0.25,
        swin_warmup_pictures=80,
        decay_from=0.5,
    )
    generator = build_generator(config.network)
    optimizer = optimizer_of(generator, "generator", config)
    groups = {swin: [g for g in optimizer.param_groups if g["swin"] == swin] for swin in (0, 1)}
    ids = [{id(p) for g in groups[swin] for p in g["params"]} for swin in (0, 1)]
    assert ids[1] == {id(p) for group in swin_parameters(generator) for p in group}
    assert ids[0] | ids[1] == {id(p) for p in generator.parameters()} and not ids[0] & ids[1]
    assert sorted(g["weight_decay"] for g in groups[1]) == [0, 0.01]
    # pictures seen, the Swin blocks' share of their warm-up, the decay of all
    for pictures, risen, left in ((0, 0.1, 1), (40, 0.6, 1), (72, 1, 1), (600, 1, 0.5)):
        set_learning_rates({"generator": optimizer}, config, pictures)
        for swin, expected in ((0, 1e-3 * left), (1, 0.25e-3 * risen * left)):
            rates = [group["lr"] for group in groups[swin]]
            assert rates == pytest.approx([expected] * len(rates)), pictures


@pytest.mark.parametrize("generator", ["swin-encoder", "swin-unet"])
def test_a_swin_generator_learns_to_keep_its_sources(
    generator: str, faces: Path, tmp_path: Path
) -> None:
    config = swin_run(
        "lean",
        faces,
        {"generator": generator},
        pictures=480,
        batch_size=16,
        learning_rate=4e-3,
        swin_warmup_pictures=64,
        warmup_pictures=10**6,
        log_every=48,
        sample_every=10**6,
        checkpoint_every=10**6,
    )
    train(config, tmp_path / "run")
    values = [line["generator/warmup/reconstruction"] for line in log_lines(tmp_path / "run")]
    assert np.mean(values[-3:]) < 0.6 * values[0], values
    network = dataclasses.replace(config.network, domains=("cat", "dog"))
    torch.manual_seed(config.seed)
    before, after = Networks(network).generator, tensors_of(tmp_path / "run")
    blocks = [name for name, m in before.named_modules() if isinstance(m, SwinBlock)]
    assert {name.split(".")[0] for name in blocks} == (
        {"encoder", "decoder"} if generator == "swin-unet" else {"encoder"}
    )
    for name, tensor in before.state_dict().items():
        if name.startswith(tuple(f"{block}." for block in blocks)):
            assert not torch.equal(after[f"networks.generator.{name}"], tensor), name


@pytest.mark.parametrize(
    ("recipe", "network"),
    [
        ("lean", {}),
        ("starganv2", {"style_encoder": "swin", "skips": "highpass", "skip_resolutions": (16,)}),
    ],
)
def test_a_swin_run_goes_on_bitwise(
    recipe: str, network: dict, faces: Path, tmp_path: Path
) -> None:
    if network:  # the widths of a residual style encoder reach down to 4 px, too small for windows
        network = network | {"style_encoder_widths": (8, 16)}
    config = swin_run(recipe, faces, network, swin_warmup_pictures=16)
    train(config, tmp_path / "run")
    expected = tensors_of(tmp_path / "run")
    for line in log_lines(tmp_path / "run"):
        assert all(math.isfinite(value) for value in line.values())
    first = checkpoints(tmp_path / "run")[0]
    train(config, tmp_path / "again", resume=str(first))
    found = tensors_of(tmp_path / "again")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
