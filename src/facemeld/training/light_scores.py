"""The light protocol during a run: its moving average is scored on faces it never sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from facemeld.config import TrainingConfig
from facemeld.data.catalogue import find_weights
from facemeld.data.folders import DomainFolders, scan_domains
from facemeld.data.store import PictureStore, load_pictures
from facemeld.errors import UserError
from facemeld.evaluation.judges import load_mobilenet
from facemeld.evaluation.light import LightScorer, summary
from facemeld.evaluation.light_plan import check_light_counts
from facemeld.evaluation.light_target import LightJudges
from facemeld.fusion.skip_masks import Masker
from facemeld.networks.bundle import Networks

FAKES = 200
"""Fakes a domain and mode."""
_NOT_LOGGED = ("floor", "unedited", "domain_accuracy_of_real", "least_covered")


class _Stopped(Exception):
    """A request to stop came during an evaluation."""


class LightScores:
    """Scores networks with the pictures of a run.

    Args:
        config: the run; sources and references come from its ``samples_from``.
        store: its training pictures, the reals.
        weights_dir: where to look first for the MobileNetV2 weights.
        device: where the networks are.
        masker: of networks whose skips are masked.

    Raises:
        UserError: as ``check_light_scores``; unreadable pictures.
    """

    def __init__(
        self,
        config: TrainingConfig,
        store: PictureStore,
        weights_dir: str | Path | None,
        device: torch.device,
        masker: Masker | None,
    ) -> None:
        held_out = load_pictures(_held_out(config), config.network.image_size)
        self.scorer = LightScorer(
            LightJudges(*load_mobilenet(device, weights_dir)),
            held_out,
            [store.pictures[store.domains.index(name)] for name in held_out.domains],
            fakes=FAKES,
            masker=masker,
        )

    def of(
        self, networks: Networks, asked: Callable[[], object] = lambda: False
    ) -> dict[str, float] | None:
        """Means over the domains by name, the same sources and latent codes at every call.

        Args:
            networks: what is scored.
            asked: whether to stop; None is returned after the fakes at hand if it says so.
        """

        def progress(done: int, total: int) -> None:
            if asked():
                raise _Stopped

        try:
            scores = self.scorer.score(networks, progress)
        except _Stopped:
            return None
        return {
            f"light_{name}_{mode}": value
            for mode, means in summary(scores).items()
            for name, value in means.items()
            if name not in _NOT_LOGGED
        }


def check_light_scores(
    config: TrainingConfig, folders: DomainFolders, weights_dir: str | Path | None
) -> None:
    """Raises a UserError for what would stop the first evaluation of a run.

    Missing weights, fewer than two domains in ``samples_from``, too few training pictures.
    """
    find_weights("mobilenet-v2", weights_dir)
    held_out = _held_out(config)
    reals = [folders.files[folders.domains.index(name)] for name in held_out.domains]
    own = DomainFolders(folders.root, held_out.domains, tuple(reals))
    check_light_counts(held_out, own, fix="add pictures, or evaluate_every = 0")


def _held_out(config: TrainingConfig) -> DomainFolders:
    found = scan_domains(config.samples_from, at_least=1)
    known = [d in config.network.domains for d in found.domains]
    if sum(known) < 2:
        raise UserError(
            "evaluate_every needs held-out pictures of 2 of the run's domains",
            where=config.samples_from,
            fix="name a folder that has them as samples_from, or evaluate_every = 0",
        )
    domains = tuple(d for d, wanted in zip(found.domains, known) if wanted)
    files = tuple(f for f, wanted in zip(found.files, known) if wanted)
    return DomainFolders(found.root, domains, files)
