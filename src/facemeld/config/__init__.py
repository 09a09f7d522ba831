"""Configurations: what a model is (NetworkConfig) and how it is trained (TrainingConfig).

Both are frozen, both are checked as a whole (all problems are reported together), and both
travel as plain text: ``config.json`` in a model folder, ``config.toml`` in a run folder.
"""

from __future__ import annotations

from facemeld.config.checks import check
from facemeld.config.network import LEVELS, NetworkConfig, SwinConfig, level_of
from facemeld.config.presets import distillation, preset, presets
from facemeld.config.text import dotted, from_dict, read_toml, to_dict, write_toml
from facemeld.config.training import LossWeights, TrainingConfig

MODEL_FORMAT = 1

__all__ = [
    "LEVELS",
    "MODEL_FORMAT",
    "LossWeights",
    "NetworkConfig",
    "SwinConfig",
    "TrainingConfig",
    "check",
    "distillation",
    "dotted",
    "from_dict",
    "level_of",
    "preset",
    "presets",
    "read_toml",
    "to_dict",
    "write_toml",
]
