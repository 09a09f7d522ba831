"""Run folders as training leaves them, with untrained networks in them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from tiny_models import untrained

from facemeld.config import TrainingConfig, write_toml
from facemeld.networks.bundle import Networks, save_model
from facemeld.training import checkpoint

LINES = [
    {
        "pictures": 8 * i,
        "pictures_per_second": 4.0,
        "generator/latent/cycle": 1.0 / i,
        "light/distance": float(i),
    }
    for i in range(1, 5)
]


def config_of(networks: Networks, **changes) -> TrainingConfig:
    """A run of 32 pictures that logs every 8."""
    config = TrainingConfig(
        network=networks.config, data="faces", pictures=32, batch_size=8, log_every=8
    )
    return dataclasses.replace(config, **changes)


def write_run(
    folder: Path,
    *,
    lines: list[dict | str] | None = None,
    domains: tuple[str, ...] = ("cat", "dog"),
    finished: bool = True,
    **changes,
) -> Path:
    """A run folder; unfinished ones have a checkpoint instead of a model."""
    networks = untrained("resnet", domains)
    folder.mkdir(parents=True)
    write_toml(config_of(networks, **changes), folder / "config.toml")
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines or LINES]
    (folder / "log.jsonl").write_text("\n".join(text) + "\n")
    if finished:
        save_model(networks, folder / "model", card="# untrained\n")
    else:
        write_checkpoint(folder, networks, 16)
    return folder


def write_checkpoint(folder: Path, networks: Networks, pictures: int) -> Path:
    """A checkpoint whose moving average is ``networks``."""
    tensors = checkpoint.flatten({"networks": untrained("resnet"), "ema": networks})
    facts = {"pictures": pictures, "iteration": pictures // 8}
    return checkpoint.save(folder / "checkpoints", tensors, facts, keep=2)
