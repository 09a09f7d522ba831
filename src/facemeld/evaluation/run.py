"""An evaluation from its plan to its numbers.

Pairs of domains are independent: each result depends on the plan alone. So they are divided over
ranks, each is written to the output folder as it is done, its fakes some sources at a time, and an
evaluation that was cut goes on with what is missing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from facemeld.data.store import PictureStore, load_pictures
from facemeld.evaluation.compiled import backend_for, generator_of
from facemeld.evaluation.judges import Judges, load_judges
from facemeld.evaluation.layouts import layouts_of, rows_of_others
from facemeld.evaluation.light import DISTANCES, score_of
from facemeld.evaluation.light_plan import FAKES, FEWEST
from facemeld.evaluation.light_target import FileRows, LightJudges, LightTarget
from facemeld.evaluation.pairs import Domain, PairScorer, kept_fakes, pair_name
from facemeld.evaluation.pictures import decode
from facemeld.evaluation.plan import Plan
from facemeld.evaluation.ranks import Ranks, joined_ranks
from facemeld.evaluation.reals import Reals
from facemeld.evaluation.result import result_of
from facemeld.evaluation.scorer import MODES, Clock, Critics
from facemeld.evaluation.unfinished import Session, Unfinished
from facemeld.files import write_whole
from facemeld.fusion.skip_masks import load_masker
from facemeld.networks.bundle import load_model

RESULT = "evaluation.json"
Progress = Callable[[int, int], object]


def run_plan(
    plan: Plan,
    out: Path,
    *,
    progress: Progress = lambda done, total: None,
    reals_progress: Progress = lambda done, total: None,
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
        evaluation = _Evaluation(plan, out, ranks, progress, batch)
        evaluation.measure(reals_progress)
        ranks.wait()
        return evaluation.finish() if ranks.leads else None


class _Evaluation:
    """One process's share of a plan: pairs of domains, and each domain with itself."""

    def __init__(
        self, plan: Plan, out: Path, ranks: Ranks, progress: Progress, batch: int | None
    ) -> None:
        self.plan, self.out, self.ranks, self.progress = plan, out, ranks, progress
        self.parts = Unfinished(out / f"partial-{plan.fingerprint}", needed=True)
        self.session = Session(self.parts, ranks.rank)
        self.clock = Clock(self.session.seconds_by_part)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        count = len(plan.domains)
        pairs = [(s, t) for t in range(count) for s in range(count) if s != t]
        self.units = [*((s, s) for s in range(count) if plan.fusion), *pairs]
        mine = ranks.share(self.units)
        self.missing = [unit for unit in mine if self.parts.get(pair_name(*unit)) is None]
        self.total = sum(map(self._fakes, mine))
        self.done = self.total - sum(map(self._fakes_missing, self.missing))
        self.networks = load_model(plan.model, device=self.device)
        self.size = self.networks.config.image_size
        self.batch = batch or fitting_batch(self.device, self.size)
        self.backend = backend_for(self.device, self._pictures())

    def measure(self, reals_progress: Progress) -> None:
        """What is missing of this process's share."""
        plan, clock = self.plan, self.clock
        masked = self.networks.config.skips == "masked"
        masker = load_masker(plan.weights_dir) if masked else None
        judges = load_judges(
            plan.protocol,
            self.device,
            plan.weights_dir,
            fusion=plan.fusion,
            heads=len(plan.people) > 1,
        )
        with clock("compiling"):
            generator = generator_of(self.networks, self.backend, plan.precision)
            if self.backend == "openvino":
                judges.compile(self.size)
        reals = Reals(
            plan,
            judges,
            image_size=self.size,
            batch=self.batch,
            device=self.device,
            clock=clock,
        )
        reals.look(self.ranks, reals_progress)
        critics = others = None
        if plan.fusion:
            critics = Critics(judges.look, reals.classifier(), judges.head)
            others = layouts_of(judges.look, self._others(), self.device)
        scorer = PairScorer(
            self.networks,
            judges,
            critics,
            others,
            protocol=plan.protocol,
            people=plan.people,
            outputs=plan.outputs,
            seed=plan.seed,
            batch=self.batch,
            masker=masker,
            generator=generator,
            clock=clock,
            progress=self._advance,
        )
        self.session.keep()
        domains: dict[int, Domain] = {}
        for source, target in self.missing:
            for place in (source, target):
                if place not in domains:
                    domains[place] = self._domain(place, scorer, reals)
            name = pair_name(source, target)
            if source == target:
                found: dict | list = scorer.reconstruction(domains[source])
                found["light"] = self._light(source, judges, critics, masker)
            else:
                ends = domains[source], domains[target]
                found = scorer.score(*ends, len(plan.domains), self.parts, self.session.keep)
            self.parts.put(name, found)
            self.parts.drop(f"{name}-")
            self.session.keep()

    def finish(self) -> dict:
        """All units in one result; the parts go once it is written."""
        domains, pairs, targets = [], [], []
        for unit in self.units:
            found = self.parts.get(pair_name(*unit))
            if unit[0] == unit[1]:
                targets += found.pop("light")
                domains.append(found)
            else:
                pairs += found
        result = result_of(
            self.plan,
            pairs=pairs,
            domains=domains,
            targets=targets,
            spent=self.session.total(),
            ranks=self.ranks.size,
            image_size=self.size,
            device=self.device,
            backend=self.backend,
        )
        plain = [{k: v for k, v in pair.items() if k != "examples"} for pair in pairs]
        written = result | {"pairs": plain}
        text = json.dumps(written, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_whole(self.out / RESULT, lambda partial: partial.write_text(text, encoding="utf-8"))
        self.parts.clear()
        return result

    def _advance(self, fakes: int) -> None:
        self.done += fakes
        self.progress(self.done, self.total)

    def _fakes(self, unit: tuple[int, int]) -> int:
        source, target = unit
        if source == target:
            return len(MODES) * FAKES if self._light_takes(target) else 0
        return len(MODES) * self.plan.outputs * len(self.plan.held_out.files[source])

    def _fakes_missing(self, unit: tuple[int, int]) -> int:
        kept = kept_fakes(self.parts, pair_name(*unit))
        sources = kept[-1][1] if kept else 0
        return self._fakes(unit) - len(MODES) * self.plan.outputs * sources

    def _pictures(self) -> int:
        """Fakes and reals that the whole plan looks at, whoever does it and what is left of it."""
        return sum(map(self._fakes, self.units)) + sum(map(len, self.plan.reals.files))

    def _domain(self, place: int, scorer: PairScorer, reals: Reals) -> Domain:
        with self.clock("decoding"):
            files = self.plan.held_out.files[place]
            held_out = decode(files, self.size, self.plan.protocol)
        name = self.plan.domains[place]
        return scorer.domain(name, place, held_out, reals.features(place))

    def _others(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """For each domain rows of held-out pictures whose layouts those of others are held to."""
        found = {}
        for place, files in enumerate(self.plan.held_out.files):
            rows = rows_of_others(len(files), len(self.plan.domains))
            shown = decode([files[row] for row in rows], self.size, self.plan.protocol)
            found[place] = rows, shown
        return found

    @cached_property
    def _pool(self) -> PictureStore:
        return load_pictures(self.plan.pool, self.size)

    def _light_takes(self, place: int) -> bool:
        """Whether the light protocol's distance is measured for this target, too."""
        return self.plan.protocol == "clean" and len(self.plan.reals.files[place]) >= 2 * FEWEST

    def _light(self, place: int, judges: Judges, critics: Critics, masker) -> list[dict]:
        """The target's distances by the light protocol; the same numbers as there."""
        if not self._light_takes(place):
            return []
        plan = self.plan
        with self.clock("light protocol"):
            reals = [FileRows(plan.reals.root, f, self.size) for f in plan.reals.files]
            material = (plan.domains, self._pool.pictures, reals, place, FAKES, plan.seed)
            own = LightJudges(judges.light, plan.judges["mobilenet_v2"])
            target = LightTarget(own, *material)
            fakes = target.judge(self.networks, critics.classifier, masker, self._advance)
        rows = []
        for mode in MODES:
            score = dataclasses.asdict(score_of(target, mode, fakes[mode], critics.classifier))
            rows.append({"target": plan.domains[place], "mode": mode})
            rows[-1] |= {name: score[name] for name in ("fakes", "reals", *DISTANCES)}
        return rows


def fitting_batch(device: torch.device, image_size: int) -> int:
    """Sources at a time: what free memory holds on a GPU, what the caches like on a CPU."""
    if device.type == "cpu":
        return 16
    free, _ = torch.cuda.mem_get_info(device)
    picture = 4 * (512 * image_size**2 + 64 * 147**2 * 8)  # widest maps of generator, Inception
    return int(min(256, max(8, free / 2 // picture)))
