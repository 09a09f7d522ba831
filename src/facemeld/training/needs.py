"""What a run needs before it starts: pictures, weights of frozen networks, processes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from facemeld.config import TrainingConfig
from facemeld.data.catalogue import find_weights
from facemeld.data.folders import DomainFolders, scan_domains
from facemeld.data.sampling import as_tensor
from facemeld.data.store import load_pictures
from facemeld.errors import UserError, did_you_mean
from facemeld.fusion.skip_masks import Masker
from facemeld.training.distil import teacher_folders
from facemeld.training.processes import best_size, cores, device_of, torchrun_size
from facemeld.training.run_folder import earlier_processes

_LOOKED_AT = 16  # pictures of each domain


def training_folders(config: TrainingConfig) -> DomainFolders:
    """The pictures of the run's domains; a student's are its teacher's.

    Raises:
        UserError: unusable folders, a teacher that does not fit, or favoured domains that are none.
    """
    if config.recipe == "distil":
        folders = teacher_folders(config)
    else:
        folders = scan_domains(config.data, only=config.domains)
    for name in config.favoured_targets:
        if name not in folders.domains:
            told = did_you_mean(name, folders.domains)
            raise UserError(f"no domain named '{name}'", where="favoured_targets", fix=told)
    return folders


def check_masks(config: TrainingConfig, folders: DomainFolders, masker: Masker) -> None:
    """Raises a UserError for domains in whose pictures the masker finds nothing: skips that are
    masked would carry nothing there. A few pictures of each are looked at."""
    some = [files[:: -(-len(files) // _LOOKED_AT)] for files in folders.files]
    size, how = config.network.image_size, config.on_unreadable
    chosen = dataclasses.replace(folders, files=tuple(some))
    store = load_pictures(chosen, size, on_unreadable=how)
    without = [
        domain
        for domain, pictures in zip(store.domains, store.pictures)
        if not masker(as_tensor(pictures, "cpu")).any()
    ]
    if without:
        raise UserError(
            f"no landmarks are found in pictures of {', '.join(without)}, so masks are empty there "
            "and skips would carry nothing",
            where="skips = masked",
            fix="leave these domains out, or choose skips = highpass",
        )


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


def processes_of(config: TrainingConfig, out: Path | None = None) -> int:
    """torchrun's number, or the number asked for, or the best one.

    That is, on a CPU, the number that the run in ``out`` had before, so that it goes on bit by bit;
    else a process a core for the lean and the distil recipe, one for the others, whose wide
    convolutions use all cores (docs/scaling.md).
    """
    if asked := torchrun_size() or config.processes:
        return asked
    sources = config.batch_size // 2 if config.recipe == "lean" else config.batch_size
    best = best_size(sources) if config.recipe in ("lean", "distil") else 1
    if out is None or device_of().type != "cpu":
        return best
    earlier = earlier_processes(out)
    return earlier if 0 < earlier <= cores() and sources % earlier == 0 else best
