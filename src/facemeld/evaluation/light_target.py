"""One target domain of the light protocol: sources, references and reals, drawn from the seed."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemeld.data.folders import DomainFolders
from facemeld.data.sampling import as_tensor
from facemeld.data.store import load_pictures
from facemeld.evaluation.cache import cached_features
from facemeld.evaluation.distances import frechet_distance
from facemeld.evaluation.fusion_scores import DomainClassifier
from facemeld.evaluation.pictures import saved_levels
from facemeld.evaluation.scorer import (
    MODES,
    Clock,
    Collected,
    Critics,
    References,
    look_at_sources,
    score_fakes,
)
from facemeld.fusion.skip_masks import Masker
from facemeld.networks.bundle import Networks
from facemeld.networks.head_geometry import HeadGeometryNetwork
from facemeld.networks.mobilenet import MobileNetV2Features

BATCH = 16  # larger ones leave a processor's caches, and cost it page faults
RIVALS = 3


class Rows(Protocol):
    """Pictures of one domain, of which only those asked for need to be in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pictures of these rows, N H W 3."""
        ...


class FileRows:
    """Pictures in files, decoded as training decodes them when they are asked for."""

    def __init__(self, root: Path, files: tuple[Path, ...], image_size: int) -> None:
        self.root, self.files, self.image_size = root, files, image_size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        chosen = tuple(self.files[row] for row in rows)
        folders = DomainFolders(self.root, (self.root.name,), (chosen,))
        return load_pictures(folders, self.image_size).pictures[0]


@dataclass(frozen=True)
class LightJudges:
    """What looks at the fakes of the light protocol."""

    features: MobileNetV2Features
    sha256: str
    """Of the weights of ``features``."""
    head: HeadGeometryNetwork | None = None
    """Measures head pose and landmarks between domains of people."""
    people: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        return self.features.mean.device

    @torch.no_grad()
    def features_of(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """N H W 3 -> N F, from the cache on disk where it has them."""
        content = hashlib.sha256(np.ascontiguousarray(pictures)).hexdigest()
        key = ("light", content, str(pictures.shape), self.sha256, str(self.features.input_size))

        def compute() -> NDArray[np.float32]:
            batches = [pictures[i : i + BATCH] for i in range(0, len(pictures), BATCH)]
            found = [self.features(as_tensor(b, self.device)).cpu() for b in batches]
            return torch.cat(found).numpy()

        return cached_features(key, len(pictures), compute)


@dataclass(frozen=True)
class Fakes:
    """What is known of the fakes of one target and mode."""

    features: NDArray[np.float32]
    """N F."""
    scores: dict[str, NDArray[np.float64]]
    """N values of each score; nan where a fake has none."""
    sources: NDArray[np.int64]
    """N: the domain that each was made from."""
    examples: dict[int, dict]
    """Best and worst of those made from each domain."""


class LightTarget:
    """The material of one target, and how the fakes score that a model makes of it.

    Args:
        judges: see LightJudges.
        domains: names of all domains of the data.
        held_out, reals: pictures of each domain.
        index: of the target in ``domains``.
        fakes: a mode; at most twice as many reals are used.
        seed: of the choice of pictures and of the latent codes.
    """

    def __init__(
        self,
        judges: LightJudges,
        domains: tuple[str, ...],
        held_out: Sequence[NDArray[np.uint8]],
        reals: Sequence[Rows],
        index: int,
        fakes: int,
        seed: int,
    ) -> None:
        self.judges, self.domains, self.index = judges, domains, index
        self.held_out, self.own = held_out, held_out[index]
        random = np.random.default_rng([seed, index])
        others = [d for d in range(len(domains)) if d != index]
        self.sources = random.choice(others, size=fakes)
        self.rows = np.array([random.integers(len(held_out[d])) for d in self.sources])
        self.references = random.integers(len(self.own), size=fakes)
        chosen = random.permutation(len(reals[index]))[: 2 * fakes]
        self.all_real_features = judges.features_of(reals[index][chosen])
        half = len(chosen) // 2
        self.real_features = self.all_real_features[:half]
        self.floor = frechet_distance(self.all_real_features[half:], self.real_features)
        untouched = judges.features_of(self._source_pictures(slice(None)))
        self.unedited = frechet_distance(untouched, self.real_features)
        self.own_features = judges.features_of(self.own)
        self.rivals = [self._rivals(random, row) for row in self.references]
        self._random = random  # what comes of it now belongs to the latent codes

    @property
    def name(self) -> str:
        """Of the domain."""
        return self.domains[self.index]

    @torch.no_grad()
    def judge(
        self,
        networks: Networks,
        classifier: DomainClassifier,
        masker: Masker | None,
        progress: Callable[[int], object],
        clock: Clock | None = None,
    ) -> dict[str, Fakes]:
        """The fakes of both modes; every source is encoded once.

        Args:
            networks: the model, on the judges' device.
            classifier: of the domains.
            masker: of models whose skips are masked.
            progress: called with the number of fakes done since the last call.
            clock: told where the time goes.

        Raises:
            UserError: results that are not finite.
        """
        judges, clock = self.judges, clock or Clock()
        label = networks.config.domains.index(self.name)
        codes = self._latent_codes(networks.config.latent_size)
        own = torch.from_numpy(self.own_features).to(judges.device)
        head = judges.head if self.name in judges.people else None
        critics = Critics(judges.features.with_layout, classifier, head)
        found = {mode: Collected() for mode in MODES}
        for start in range(0, len(self.sources), BATCH):
            rows = slice(start, start + BATCH)
            shown = [self._source_pictures(rows), self.own[self.references[rows]]]
            pictures, references = (as_tensor(p, judges.device) for p in shown)
            labels = torch.full((len(pictures),), label, device=judges.device)
            with clock("generator"):
                content = networks.generator.encode(pictures)
                masks = None if masker is None else masker(pictures)
                styles = {
                    "reference": networks.style_encoder(references, labels),
                    "latent": networks.mapping_network(codes[rows], labels),
                }
            with clock("fusion scores"):
                sources = look_at_sources(
                    critics, pictures, self._source_numbers(rows), people=self._people(rows)
                )
            for mode in MODES:
                with clock("generator"):
                    made = networks.generator.decode(content, styles[mode], masks)
                    fakes = saved_levels(made, self.name) / 127.5 - 1
                with clock("fusion scores"):
                    chosen = torch.from_numpy(self.references[rows]).to(judges.device)
                    followed = References(own, chosen) if mode == "reference" else None
                    features, scores = score_fakes(critics, fakes, sources, self.index, followed)
                    found[mode].keep("features", features.cpu().numpy())
                    beside = shown if followed else shown[:1]
                    found[mode].add(scores, fakes, beside, self.sources[rows])
                progress(len(fakes))
        return {mode: self._together(mode, found[mode]) for mode in MODES}

    def accuracy_of_real(self, classifier: DomainClassifier) -> float:
        """Share of the target's own held-out pictures that the classifier knows."""
        features = torch.from_numpy(self.own_features).to(self.judges.device)
        taken = classifier.probabilities(features).argmax(dim=1)
        return float((taken == self.index).float().mean())

    def _people(self, rows: slice) -> Tensor:
        """Which sources are people. -> B bool"""
        places = [place for place, name in enumerate(self.domains) if name in self.judges.people]
        return torch.from_numpy(np.isin(self.sources[rows], places)).to(self.judges.device)

    def _together(self, mode: str, found: Collected) -> Fakes:
        whole = found.whole()
        features = whole.pop("features")
        scores = {name: values.astype(np.float64) for name, values in whole.items()}
        if mode == "reference":
            scores["retrieval"] = self._retrieval(features)
        examples = {place: extremes.packed() for place, extremes in found.extremes.items()}
        return Fakes(features, scores, self.sources, examples)

    def _retrieval(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Whether each fake is nearer to its own reference than to its rivals."""
        hits = []
        for fake, own, rivals in zip(features, self.references, self.rivals, strict=True):
            gaps = np.linalg.norm(self.own_features[[own, *rivals]] - fake, axis=1)
            hits.append(gaps.argmin() == 0)
        return np.array(hits, np.float64)

    def _rivals(self, random: np.random.Generator, own: int) -> list[int]:
        """References that other fakes were made from."""
        drawn = self.references[random.permutation(len(self.references))]
        return [int(row) for row in drawn if row != own][:RIVALS]

    def _latent_codes(self, size: int) -> Tensor:
        """The same at every call. -> N Z"""
        codes = copy.deepcopy(self._random).standard_normal((len(self.sources), size))
        return torch.from_numpy(codes).float().to(self.judges.device)

    def _source_numbers(self, rows: slice) -> Tensor:
        """A number for each source picture. -> N int64"""
        first = np.cumsum([0, *map(len, self.held_out)])
        return torch.from_numpy(first[self.sources[rows]] + self.rows[rows]).to(self.judges.device)

    def _source_pictures(self, rows: slice) -> NDArray[np.uint8]:
        """N H W 3"""
        chosen = zip(self.sources[rows], self.rows[rows], strict=True)
        return np.stack([self.held_out[place][row] for place, row in chosen])
