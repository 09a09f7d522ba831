"""An evaluation from its plan to its numbers.

Pairs of domains are independent: each result depends on the plan alone. So they are divided over
ranks, each is written to the output folder as it is done, and an evaluation that was cut goes on
with what is missing.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import facemeld
from facemeld.data.randomness import random_at
from facemeld.data.store import PictureStore, load_pictures
from facemeld.evaluation.cache import cached_features
from facemeld.evaluation.compiled import CompiledGenerator, backend_for
from facemeld.evaluation.distances import FeatureSet
from facemeld.evaluation.fusion_scores import DomainClassifier
from facemeld.evaluation.judges import (
    load_head_geometry,
    load_inception,
    load_lpips,
    load_mobilenet,
)
from facemeld.evaluation.light import DISTANCES, score_of
from facemeld.evaluation.light_plan import FAKES, FEWEST
from facemeld.evaluation.light_target import FileRows, LightJudges, LightTarget
from facemeld.evaluation.pairs import MODES, MOST_NEIGHBOURS, Domain, Judges, PairScorer
from facemeld.evaluation.pictures import as_levels, decode
from facemeld.evaluation.plan import Plan
from facemeld.evaluation.ranks import Ranks, joined_ranks
from facemeld.files import write_whole
from facemeld.fusion.skip_masks import load_masker
from facemeld.networks.bundle import load_model

FORMAT = 1
RESULT = "evaluation.json"
_DECODED = 1024  # real pictures in memory at a time
_REALS = 13  # stream of random_at
_NOT_SCORES = ("source", "target", "mode", "examples", "fakes", "reals")


def run_plan(
    plan: Plan,
    out: Path,
    *,
    progress: Callable[[int, int], object] = lambda done, total: None,
    reals_progress: Callable[[int, int], object] = lambda done, total: None,
    batch: int | None = None,
) -> dict | None:
    """Carries a plan out and writes ``out/evaluation.json``; goes on where it was cut.

    Args:
        plan: see ``make_plan``.
        out: folder; under torchrun one that all ranks reach.
        progress: called with fakes done and fakes in all, of this process.
        reals_progress: before that, of the real pictures that are not in the cache yet.
        batch: sources at a time; by default as many as memory is good for.

    Returns:
        The result with its examples; None in processes that do not lead.
    """
    with joined_ranks() as ranks:
        return _Evaluation(plan, out, ranks, progress, reals_progress, batch).go()


class _Evaluation:
    def __init__(
        self,
        plan: Plan,
        out: Path,
        ranks: Ranks,
        progress: Callable[[int, int], object],
        reals_progress: Callable[[int, int], object],
        batch: int | None,
    ) -> None:
        self.plan, self.out, self.ranks = plan, out, ranks
        self.partial = out / f"partial-{plan.fingerprint}"
        self.progress, self.reals_progress = progress, reals_progress
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        count = len(plan.domains)
        pairs = [(s, t) for t in range(count) for s in range(count) if s != t]
        self.units = [(s, s) for s in range(count)] + pairs
        mine = ranks.share(self.units)
        self.missing = [unit for unit in mine if not self._path(unit).is_file()]
        self.total = sum(map(self._fakes, mine))
        self.done = self.total - sum(map(self._fakes, self.missing))
        self.networks = load_model(plan.model, device=self.device)
        self.size = self.networks.config.image_size
        self.batch = batch or fitting_batch(self.device, self.size)
        masked = self.networks.config.skips == "masked"
        self.masker = load_masker(plan.weights_dir) if masked else None
        self.backend = backend_for(self.device, self._pictures())
        self.generator: CompiledGenerator | None = None
        self.hashes: dict[str, str] = {}
        self.looked = 0
        self.reals: dict[int, FeatureSet] = {}

    def go(self) -> dict | None:
        began = time.monotonic()
        judges = self._judges()
        if self.missing:
            scorer = PairScorer(
                self.networks,
                judges,
                protocol=self.plan.protocol,
                people=self.plan.people,
                outputs=self.plan.outputs,
                seed=self.plan.seed,
                batch=self.batch,
                masker=self.masker,
                generator=self.generator,
                progress=self._advance,
            )
            domains: dict[int, Domain] = {}
            for source, target in self.missing:
                for place in (source, target):
                    if place not in domains:
                        domains[place] = self._domain(place, judges)
                if source == target:
                    found: dict | list = scorer.reconstruction(domains[source])
                    found["light"] = self._light(source, judges)
                else:
                    count = len(self.plan.domains)
                    found = scorer.score(domains[source], domains[target], count)
                self._write(self._path((source, target)), found)
        own = {"seconds": round(time.monotonic() - began, 1), "parts": judges.seconds}
        self._write(self.partial / f"time-{self.ranks.rank}-{time.time_ns()}.json", own)
        self.ranks.wait()
        return self._assemble() if self.ranks.leads else None

    def _advance(self, fakes: int) -> None:
        self.done += fakes
        self.progress(self.done, self.total)

    def _fakes(self, unit: tuple[int, int]) -> int:
        source, target = unit
        if source == target:
            return len(MODES) * FAKES if self._light_takes(target) else 0
        return len(MODES) * self.plan.outputs * len(self.plan.held_out.files[source])

    def _pictures(self) -> int:
        """Fakes and reals that the whole plan looks at, whoever does it and what is left of it."""
        return sum(map(self._fakes, self.units)) + sum(map(len, self.plan.reals.files))

    def _path(self, unit: tuple[int, int]) -> Path:
        return self.partial / f"{unit[0]:03d}-to-{unit[1]:03d}.json"

    def _write(self, path: Path, content: object) -> None:
        text = json.dumps(content, allow_nan=False)
        write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))

    def _judges(self) -> Judges:
        plan, device = self.plan, self.device
        kind = "fid" if plan.protocol == "clean" else "torchvision"
        inception, self.hashes["inception"] = load_inception(kind, device, plan.weights_dir)
        lpips, self.hashes["lpips"] = load_lpips(device, plan.weights_dir)
        light, self.hashes["mobilenet_v2"] = load_mobilenet(device, plan.weights_dir)
        head = None
        if len(plan.people) > 1:
            head, self.hashes["head_geometry"] = load_head_geometry(device, plan.weights_dir)
        judges = Judges(inception, lpips, light, head)
        if self.backend == "openvino":
            with judges.clock("compiling"):
                judges.compile(self.size)
                self.generator = CompiledGenerator(self.networks)
        for place in self.ranks.share(list(range(len(plan.domains)))):
            self._real_features(place, judges, self._look)
        self.ranks.wait()  # the other ranks' share is in the cache now
        rows = [self._light_of_reals(place, judges) for place in range(len(plan.domains))]
        labels = torch.arange(len(rows)).repeat_interleave(torch.tensor([len(r) for r in rows]))
        with judges.clock("domain classifier"):
            features = torch.cat(rows).to(device)
            judges.classifier = DomainClassifier(features, labels.to(device), len(rows))
        return judges

    def _domain(self, place: int, judges: Judges) -> Domain:
        """Decodes the held-out pictures of a domain, and finds their styles."""
        name = self.plan.domains[place]
        with judges.clock("decoding"):
            files = self.plan.held_out.files[place]
            held_out = decode(files, self.size, self.plan.protocol)
        label = self.networks.config.domains.index(name)
        styles, light = [], []
        for levels in self._batches(held_out):
            pictures = levels / 127.5 - 1
            labels = torch.full((len(pictures),), label, device=self.device)
            with judges.clock("style encoder"), torch.inference_mode():
                styles.append(self.networks.style_encoder(pictures, labels))
                light.append(judges.light_features(pictures))
        reals = self._real_features(place, judges)
        return Domain(
            name,
            label,
            place,
            held_out,
            styles=torch.cat(styles),
            light=torch.cat(light),
            reals=reals,
            near=reals.some(MOST_NEIGHBOURS, random_at(self.plan.seed, place, _REALS)),
        )

    @cached_property
    def _pool(self) -> PictureStore:
        return load_pictures(self.plan.pool, self.size)

    def _light_takes(self, place: int) -> bool:
        """Whether the light protocol's distance is measured for this target, too."""
        return self.plan.protocol == "clean" and len(self.plan.reals.files[place]) >= 2 * FEWEST

    def _light(self, place: int, judges: Judges) -> list[dict]:
        """The target's distances by the light protocol; the same numbers as there."""
        if not self._light_takes(place):
            return []
        plan = self.plan
        with judges.clock("light protocol"):
            reals = [FileRows(plan.reals.root, f, self.size) for f in plan.reals.files]
            material = (plan.domains, self._pool.pictures, reals, place, FAKES, plan.seed)
            target = LightTarget(LightJudges(judges.light, self.hashes["mobilenet_v2"]), *material)
            fakes = target.judge(self.networks, judges.classifier, self.masker, self._advance)
        rows = []
        for mode in MODES:
            score = dataclasses.asdict(score_of(target, mode, fakes[mode], judges.classifier))
            rows.append({"target": plan.domains[place], "mode": mode})
            rows[-1] |= {name: score[name] for name in ("fakes", "reals", *DISTANCES)}
        return rows

    def _look(self, pictures: int) -> None:
        self.looked += pictures
        mine = self.ranks.share(list(self.plan.reals.files))
        self.reals_progress(self.looked, sum(map(len, mine)))

    def _real_features(
        self, place: int, judges: Judges, done: Callable[[int], object] = lambda pictures: None
    ) -> FeatureSet:
        if place not in self.reals:
            with judges.clock("real features"):
                found = self._cached(place, "inception", judges.inception_features, done)
                self.reals[place] = FeatureSet(found)
        return self.reals[place]

    def _light_of_reals(self, place: int, judges: Judges) -> Tensor:
        with judges.clock("real features"):
            found = self._cached(
                place,
                "mobilenet_v2",
                lambda levels: judges.light_features(levels / 127.5 - 1),
                lambda pictures: None,
            )
        return torch.from_numpy(found)

    def _cached(
        self,
        place: int,
        network: str,
        features: Callable[[Tensor], Tensor],
        done: Callable[[int], object],
    ) -> np.ndarray:
        plan, files = self.plan, self.plan.reals.files[place]
        content = plan.hashes[f"reals/{plan.domains[place]}"]
        key = (content, self.hashes[network], plan.protocol, str(self.size), str(FORMAT))

        def compute() -> np.ndarray:
            found = []
            for start in range(0, len(files), _DECODED):
                pictures = decode(files[start : start + _DECODED], self.size, plan.protocol)
                for batch in self._batches(pictures):
                    with torch.inference_mode():
                        found.append(features(batch).cpu())
                    done(len(batch))
            return torch.cat(found).numpy()

        return cached_features(key, len(files), compute)

    def _batches(self, pictures: np.ndarray):
        for start in range(0, len(pictures), self.batch):
            yield as_levels(pictures[start : start + self.batch], self.device)

    def _assemble(self) -> dict:
        """All units in one result; the partial files go once it is written."""
        plan = self.plan
        domains, pairs, targets = [], [], []
        for unit in self.units:
            found = json.loads(self._path(unit).read_text(encoding="utf-8"))
            if unit[0] == unit[1]:
                targets += found.pop("light")
                domains.append(found)
            else:
                pairs += found
        times = [json.loads(p.read_text("utf-8")) for p in sorted(self.partial.glob("time-*.json"))]
        parts: dict[str, float] = {}
        for entry in times:
            for part, seconds in entry["parts"].items():
                parts[part] = parts.get(part, 0.0) + seconds
        result = {
            "format": FORMAT,
            "facemeld": facemeld.__version__,
            "protocol": plan.protocol,
            "whole": plan.whole,
            "model": {"folder": str(plan.model), "sha256": plan.hashes["model"]},
            "image_size": self.size,
            "held_out": str(plan.held_out.root),
            "reals": str(plan.reals.root),
            "pictures_sha256": {n: h for n, h in plan.hashes.items() if n != "model"},
            "networks_sha256": self.hashes,
            "outputs": plan.outputs,
            "sources": plan.sources,
            "seed": plan.seed,
            "people": list(plan.people),
            "device": _device_name(self.device),
            "torch": torch.__version__,
            "backend": self.backend,
            "ranks": self.ranks.size,
            "seconds": round(sum(entry["seconds"] for entry in times) / self.ranks.size, 1),
            "seconds_by_part": {part: round(s, 1) for part, s in sorted(parts.items())},
            "fakes": sum(pair["fakes"] for pair in pairs),
            "mean": {mode: _means(pairs, targets, mode) for mode in MODES},
            "domains": domains,
            "targets": targets,
            "pairs": [{k: v for k, v in p.items() if k != "examples"} for p in pairs],
        }
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_whole(self.out / RESULT, lambda partial: partial.write_text(text, encoding="utf-8"))
        for file in self.partial.iterdir():
            file.unlink()
        self.partial.rmdir()
        return result | {"pairs": pairs}


def fitting_batch(device: torch.device, image_size: int) -> int:
    """Sources at a time: what free memory holds on a GPU, what the caches like on a CPU."""
    if device.type == "cpu":
        return 16
    free, _ = torch.cuda.mem_get_info(device)
    picture = 4 * (512 * image_size**2 + 64 * 147**2 * 8)  # widest maps of generator, Inception
    return int(min(256, max(8, free / 2 // picture)))


def _means(pairs: list[dict], targets: list[dict], mode: str) -> dict[str, float]:
    """Mean of each score over the pairs that have it, of the light distances over the targets."""
    found: dict[str, float] = {}
    for rows in (pairs, targets):
        mine = [row for row in rows if row["mode"] == mode]
        for name in dict.fromkeys(name for row in mine for name in row):
            values = [row[name] for row in mine if row.get(name) is not None]
            if name not in _NOT_SCORES and values:
                found[name] = float(np.mean(values))
    if covered := [row["covered"] for row in targets if row["mode"] == mode]:
        found["least_covered"] = min(covered)
    return found


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
