"""What an evaluation by the light protocol will do, checked before long work; no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import facemeld
from facemeld.config import NetworkConfig
from facemeld.data.catalogue import WEIGHTS, find_weights, locate
from facemeld.data.folders import DomainFolders
from facemeld.errors import UserError
from facemeld.evaluation.plan import (
    check_masks,
    check_weights_dir,
    hash_pictures,
    people_among,
    scan_both,
)

FAKES = 500
"""A domain and mode."""
FORMAT = 2
"""Of what is kept of an evaluation that was stopped."""
FEWEST = 20
"""Fakes, and real pictures in each half."""


@dataclass(frozen=True)
class LightPlan:
    """One evaluation by the light protocol."""

    held_out: DomainFolders
    """Sources and references."""
    reals: DomainFolders
    fakes: int
    """A domain and mode; at most twice as many reals are used."""
    seed: int
    people: tuple[str, ...]
    """Domains whose head pose is compared."""
    left_out: str
    """What will not be measured, and what would change that; mostly empty."""
    weights_dir: Path | None
    hashes: dict[str, str] = field(repr=False)
    """SHA-256 of the pictures of each set and domain."""

    def fingerprint(self, model_sha256: str) -> str:
        """The same for two evaluations that give the same numbers."""
        judges = [WEIGHTS[name].sha256 for name in ("mobilenet-v2", "head-pose")]
        parts = [model_sha256, self.hashes, self.fakes, self.seed, self.people, judges]
        text = json.dumps([facemeld.__version__, FORMAT, *parts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def make_light_plan(
    config: NetworkConfig,
    held_out: str | Path,
    reals: str | Path,
    *,
    fakes: int = FAKES,
    seed: int = 0,
    people: tuple[str, ...] | None = None,
    weights_dir: str | Path | None = None,
) -> LightPlan:
    """Checks everything and reads every picture's header.

    Args:
        config: of the model.
        held_out: domain folders of sources and references.
        reals: domain folders of the real pictures to compare with.
        fakes: a domain and mode.
        seed: of the choice of pictures and of the latent codes.
        people: domains of people, whose head pose is compared. If not given those with such
            names, and only if the network that measures pose is at hand.
        weights_dir: where to look first for weights.

    Raises:
        UserError: unknown domains, too few pictures, pictures of several sizes or unreadable
            ones, impossible numbers, a missing network.
    """
    if fakes < FEWEST:
        raise UserError(f"fakes is {fakes}, but must be at least {FEWEST}", where="--fakes")
    if seed < 0:
        raise UserError(f"seed is {seed}, but must not be negative", where="--seed")
    check_weights_dir(weights_dir)
    sources, real_folders = scan_both(Path(held_out), Path(reals), config.domains)
    check_light_counts(sources, real_folders)
    find_weights("mobilenet-v2", weights_dir)
    check_masks(config, weights_dir)
    posed, left_out = people_among(sources.domains, people), ""
    if len(posed) > 1:
        if people is None and locate("head-pose", weights_dir) is None:
            posed = ()
            left_out = "head pose, as its network is not here (facemeld download head-pose)"
        else:
            find_weights("head-pose", weights_dir)
    hashes = hash_pictures(sources, real_folders)
    directory = Path(weights_dir) if weights_dir else None
    return LightPlan(sources, real_folders, fakes, seed, posed, left_out, directory, hashes)


def check_light_counts(
    held_out: DomainFolders, reals: DomainFolders, fix: str = "add pictures"
) -> None:
    """Raises a UserError for domains with fewer pictures than the light protocol needs."""
    for folders, kind, fewest in ((held_out, "held-out", 2), (reals, "real", 2 * FEWEST)):
        few = [
            f"{domain} ({len(files)})"
            for domain, files in zip(folders.domains, folders.files)
            if len(files) < fewest
        ]
        if few:
            raise UserError(
                f"fewer than {fewest} {kind} pictures: {', '.join(few)}",
                where=str(folders.root),
                fix=fix,
            )
