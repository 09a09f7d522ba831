"""One ordered pair of domains: every fake is made once, judged by all networks, and let go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemeld.data.randomness import random_at
from facemeld.errors import UserError
from facemeld.evaluation.compiled import Compiled, CompiledGenerator, compiled_maps
from facemeld.evaluation.distances import (
    FeatureSet,
    density_and_coverage,
    frechet_distance,
    kernel_distance,
)
from facemeld.evaluation.examples import Extremes
from facemeld.evaluation.fusion_scores import (
    DomainClassifier,
    evenness,
    likeness,
    nearer_to_own,
    structure_kept,
)
from facemeld.evaluation.pictures import as_levels, quantised
from facemeld.fusion.skip_masks import Masker
from facemeld.networks.bundle import Networks
from facemeld.networks.head_geometry import HeadGeometryNetwork, angle_between, landmark_shift
from facemeld.networks.inception import InceptionFeatures
from facemeld.networks.layers import unit_rms
from facemeld.networks.lpips import LPIPS, GroupDistance, distance
from facemeld.networks.mobilenet import MobileNetV2Features

MODES = ("latent", "reference")
MOST_NEIGHBOURS = 5000
"""Kernel and neighbourhood scores look at no more fakes or reals than that."""
PATHS, STEPS = 8, 8
"""Interpolation paths a pair, and steps of each."""
_LATENTS, _REFERENCES, _SUBSETS = 10, 11, 12  # streams of random_at


@dataclass
class Judges:
    """Everything that looks at the pictures."""

    inception: InceptionFeatures
    lpips: LPIPS
    light: MobileNetV2Features
    head: HeadGeometryNetwork | None
    classifier: DomainClassifier | None = None
    """Fitted on real pictures once their light features are known."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Where the time goes."""

    def __post_init__(self) -> None:
        self.inception_features: Callable[[Tensor], Tensor] = self.inception.features
        self.light_features: Callable[[Tensor], Tensor] = self.light
        self.maps: Callable[[Tensor], list[Tensor]] = self.lpips.maps

    def compile(self, image_size: int) -> None:
        """Lets OpenVINO compute what is asked of every fake; pictures have this size."""
        side = self.inception.input_size
        run = Compiled(self.inception, torch.zeros(1, 3, side, side))
        self.inception_features = lambda levels: run(self.inception.prepared(levels))
        self.light_features = Compiled(self.light, torch.zeros(1, 3, image_size, image_size))
        self.maps = compiled_maps(self.lpips, image_size)

    @contextmanager
    def clock(self, part: str) -> Iterator[None]:
        """Adds the time spent inside to this part."""
        began = time.monotonic()
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - began


@dataclass(frozen=True)
class Domain:
    """What all pairs with this target share."""

    name: str
    label: int
    """Its index in the model."""
    place: int
    """Its index in the data."""
    held_out: NDArray[np.uint8]
    """N H W 3: sources of the pairs that leave it, references of those that come to it."""
    styles: Tensor
    """N S: styles of ``held_out``."""
    light: Tensor
    """N F: light features of ``held_out``."""
    reals: FeatureSet
    near: FeatureSet
    """``reals``, or some of them where they are more than MOST_NEIGHBOURS."""


@dataclass
class _Collected:
    """Scores of the fakes of one mode."""

    inception: list[Tensor] = field(default_factory=list)
    """Features of the fakes, source by source."""
    per_fake: dict[str, list[Tensor]] = field(default_factory=dict)
    diversity: list[Tensor] = field(default_factory=list)
    extremes: Extremes = field(default_factory=Extremes)

    def add(self, scores: dict[str, Tensor]) -> None:
        for name, values in scores.items():
            self.per_fake.setdefault(name, []).append(values.cpu())


class PairScorer:
    """Scores pairs of domains under one model.

    Args:
        networks: the model, in eval mode.
        judges: see Judges.
        protocol: ``clean`` or ``starganv2``.
        people: domains of people.
        outputs: fakes a source and mode.
        seed: of latent codes, references and subsets.
        batch: sources at a time.
        masker: of models whose skips are masked.
        generator: the model's, where OpenVINO runs it.
        progress: called with the number of fakes done since the last call.
    """

    def __init__(
        self,
        networks: Networks,
        judges: Judges,
        *,
        protocol: str,
        people: tuple[str, ...],
        outputs: int,
        seed: int,
        batch: int,
        masker: Masker | None = None,
        generator: CompiledGenerator | None = None,
        progress: Callable[[int], object] = lambda fakes: None,
    ) -> None:
        self.generator = generator or networks.generator
        self.networks, self.judges = networks, judges
        self.protocol, self.people = protocol, people
        self.outputs, self.seed, self.batch = outputs, seed, batch
        self.masker, self.progress = masker, progress
        self.device = next(networks.parameters()).device

    @torch.inference_mode()
    def score(self, source: Domain, target: Domain, count: int) -> list[dict]:
        """Scores of both modes, JSON-able.

        Args:
            source: whose held-out pictures are changed.
            target: what they are changed into.
            count: number of domains in the data.
        """
        step = source.place * count + target.place
        styles, rows = self._styles(source, target, step)
        heads = source.name in self.people and target.name in self.people
        found = {mode: _Collected() for mode in MODES}
        for start in range(0, len(source.held_out), self.batch):
            part = slice(start, start + self.batch)
            levels = as_levels(source.held_out[part], self.device)
            pictures = levels / 127.5 - 1
            with self.judges.clock("generator"):
                content, masks = self.generator.encode(pictures), self._masks(pictures)
            geometry = self.judges.head(pictures) if heads else None
            for mode in MODES:
                group, features = GroupDistance(), []
                for output in range(self.outputs):
                    with self.judges.clock("generator"):
                        style = styles[mode][part, output]
                        fakes = self.generator.decode(content, style, masks)
                    chosen = rows[part, output] if mode == "reference" else None
                    scores = self._judge(fakes, pictures, target, chosen, group, features)
                    if geometry is not None:
                        scores |= self._heads(geometry, fakes)
                    found[mode].add(scores)
                    shown = None if chosen is None else target.held_out[chosen]
                    found[mode].extremes.add(scores, fakes, source.held_out[part], shown)
                found[mode].inception.append(torch.stack(features, dim=1).flatten(0, 1))
                found[mode].diversity.append(group.mean().cpu())
                self.progress(len(pictures) * self.outputs)
        with self.judges.clock("smoothness"):
            paths = {m: self._paths(source, styles[m]) for m in MODES}
        return [self._summary(source, target, m, found[m], paths[m], step) for m in MODES]

    @torch.inference_mode()
    def reconstruction(self, domain: Domain) -> dict:
        """What is left of the held-out pictures of a domain under their own styles."""
        gaps, light = [], []
        for start in range(0, len(domain.held_out), self.batch):
            part = slice(start, start + self.batch)
            pictures = as_levels(domain.held_out[part], self.device) / 127.5 - 1
            masks = self._masks(pictures)
            content = self.generator.encode(pictures)
            rebuilt = self.generator.decode(content, domain.styles[part], masks)
            shown = quantised(rebuilt) / 127.5 - 1
            gaps.append(distance(self.judges.maps(shown), self.judges.maps(pictures)).cpu())
            light.append(domain.light[part])
        certain = self.judges.classifier.probabilities(torch.cat(light))
        return {
            "domain": domain.name,
            "held_out": len(domain.held_out),
            "reals": len(domain.reals),
            "reconstruction": float(torch.cat(gaps).mean()),
            "domain_accuracy_of_real": float(
                (certain.argmax(dim=1) == domain.place).float().mean()
            ),
        }

    def _styles(
        self, source: Domain, target: Domain, step: int
    ) -> tuple[dict[str, Tensor], NDArray[np.int64]]:
        """Styles of each mode, N outputs S, and which reference each of the second was made from.

        References come without replacement until all were used, then shuffled anew, as the
        official loader gives them.
        """
        size, outputs = len(source.held_out), self.outputs
        random = random_at(self.seed, step, _LATENTS)
        latents = random.standard_normal(
            (size * outputs, self.networks.config.latent_size), dtype=np.float32
        )
        labels = torch.full((len(latents),), target.label, device=self.device)
        mapped = self.networks.mapping_network(torch.from_numpy(latents).to(self.device), labels)
        random = random_at(self.seed, step, _REFERENCES)
        pool = len(target.held_out)
        shuffles = [random.permutation(pool) for _ in range(-(-size * outputs // pool))]
        rows = np.concatenate(shuffles)[: size * outputs].reshape(outputs, size).T
        encoded = target.styles[torch.from_numpy(rows.copy()).to(self.device)]
        return {"latent": mapped.view(size, outputs, -1), "reference": encoded}, rows

    def _judge(
        self,
        fakes: Tensor,
        sources: Tensor,
        target: Domain,
        chosen: NDArray[np.int64] | None,
        group: GroupDistance,
        features: list[Tensor],
    ) -> dict[str, Tensor]:
        """Scores of each fake; what is compared later goes into ``group`` and ``features``."""
        judges = self.judges
        if not torch.isfinite(fakes).all():
            raise UserError(
                f"the model makes values that are not finite ({target.name})",
                fix="a run that diverged has no scores; evaluate an earlier checkpoint",
            )
        levels = quantised(fakes)
        saved = levels / 127.5 - 1
        with judges.clock("inception"):
            features.append(judges.inception_features(levels).cpu())
        with judges.clock("lpips"):
            # the official code measures diversity before pictures are clamped and saved
            group.add(judges.maps(fakes if self.protocol == "starganv2" else saved))
        with judges.clock("fusion scores"):
            light = judges.light_features(saved)
            certain = judges.classifier.probabilities(light)
            scores = {
                "structure": structure_kept(saved, sources),
                "domain_probability": certain[:, target.place],
                "right_domain": (certain.argmax(dim=1) == target.place).float(),
            }
            if chosen is not None:
                rows = torch.from_numpy(chosen.copy()).to(self.device)
                scores["likeness"] = likeness(light, rows, target.light)
                scores["nearer_to_own"] = nearer_to_own(light, rows, target.light)
        return scores

    def _masks(self, pictures: Tensor) -> Tensor | None:
        """Masks of the skips of masked models. B 3 H W -> B 2 H W"""
        return None if self.masker is None else self.masker(pictures)

    def _heads(self, sources, fakes: Tensor) -> dict[str, Tensor]:
        found = self.judges.head(quantised(fakes) / 127.5 - 1)
        return {
            "pose_degrees": angle_between(sources.rotation, found.rotation),
            "landmark_shift": landmark_shift(sources.landmarks, found.landmarks),
        }

    def _paths(self, source: Domain, styles: Tensor) -> float | None:
        """Mean evenness of paths between the first two styles of some sources."""
        ends = styles[:PATHS]
        pictures = as_levels(source.held_out[:PATHS], self.device) / 127.5 - 1
        content, masks = self.generator.encode(pictures), self._masks(pictures)
        before, steps = None, []
        for share in torch.linspace(0, 1, STEPS + 1):
            style = torch.lerp(ends[:, 0], ends[:, 1], float(share))
            if self.networks.config.unit_styles:
                style = unit_rms(style)
            fakes = self.generator.decode(content, style, masks)
            maps = self.judges.maps(fakes)
            if before is not None:
                steps.append(distance(before, maps))
            before = maps
        found = evenness(torch.stack(steps, dim=1))
        found = found[~found.isnan()]
        return float(found.mean()) if len(found) else None

    def _summary(
        self,
        source: Domain,
        target: Domain,
        mode: str,
        found: _Collected,
        smoothness: float | None,
        step: int,
    ) -> dict:
        fakes = FeatureSet(torch.cat(found.inception).numpy())
        scores: dict = {"source": source.name, "target": target.name, "mode": mode}
        scores |= {"fakes": len(fakes), "reals": len(target.reals)}
        with self.judges.clock("distances"):
            scores["fid"] = frechet_distance(fakes, target.reals)
            if self.protocol == "clean":
                random = random_at(self.seed, 2 * step + MODES.index(mode), _SUBSETS)
                some = fakes.some(MOST_NEIGHBOURS, random)
                kid = kernel_distance(some, target.near, random)
                scores["kid"], scores["kid_deviation"] = kid
                scores["density"], scores["coverage"] = density_and_coverage(some, target.near)
        scores["diversity"] = float(torch.cat(found.diversity).mean())
        means = {name: float(torch.cat(values).mean()) for name, values in found.per_fake.items()}
        means["domain_accuracy"] = means.pop("right_domain")
        scores |= means | {"smoothness": smoothness, "examples": found.extremes.packed()}
        return scores
