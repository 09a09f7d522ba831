"""What a run needs before it starts: pictures, weights of frozen networks, processes."""

from __future__ import annotations

from pathlib import Path

from facemeld.config import TrainingConfig
from facemeld.data.catalogue import find_weights
from facemeld.data.folders import DomainFolders, scan_domains
from facemeld.training.distil import teacher_folders
from facemeld.training.processes import best_size, torchrun_size


def training_folders(config: TrainingConfig) -> DomainFolders:
    """The pictures of the run's domains; a student's are its teacher's.

    Raises:
        UserError: unusable folders, or a teacher that does not fit.
    """
    if config.recipe == "distil":
        return teacher_folders(config)
    return scan_domains(config.data, only=config.domains)


def published_features(config: TrainingConfig, weights_dir: str | Path | None) -> Path | None:
    """The file of the frozen features, if the run has some that no teacher brings.

    Raises:
        UserError: it is not there.
    """
    projected = "projected" in (config.network.style_encoder, config.network.generator)
    if config.recipe == "distil":
        needed = config.network.style_encoder != "projected"
    else:
        needed = projected or config.recipe == "lean"
    return find_weights("efficientnet-lite0", weights_dir) if needed else None


def processes_of(config: TrainingConfig) -> int:
    """torchrun's number, or the number asked for, or the best one: for the lean and the distil
    recipe on a CPU a process a core."""
    if asked := torchrun_size() or config.processes:
        return asked
    if config.recipe == "lean":
        return best_size(config.batch_size // 2)
    return best_size(config.batch_size) if config.recipe == "distil" else 1
