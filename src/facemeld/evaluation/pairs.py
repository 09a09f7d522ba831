"""One ordered pair of domains: every fake is made once, judged by all networks, and let go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemeld.data.randomness import random_at
from facemeld.evaluation.compiled import FakesGenerator
from facemeld.evaluation.distances import (
    FeatureSet,
    density_and_coverage,
    frechet_distance,
    kernel_distance,
)
from facemeld.evaluation.examples import extremes_of
from facemeld.evaluation.fusion_scores import evenness
from facemeld.evaluation.judges import Judges
from facemeld.evaluation.layouts import Layouts, numbers_of
from facemeld.evaluation.pictures import as_levels, quantised, saved_levels
from facemeld.evaluation.scorer import (
    MODES,
    Clock,
    Collected,
    Critics,
    References,
    Sources,
    look_at_sources,
    score_fakes,
)
from facemeld.evaluation.unfinished import NOTHING_KEPT, Unfinished
from facemeld.fusion.skip_masks import Masker
from facemeld.networks.bundle import Networks
from facemeld.networks.layers import unit_rms
from facemeld.networks.lpips import GroupDistance, distance

MOST_NEIGHBOURS = 5000
"""Kernel and neighbourhood scores look at no more fakes or reals than that."""
PATHS, STEPS = 8, 8
"""Interpolation paths a pair, and steps of each; few sources have a path for every eight."""
KEPT = 32
"""Sources whose fakes are judged before they are kept."""
_LATENTS, _REFERENCES, _SUBSETS, _REALS = 10, 11, 12, 13  # streams of random_at


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
    light: Tensor | None
    """N F: light features of ``held_out``; None where fusion is not scored."""
    reals: FeatureSet
    near: FeatureSet
    """``reals``, or some of them where they are more than MOST_NEIGHBOURS."""


@dataclass(frozen=True)
class _Pair:
    """What its fakes are made from."""

    source: Domain
    target: Domain
    step: int
    """Of the streams of random numbers."""
    styles: dict[str, Tensor]
    """Of each mode, N outputs S."""
    rows: NDArray[np.int64]
    """N outputs: the reference of each style."""
    others: Layouts | None
    """What the layouts of sources are compared with."""


class PairScorer:
    """Scores pairs of domains under one model.

    Args:
        networks: the model, in eval mode.
        judges: see Judges.
        critics: of fusion; None where only distances are wanted.
        others: of fusion: layouts of some pictures of all domains; see ``layouts``.
        protocol: ``clean`` or ``starganv2``.
        people: domains of people.
        outputs: fakes a source and mode.
        seed: of latent codes, references and subsets.
        batch: sources at a time.
        masker: of models whose skips are masked.
        generator: what makes the fakes; the model's own if not given.
        clock: told where the time goes.
        progress: called with the number of fakes done since the last call.
    """

    def __init__(
        self,
        networks: Networks,
        judges: Judges,
        critics: Critics | None = None,
        others: Layouts | None = None,
        *,
        protocol: str,
        people: tuple[str, ...],
        outputs: int,
        seed: int,
        batch: int,
        masker: Masker | None = None,
        generator: FakesGenerator | None = None,
        clock: Clock | None = None,
        progress: Callable[[int], object] = lambda fakes: None,
    ) -> None:
        self.generator = generator or networks.generator
        self.networks, self.judges, self.critics, self.others = networks, judges, critics, others
        self.protocol, self.people = protocol, people
        self.outputs, self.seed, self.batch = outputs, seed, batch
        self.masker, self.progress, self.clock = masker, progress, clock or Clock()
        self.device = next(networks.parameters()).device

    @torch.inference_mode()
    def domain(
        self, name: str, place: int, held_out: NDArray[np.uint8], reals: FeatureSet
    ) -> Domain:
        """What all pairs with a domain share: styles and features of its held-out pictures."""
        label = self.networks.config.domains.index(name)
        styles, light = [], []
        for levels in self._batches(held_out):
            pictures = levels / 127.5 - 1
            labels = torch.full((len(pictures),), label, device=self.device)
            with self.clock("style encoder"):
                styles.append(self.networks.style_encoder(pictures, labels))
            if self.critics:
                with self.clock("fusion scores"):
                    light.append(self.critics.look(pictures)[0])
        return Domain(
            name,
            label,
            place,
            held_out,
            styles=torch.cat(styles),
            light=torch.cat(light) if light else None,
            reals=reals,
            near=reals.some(MOST_NEIGHBOURS, random_at(self.seed, place, _REALS)),
        )

    @torch.inference_mode()
    def score(
        self,
        source: Domain,
        target: Domain,
        count: int,
        kept: Unfinished = NOTHING_KEPT,
        told: Callable[[], object] = lambda: None,
    ) -> list[dict]:
        """Scores of both modes, JSON-able.

        Args:
            source: whose held-out pictures are changed.
            target: what they are changed into.
            count: number of domains in the data.
            kept: where the fakes' scores are kept, some sources at a time, and looked for first.
            told: called after each part that was put there.
        """
        pair = self._pair(source, target, count)
        name, parts, start = pair_name(source.place, target.place), [], 0
        stops = dict(kept_fakes(kept, name))
        while start < len(source.held_out):
            stop = stops.get(start, min(start + max(KEPT, self.batch), len(source.held_out)))
            part = f"{name}-{start:06d}-{stop:06d}"
            found = kept.get_arrays(part)
            if found is None:
                found = self._fakes(pair, start, stop)
                kept.put_arrays(part, found)
                told()
            parts.append(found)
            start = stop
        return [self._summary(pair, mode, parts) for mode in MODES]

    @torch.inference_mode()
    def reconstruction(self, domain: Domain) -> dict:
        """What is left of the held-out pictures of a domain under their own styles."""
        gaps = []
        for start in range(0, len(domain.held_out), self.batch):
            part = slice(start, start + self.batch)
            pictures = as_levels(domain.held_out[part], self.device) / 127.5 - 1
            with self.clock("generator"):
                content, masks = self.generator.encode(pictures), self._masks(pictures)
                rebuilt = self.generator.decode(content, domain.styles[part], masks)
            with self.clock("lpips"):
                maps = [self.judges.maps(x) for x in (quantised(rebuilt) / 127.5 - 1, pictures)]
                gaps.append(distance(*maps).cpu())
        certain = self.critics.classifier.probabilities(domain.light)
        return {
            "domain": domain.name,
            "held_out": len(domain.held_out),
            "reals": len(domain.reals),
            "reconstruction": float(torch.cat(gaps).mean()),
            "domain_accuracy_of_real": float(
                (certain.argmax(dim=1) == domain.place).float().mean()
            ),
        }

    def _pair(self, source: Domain, target: Domain, count: int) -> _Pair:
        """Styles and references of all its fakes.

        References come without replacement until all were used, then shuffled anew, as the
        official loader gives them.
        """
        step = source.place * count + target.place
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
        styles = {"latent": mapped.view(size, outputs, -1), "reference": encoded}
        others = self.others and self.others.without(target.place)
        return _Pair(source, target, step, styles, rows, others)

    def _fakes(self, pair: _Pair, start: int, stop: int) -> dict[str, NDArray]:
        """All fakes of some sources, in both modes: what the networks say of them."""
        source, target = pair.source, pair.target
        found = {mode: Collected() for mode in MODES}
        for first in range(start, stop, self.batch):
            part = slice(first, min(first + self.batch, stop))
            shown = source.held_out[part]
            pictures = as_levels(shown, self.device) / 127.5 - 1
            with self.clock("generator"):
                content, masks = self.generator.encode(pictures), self._masks(pictures)
            sources = self._sources(pair, pictures, first) if self.critics else None
            places = np.full(len(pictures), source.place)
            for mode in MODES:
                group, features = GroupDistance(), []
                for output in range(self.outputs):
                    with self.clock("generator"):
                        style = pair.styles[mode][part, output]
                        fakes = self.generator.decode(content, style, masks)
                    saved = self._measured(fakes, target, group, features)
                    if sources is not None:
                        chosen = pair.rows[part, output] if mode == "reference" else None
                        with self.clock("fusion scores"):
                            scores = self._scores(saved, sources, target, chosen)
                            beside = [] if chosen is None else [target.held_out[chosen]]
                            found[mode].add(scores, saved, [shown, *beside], places)
                whole = torch.stack(features, dim=1).flatten(0, 1)  # source by source
                found[mode].keep("inception", whole.numpy())
                found[mode].keep("diversity", group.mean().cpu().numpy())
                self.progress(len(pictures) * self.outputs)
        return _packed(found)

    def _measured(
        self, fakes: Tensor, target: Domain, group: GroupDistance, features: list[Tensor]
    ) -> Tensor:
        """What distances need goes into ``group`` and ``features``. -> the fakes as saved"""
        levels = saved_levels(fakes, target.name)
        saved = levels / 127.5 - 1
        with self.clock("inception"):
            features.append(self.judges.inception_features(levels).cpu())
        with self.clock("lpips"):
            # the official code measures diversity before pictures are clamped and saved
            group.add(self.judges.maps(fakes if self.protocol == "starganv2" else saved))
        return saved

    def _sources(self, pair: _Pair, pictures: Tensor, first: int) -> Sources:
        """What fusion scores need of a batch of sources."""
        numbers = numbers_of(pair.source.place, np.arange(first, first + len(pictures)))
        both = pair.source.name in self.people and pair.target.name in self.people
        everyone = torch.ones(len(pictures), dtype=torch.bool, device=self.device)
        with self.clock("fusion scores"):
            return look_at_sources(
                self.critics,
                pictures,
                numbers.to(self.device),
                others=pair.others,
                people=everyone if both else None,
            )

    def _scores(
        self, saved: Tensor, sources: Sources, target: Domain, chosen: NDArray[np.int64] | None
    ) -> dict[str, Tensor]:
        references = None
        if chosen is not None:
            references = References(target.light, torch.from_numpy(chosen.copy()).to(self.device))
        return score_fakes(self.critics, saved, sources, target.place, references)[1]

    def _masks(self, pictures: Tensor) -> Tensor | None:
        """Masks of the skips of masked models. B 3 H W -> B 2 H W"""
        return None if self.masker is None else self.masker(pictures)

    def _paths(self, source: Domain, styles: Tensor) -> float | None:
        """Mean evenness of paths between the first two styles of some sources."""
        count = min(PATHS, max(2, len(source.held_out) // 8))
        ends = styles[:count]
        pictures = as_levels(source.held_out[:count], self.device) / 127.5 - 1
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

    def _summary(self, pair: _Pair, mode: str, parts: list[dict[str, NDArray]]) -> dict:
        source, target = pair.source, pair.target
        whole, examples = _unpacked(parts, mode)
        fakes, diversity = FeatureSet(whole.pop("inception")), whole.pop("diversity")
        scores: dict = {"source": source.name, "target": target.name, "mode": mode}
        scores |= {"fakes": len(fakes), "reals": len(target.reals)}
        with self.clock("distances"):
            scores["fid"] = frechet_distance(fakes, target.reals)
            if self.protocol == "clean":
                random = random_at(self.seed, 2 * pair.step + (mode == "reference"), _SUBSETS)
                some = fakes.some(MOST_NEIGHBOURS, random)
                kid = kernel_distance(some, target.near, random)
                scores["kid"], scores["kid_deviation"] = kid
                scores["density"], scores["coverage"] = density_and_coverage(some, target.near)
        scores["diversity"] = float(diversity.mean(dtype=np.float64))
        if not self.critics:
            return scores
        scores |= {name: float(v.mean(dtype=np.float64)) for name, v in sorted(whole.items())}
        with self.clock("smoothness"):
            scores["smoothness"] = self._paths(source, pair.styles[mode])
        return scores | {"examples": examples}

    def _batches(self, pictures: NDArray[np.uint8]) -> Iterator[Tensor]:
        for start in range(0, len(pictures), self.batch):
            yield as_levels(pictures[start : start + self.batch], self.device)


def pair_name(source: int, target: int) -> str:
    """Of its parts and its result."""
    return f"{source:03d}-to-{target:03d}"


def kept_fakes(kept: Unfinished, name: str) -> list[tuple[int, int]]:
    """First and last source, the latter not included, of the parts that are kept of a pair."""
    found: list[tuple[int, int]] = []
    for part in kept.names(f"{name}-"):
        start, stop = map(int, part.split("-")[-2:])
        if start == (found[-1][1] if found else 0):
            found.append((start, stop))
    return found


def _packed(found: dict[str, Collected]) -> dict[str, NDArray]:
    """Arrays by mode and name; examples as the bytes of JSON."""
    arrays = {f"{m}/{n}": v for m, mine in found.items() for n, v in mine.whole().items()}
    for mode, mine in found.items():
        examples = extremes_of(extremes.packed() for extremes in mine.extremes.values())
        arrays[f"{mode}/examples"] = np.frombuffer(json.dumps(examples).encode(), np.uint8)
    return arrays


def _unpacked(parts: list[dict[str, NDArray]], mode: str) -> tuple[dict[str, NDArray], dict]:
    """All rows of each name, and the best and the worst examples."""
    mine = [{n.split("/")[1]: v for n, v in p.items() if n.startswith(f"{mode}/")} for p in parts]
    examples = extremes_of(json.loads(part.pop("examples").tobytes()) for part in mine)
    return {name: np.concatenate([part[name] for part in mine]) for name in mine[0]}, examples
