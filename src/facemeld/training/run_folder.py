"""The run folder: whose it is, and what may change when a run goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from facemeld.config import TrainingConfig, dotted, from_dict, read_toml, to_dict, write_toml
from facemeld.config.recipe_options import is_ignored
from facemeld.errors import UserError
from facemeld.files import write_whole
from facemeld.training import checkpoint
from facemeld.training.precision import fastest_precision

# options that may differ between the sessions of one run
_FREE = (
    "data",
    "samples_from",
    "teacher",
    "pictures",
    "processes",
    "precision",
    "log_every",
    "sample_every",
)
_FREE += ("checkpoint_every", "evaluate_every", "keep_checkpoints", "on_unreadable")
_FREE += ("max_bad_steps",)
_FREE += ("cache", "compile", "accumulate", "recompute_activations")


def earlier_processes(out: Path) -> int:
    """How many processes the last session of the run in ``out`` had; 0 if there was none."""
    described = out / "config.toml"
    if not (checkpoint.any_in(out / "checkpoints") and described.is_file()):
        return 0
    return from_dict(TrainingConfig, read_toml(described), where=str(described)).processes


def open_run(
    config: TrainingConfig, out: Path, resume: str, *, device: torch.device
) -> TrainingConfig:
    """Creates the run folder, or checks that it is this run's; writes config.toml.

    Returns:
        The configuration with its precision decided: as before in a run that goes on, else
        measured where it is ``auto``.

    Raises:
        UserError: the folder has checkpoints of other options, or must not have any.
    """
    described = out / "config.toml"
    has_checkpoints = checkpoint.any_in(out / "checkpoints")
    if has_checkpoints and resume == "never":
        raise UserError(
            "the run folder has checkpoints already",
            where=str(out),
            fix="name another folder with --out, or go on with --resume auto",
        )
    if has_checkpoints and described.is_file():
        earlier = from_dict(TrainingConfig, read_toml(described), where=str(described))
        mine, theirs = dotted(to_dict(config)), dotted(to_dict(earlier))
        changed = [
            f"{name} (was {theirs.get(name)}, now {mine.get(name)})"
            for name in sorted(mine | theirs)
            if not (name in _FREE or is_ignored(name, config.recipe))
            and mine.get(name) != theirs.get(name)
        ]
        if changed:
            raise UserError(
                f"the run was started with other options: {', '.join(changed)}",
                where=str(described),
                fix="use the same options, or another folder with --out",
            )
        if config.precision == "auto":
            config = dataclasses.replace(config, precision=earlier.precision)
    if config.precision == "auto":
        config = dataclasses.replace(config, precision=fastest_precision(device))
    write_whole(described, lambda partial: write_toml(config, partial))
    return config
