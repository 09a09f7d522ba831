"""One target domain of the light protocol: sources, references and reals, drawn from the seed."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
from facemeld.evaluation.examples import Extremes
from facemeld.evaluation.fusion_scores import (
    DomainClassifier,
    layout_kept,
    likeness,
    nearer_to_own,
    structure_kept,
)
from facemeld.fusion.skip_masks import Masker
from facemeld.networks.bundle import Networks
from facemeld.networks.head_geometry import HeadGeometryNetwork, angle_between
from facemeld.networks.mobilenet import MobileNetV2Features

MODES = ("reference", "latent")
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
    """Measures head pose between domains of people."""
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
    ) -> dict[str, Fakes]:
        """The fakes of both modes; every source is encoded once.

        Args:
            networks: the model, on the judges' device.
            classifier: of the domains.
            masker: of models whose skips are masked.
            progress: called with the number of fakes done since the last call.
        """
        label = networks.config.domains.index(self.name)
        codes = self._latent_codes(networks.config.latent_size)
        found = {mode: _Collected() for mode in MODES}
        for start in range(0, len(self.sources), BATCH):
            rows = slice(start, start + BATCH)
            shown = self._source_pictures(rows)
            references = self.own[self.references[rows]]
            sources = as_tensor(shown, self.judges.device)
            labels = torch.full((len(sources),), label, device=self.judges.device)
            content = networks.generator.encode(sources)
            masks = None if masker is None else masker(sources)
            layouts = self.judges.features.with_layout(sources)[1]
            styles = {
                "reference": networks.style_encoder(
                    as_tensor(references, self.judges.device), labels
                ),
                "latent": networks.mapping_network(codes[rows], labels),
            }
            for mode, style in styles.items():
                fakes = networks.generator.decode(content, style, masks)
                features, fake_layouts = self.judges.features.with_layout(fakes)
                scores = self._scores(mode, rows, sources, fakes, features, classifier)
                scores["layout_kept"] = layout_kept(
                    fake_layouts, layouts, self._source_numbers(rows)
                )
                found[mode].add(features, scores)
                beside = references if mode == "reference" else None
                for place in np.unique(self.sources[rows]):
                    which = np.flatnonzero(self.sources[rows] == place)
                    found[mode].extremes.setdefault(place, Extremes()).add(
                        {name: values[which] for name, values in scores.items()},
                        fakes[which],
                        shown[which],
                        None if beside is None else beside[which],
                    )
                progress(len(sources))
        return {mode: self._together(mode, found[mode]) for mode in MODES}

    def accuracy_of_real(self, classifier: DomainClassifier) -> float:
        """Share of the target's own held-out pictures that the classifier knows."""
        features = torch.from_numpy(self.own_features).to(self.judges.device)
        taken = classifier.probabilities(features).argmax(dim=1)
        return float((taken == self.index).float().mean())

    def _scores(
        self,
        mode: str,
        rows: slice,
        sources: Tensor,
        fakes: Tensor,
        features: Tensor,
        classifier: DomainClassifier,
    ) -> dict[str, Tensor]:
        certain = classifier.probabilities(features)
        found = {
            "structure": structure_kept(fakes, sources),
            "domain_probability": certain[:, self.index],
            "domain_accuracy": (certain.argmax(dim=1) == self.index).float(),
        }
        if mode == "reference":
            own = torch.from_numpy(self.own_features).to(features)
            references = torch.from_numpy(self.references[rows]).to(features.device)
            found["likeness"] = likeness(features, references, own)
            found["nearer_to_own"] = nearer_to_own(features, references, own)
        if self.judges.head is not None and self.name in self.judges.people:
            found["pose_degrees"] = self._turned(rows, sources, fakes)
        return found

    def _turned(self, rows: slice, sources: Tensor, fakes: Tensor) -> Tensor:
        """Degrees between the heads of sources and fakes; nan where a source is no person. -> B"""
        names = [self.domains[place] for place in self.sources[rows]]
        person = torch.tensor([name in self.judges.people for name in names])
        degrees = torch.full((len(names),), torch.nan)
        if person.any():
            which = person.to(sources.device)
            before, after = (self.judges.head(x[which].clamp(-1, 1)) for x in (sources, fakes))
            degrees[person] = angle_between(before.rotation, after.rotation).float().cpu()
        return degrees

    def _together(self, mode: str, found: _Collected) -> Fakes:
        features = torch.cat(found.features).numpy()
        scores = {name: torch.cat(parts).double().numpy() for name, parts in found.scores.items()}
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


@dataclass
class _Collected:
    """Of the fakes of one mode, batch by batch."""

    features: list[Tensor] = field(default_factory=list)
    scores: dict[str, list[Tensor]] = field(default_factory=dict)
    extremes: dict[int, Extremes] = field(default_factory=dict)
    """By the domain of the source."""

    def add(self, features: Tensor, scores: dict[str, Tensor]) -> None:
        self.features.append(features.cpu())
        for name, values in scores.items():
            self.scores.setdefault(name, []).append(values.cpu())
