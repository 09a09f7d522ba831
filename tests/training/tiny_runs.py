"""Runs of seconds, with every schedule of a long one switched on, and readers of their folders."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from torch import Tensor

from facemeld.config import LossWeights, NetworkConfig, TrainingConfig
from facemeld.training.checkpoint import newest_valid

ITERATIONS = 6
RECIPES = ("starganv2", "fast", "lean", "lean, projected")

_NETWORK = NetworkConfig(
    image_size=16,
    widths=(8, 16),
    encoder_blocks=1,
    decoder_blocks=1,
    style_size=8,
    latent_size=4,
    style_encoder_widths=(8, 8, 8),
    discriminator_widths=(8, 8, 8),
    mapping_width=16,
    mapping_shared_layers=1,
    mapping_domain_layers=2,
    feature_size=32,
)
_PROJECTED = dataclasses.replace(
    _NETWORK,
    style_encoder="projected",
    discriminator="projected",
    skips="additive",
    skip_resolutions=(16,),
    styled_output=True,
    unit_styles=True,
)
_SHARED = dict(
    pictures=48,
    batch_size=8,
    processes=1,
    precision="fp32",
    diversity_until=0.8,
    late_from=0.6,
    decay_from=0.4,
    ema=0.9,
    ema_rampup=True,
    log_every=8,
    sample_every=24,
    checkpoint_every=24,
)
_CONFIGS = {
    "starganv2": TrainingConfig(
        network=_NETWORK,
        recipe="starganv2",
        learning_rate=1e-3,
        mapping_learning_rate=1e-4,
        late_weights=LossWeights(cycle=2.0),
        **_SHARED,
    ),
    "fast": TrainingConfig(
        network=_NETWORK,
        recipe="fast",
        learning_rate=1e-3,
        mapping_learning_rate=1e-4,
        r1_interval=2,
        reference_share=0.5,
        augmentation="diffaugment",
        ema_half_life=24,
        weights=LossWeights(content=1.0),
        late_weights=LossWeights(cycle=2.0, content=1.0),
        **_SHARED,
    ),
    "lean": TrainingConfig(
        network=_PROJECTED,
        recipe="lean",
        learning_rate=1e-3,
        mapping_learning_rate=5e-4,
        weight_decay=0.0,
        gradient_clip=10.0,
        crop_probability=0.0,
        warmup_pictures=8,
        weights=LossWeights(features=4.0, content=2.0, reconstruction=1.0, style_matching=1.0),
        late_weights=LossWeights(features=3.0, content=4.0, style_matching=1.0),
        **_SHARED,
    ),
}
_CONFIGS["lean, projected"] = dataclasses.replace(
    _CONFIGS["lean"],
    network=dataclasses.replace(_PROJECTED, generator="projected", feature_size=128),
    weights=LossWeights(features=4.0, perceptual=1.0, landmarks=1.0, style_matching=1.0),
    late_weights=LossWeights(landmarks=2.0, self_similarity=1.0, style_matching=1.0),
)


def tiny_config(recipe: str, data: Path | str = "", **changes) -> TrainingConfig:
    """Six iterations of 16 px; checkpoints in the middle and at the end."""
    return dataclasses.replace(_CONFIGS[recipe], data=str(data), **changes)


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted((run / "checkpoints").iterdir())


def tensors_of(run: Path) -> dict[str, Tensor]:
    """The newest checkpoint of a run, which must not be damaged."""
    tensors, _ = newest_valid(run / "checkpoints", pytest.fail)
    return tensors


def log_lines(run: Path) -> list[dict]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def equal_lines(run: Path) -> list[dict]:
    """The lines of a run's log without what equal runs may differ in."""
    machine = ("pictures_per_second", "peak_memory_mb")
    return [{k: v for k, v in line.items() if k not in machine} for line in log_lines(run)]
