"""The light protocol: how good a model is, in a minute or two on a CPU.

For every target domain, fakes of held-out sources of all other domains are compared with real
pictures of the target in the features of MobileNetV2, which no training uses:

- distance: light Fréchet distance of the fakes to one half of the reals. Not FID.
- floor: that of the other half of the reals; unedited: that of the untouched sources.
- covered: (unedited - distance) / (unedited - floor), the share of the way that the model goes.
- retrieval: how often a fake is nearer to its own reference than to three others of its domain.
- structure: correlation of luminance gradients at 16 px with the source.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facemeld.data.catalogue import find_weights
from facemeld.data.folders import scan_domains
from facemeld.data.sampling import as_tensor
from facemeld.data.store import PictureStore, load_pictures
from facemeld.errors import UserError, did_you_mean
from facemeld.evaluation.distances import frechet_distance
from facemeld.evaluation.structure import luminance_structure
from facemeld.networks.bundle import Networks
from facemeld.networks.mobilenet import MobileNetV2Features

BATCH = 50
FEWEST = 20  # real pictures a domain in each half
RIVALS = 3


@dataclass(frozen=True)
class DomainScore:
    """Scores of the fakes of one target domain in one mode."""

    domain: str
    mode: str
    fakes: int
    reals: int
    distance: float
    floor: float
    unedited: float
    covered: float
    structure: float
    retrieval: float | None
    """None in latent mode, which has no references."""


def evaluate(
    networks: Networks,
    held_out: str | Path,
    reals: str | Path,
    *,
    fakes: int = 500,
    seed: int = 0,
    weights_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[DomainScore]:
    """Scores of a model for every target domain, in reference and in latent mode.

    Args:
        networks: the model.
        held_out: domain folders of sources and references that training did not see.
        reals: domain folders of the real pictures to compare with.
        fakes: fakes a domain and mode; at most twice as many reals are used.
        seed: of the choice of pictures and of the latent codes.
        weights_dir: where to look first for the MobileNetV2 weights.
        progress: called with (steps done, steps in all).

    Raises:
        UserError: a domain that the model does not know, too few pictures, or missing weights.
    """
    if fakes < FEWEST:
        raise UserError(f"fakes is {fakes}, but must be at least {FEWEST}", where="fakes")
    if seed < 0:
        raise UserError(f"seed is {seed}, but must not be negative", where="seed")
    size = networks.config.image_size
    sources = load_pictures(_known(held_out, networks), size)
    real_pictures = load_pictures(_known(reals, networks), size)
    if sources.domains != real_pictures.domains:
        raise UserError(
            "the two folders have different domains",
            where=f"{held_out} ({', '.join(sources.domains)}), "
            f"{reals} ({', '.join(real_pictures.domains)})",
        )
    _check_counts(real_pictures, where=str(reals))
    features = MobileNetV2Features()
    published = find_weights("mobilenet-v2", weights_dir)
    features.load_published(torch.load(published, weights_only=True))
    return score_pictures(
        networks, features, sources, real_pictures, fakes=fakes, seed=seed, progress=progress
    )


def score_pictures(
    networks: Networks,
    features: MobileNetV2Features,
    held_out: PictureStore,
    reals: PictureStore,
    *,
    fakes: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[DomainScore]:
    """As ``evaluate``, with pictures and features that are in memory already.

    Args:
        networks: the model, on the device of ``features``.
        held_out, reals: pictures of the same domains, which the model knows, at its size.

    Raises:
        UserError: too few pictures.
    """
    _check_counts(reals)
    scores, steps = [], 2 * len(held_out.domains)
    for index in range(len(held_out.domains)):
        judge = _Judge(networks, features, held_out, reals, index, fakes, seed)
        for mode in ("reference", "latent"):
            scores.append(judge.score(mode))
            if progress:
                progress(len(scores), steps)
    return scores


def quick(
    networks: Networks,
    features: MobileNetV2Features,
    held_out: PictureStore,
    reals: PictureStore,
    *,
    fakes: int = 200,
    seed: int = 0,
) -> dict[str, float]:
    """The light protocol's means as flat numbers, for the log of a training run.

    The same pictures, references and latent codes at every call, so that its numbers compare over
    a run. Arguments as of ``score_pictures``.
    """
    means = summary(score_pictures(networks, features, held_out, reals, fakes=fakes, seed=seed))
    return {
        f"light_{name}_{mode}": value
        for mode, scores in means["mean"].items()
        for name, value in scores.items()
        if name not in ("floor", "unedited", "least_covered")
    }


def summary(scores: list[DomainScore]) -> dict:
    """Means over the domains for each mode, and every score, JSON-able."""
    means = {}
    for mode in ("reference", "latent"):
        mine = [s for s in scores if s.mode == mode]
        names = ["distance", "floor", "unedited", "covered", "structure"]
        names += ["retrieval"] if mode == "reference" else []
        means[mode] = {n: round(float(np.mean([getattr(s, n) for s in mine])), 4) for n in names}
        means[mode]["least_covered"] = round(min(s.covered for s in mine), 4)
    return {
        "protocol": "light (MobileNetV2 features; not FID)",
        "mean": means,
        "domains": [dataclasses.asdict(s) for s in scores],
    }


def report_of(
    scores: list[DomainScore], model: Path, held_out: Path, reals: Path, seed: int
) -> dict:
    """The scores in the form of the other protocols' results, for the same report."""
    found = summary(scores)
    with (model / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "protocol": "light",
        "model": {"folder": str(model), "sha256": digest},
        "held_out": str(held_out),
        "reals": str(reals),
        "seed": seed,
        "mean": found["mean"],
        "pairs": [{"target": d["domain"]} | d for d in found["domains"]],
        "summary": found,
    }


class _Judge:
    """Scores the fakes of one target domain."""

    def __init__(
        self,
        networks: Networks,
        features: MobileNetV2Features,
        held_out: PictureStore,
        reals: PictureStore,
        index: int,
        fakes: int,
        seed: int,
    ) -> None:
        self.networks, self.features = networks, features
        self.device = features.mean.device
        self.domain = held_out.domains[index]
        self.label = networks.config.domains.index(self.domain)
        self.random = np.random.default_rng([seed, index])
        random = self.random
        others = [d for d in range(len(held_out.domains)) if d != index]
        picked = random.choice(others, size=fakes)
        self.sources = np.stack(
            [held_out.pictures[d][random.integers(len(held_out.pictures[d]))] for d in picked]
        )
        own = held_out.pictures[index]
        self.references = own[random.integers(len(own), size=fakes)]
        real = reals.pictures[index]
        real = real[random.permutation(len(real))[: 2 * fakes]]
        real_features = self._of_pictures(real)
        half = len(real) // 2
        self.real_features = real_features[:half]
        self.floor = frechet_distance(real_features[half:], self.real_features)
        self.unedited = frechet_distance(self._of_pictures(self.sources), self.real_features)

    @torch.no_grad()
    def score(self, mode: str) -> DomainScore:
        fake_features, structure = [], []
        for start in range(0, len(self.sources), BATCH):
            rows = slice(start, start + BATCH)
            sources = as_tensor(self.sources[rows], self.device)
            fakes = self.networks.generator(sources, self._styles(mode, rows, len(sources)))
            fake_features.append(self.features(fakes))
            structure.append((luminance_structure(fakes) * luminance_structure(sources)).sum(dim=1))
        found = torch.cat(fake_features).cpu().numpy()
        distance = frechet_distance(found, self.real_features)
        return DomainScore(
            domain=self.domain,
            mode=mode,
            fakes=len(found),
            reals=len(self.real_features),
            distance=distance,
            floor=self.floor,
            unedited=self.unedited,
            covered=(self.unedited - distance) / (self.unedited - self.floor),
            structure=float(torch.cat(structure).mean()),
            retrieval=self._retrieval(found) if mode == "reference" else None,
        )

    def _styles(self, mode: str, rows: slice, count: int) -> Tensor:
        domains = torch.full((count,), self.label, device=self.device)
        if mode == "reference":
            return self.networks.style_encoder(
                as_tensor(self.references[rows], self.device), domains
            )
        latents = self.random.standard_normal((count, self.networks.config.latent_size))
        return self.networks.mapping_network(
            torch.from_numpy(latents).float().to(self.device), domains
        )

    def _retrieval(self, fake_features: np.ndarray) -> float:
        reference_features = self._of_pictures(self.references)
        count = len(fake_features)
        distinct = self.references.reshape(count, -1)
        hits = []
        for i in range(count):
            rivals = self.random.permutation(count)
            rivals = [r for r in rivals if not np.array_equal(distinct[r], distinct[i])][:RIVALS]
            gaps = np.linalg.norm(reference_features[[i, *rivals]] - fake_features[i], axis=1)
            hits.append(gaps.argmin() == 0)
        return float(np.mean(hits))

    @torch.no_grad()
    def _of_pictures(self, pictures: np.ndarray) -> np.ndarray:
        batches = [pictures[i : i + BATCH] for i in range(0, len(pictures), BATCH)]
        return torch.cat([self.features(as_tensor(b, self.device)) for b in batches]).cpu().numpy()


def _check_counts(reals: PictureStore, where: str = "") -> None:
    few = [
        f"{domain} ({len(pictures)})"
        for domain, pictures in zip(reals.domains, reals.pictures)
        if len(pictures) < 2 * FEWEST
    ]
    if few:
        what = f"fewer than {2 * FEWEST} real pictures: {', '.join(few)}"
        raise UserError(what, where=where)


def _known(folder: str | Path, networks: Networks):
    folders = scan_domains(folder)
    for domain in folders.domains:
        if domain not in networks.config.domains:
            raise UserError(
                f"the model has no domain '{domain}'",
                where=str(folder),
                fix=did_you_mean(domain, networks.config.domains),
            )
    return folders
