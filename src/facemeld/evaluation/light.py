"""The light protocol: how good a model is, in minutes on a CPU.

For every target domain, fakes of held-out sources of all other domains are compared with real
pictures of the target in the features of MobileNetV2, which no training uses:

- distance: light Fréchet distance of the fakes to one half of the reals. Not FID.
- floor: that of the other half of the reals; unedited: that of the untouched sources.
- covered: (unedited - distance) / (unedited - floor), the share of the way that the model goes.

And for every target and every ordered pair:

- structure: correlation of luminance gradients at 16 px with the source.
- layout kept: how much nearer a fake's layout is to its own source's than to other sources'.
- domain accuracy: share of fakes that a classifier of the reals' features takes for the target.
- nearer to own: how probably a fake is nearer to its own reference than to a random other one of
  its domain; retrieval: how often it is nearer to it than to three others.
- pose: degrees between the heads of source and fake, between domains of people; landmarks: how far
  theirs are apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

import facemeld
from facemeld.data.catalogue import WEIGHTS
from facemeld.data.store import PictureStore, load_pictures
from facemeld.evaluation.distances import frechet_distance
from facemeld.evaluation.fusion_scores import DomainClassifier
from facemeld.evaluation.judges import load_head_geometry, load_mobilenet
from facemeld.evaluation.light_plan import FAKES, LightPlan, make_light_plan
from facemeld.evaluation.light_target import Fakes, FileRows, LightJudges, LightTarget, Rows
from facemeld.evaluation.ranks import ALONE, Ranks
from facemeld.evaluation.scorer import MODES, Clock
from facemeld.evaluation.unfinished import NOTHING_KEPT, Session, Unfinished
from facemeld.fusion.skip_masks import Masker, load_masker
from facemeld.networks.bundle import Networks


@dataclass(frozen=True)
class PairScore:
    """Means over the fakes of one ordered pair of domains in one mode."""

    source: str
    target: str
    mode: str
    fakes: int
    structure: float
    layout_kept: float | None
    domain_accuracy: float
    likeness: float | None
    """None in latent mode, which has no references; so are the next two."""
    nearer_to_own: float | None
    retrieval: float | None
    pose_degrees: float | None
    """None but between domains of people; so is the next."""
    landmark_shift: float | None
    examples: dict = field(repr=False, compare=False)
    """Best and worst fakes; see ``examples.Extremes``."""


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
    layout_kept: float | None
    domain_accuracy: float
    domain_accuracy_of_real: float
    """What the held-out pictures of the domain themselves reach."""
    likeness: float | None
    nearer_to_own: float | None
    retrieval: float | None
    pose_degrees: float | None
    landmark_shift: float | None
    pairs: tuple[PairScore, ...]
    """The same by the domain of the source."""


_MEANS = (
    "structure",
    "layout_kept",
    "domain_accuracy",
    "likeness",
    "nearer_to_own",
    "retrieval",
    "pose_degrees",
    "landmark_shift",
)
DISTANCES = ("distance", "floor", "unedited", "covered")


def evaluate(
    networks: Networks,
    held_out: str | Path,
    reals: str | Path,
    *,
    fakes: int = FAKES,
    seed: int = 0,
    people: tuple[str, ...] | None = None,
    weights_dir: str | Path | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[DomainScore]:
    """Scores of a model for every target domain, in reference and in latent mode.

    Args:
        networks: the model.
        held_out: domain folders of sources and references that training did not see.
        reals: domain folders of the real pictures to compare with.
        fakes: fakes a domain and mode; at most twice as many reals are used.
        seed: of the choice of pictures and of the latent codes.
        people: domains of people, whose head pose is compared; by default those with such names,
            if the network that measures pose is at hand.
        weights_dir: where to look first for the weights of the judging networks.
        progress: called with (fakes done, fakes in all).

    Raises:
        UserError: a domain that the model does not know, too few pictures, pictures of several
            sizes, or missing weights.
    """
    plan = make_light_plan(
        networks.config,
        held_out,
        reals,
        fakes=fakes,
        seed=seed,
        people=people,
        weights_dir=weights_dir,
    )
    return run_light_plan(plan, networks, progress)


def run_light_plan(
    plan: LightPlan,
    networks: Networks,
    progress: Callable[[int, int], object] = lambda done, total: None,
    unfinished: Unfinished = NOTHING_KEPT,
    ranks: Ranks = ALONE,
    session: Session | None = None,
) -> list[DomainScore] | None:
    """As ``evaluate``, of what was checked already; the model stays on its device.

    Args:
        plan: what will be measured.
        networks: the model.
        progress: called with (fakes done, fakes in all) of this process.
        unfinished: where finished targets are kept until all are done.
        ranks: of processes that share the targets.
        session: told how long it takes.

    Returns:
        Every target in both modes; None in processes that do not lead.

    Raises:
        UserError: unreadable pictures.
    """
    device = next((p.device for p in networks.parameters()), torch.device("cpu"))
    features, sha256 = load_mobilenet(device, plan.weights_dir)
    head = load_head_geometry(device, plan.weights_dir)[0] if len(plan.people) > 1 else None
    masked = networks.config.skips == "masked"
    size = networks.config.image_size
    reals = [FileRows(plan.reals.root, files, size) for files in plan.reals.files]
    session = session or Session(unfinished, ranks.rank)
    with Clock(session.seconds_by_part)("real features"):
        scorer = LightScorer(
            LightJudges(features, sha256, head, plan.people),
            load_pictures(plan.held_out, size),
            reals,
            fakes=plan.fakes,
            seed=plan.seed,
            masker=load_masker(plan.weights_dir) if masked else None,
            ranks=ranks,
        )
    scores = scorer.score(networks, progress, unfinished, session)
    session.finish()
    ranks.wait()
    unfinished.clear()
    return scores


class LightScorer:
    """Scores models with the same pictures, references and latent codes each time.

    Args:
        judges: see LightJudges.
        held_out: pictures of the domains, which the models know, at their size.
        reals: of the same domains.
        fakes: a domain and mode.
        seed: of the choice of pictures and of the latent codes.
        masker: of models whose skips are masked.
        ranks: of processes that share the targets.
    """

    def __init__(
        self,
        judges: LightJudges,
        held_out: PictureStore,
        reals: Sequence[Rows],
        *,
        fakes: int,
        seed: int = 0,
        masker: Masker | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        names, own = held_out.domains, held_out.pictures
        self.masker, self.ranks = masker, ranks
        self.targets = [
            LightTarget(judges, names, own, reals, index, fakes, seed)
            for index in ranks.share(list(range(len(names))))
        ]
        self.total = len(MODES) * fakes * len(self.targets)
        mine = [(target.index, target.all_real_features) for target in self.targets]
        seen = [torch.from_numpy(rows) for _, rows in sorted(ranks.gathered(mine), key=_index)]
        labels = torch.arange(len(seen)).repeat_interleave(torch.tensor([len(s) for s in seen]))
        features = torch.cat(seen).to(judges.device)
        self.classifier = DomainClassifier(features, labels.to(judges.device), len(seen))

    def score(
        self,
        networks: Networks,
        progress: Callable[[int, int], object] = lambda done, total: None,
        unfinished: Unfinished = NOTHING_KEPT,
        session: Session | None = None,
    ) -> list[DomainScore] | None:
        """Every target in both modes; see ``run_light_plan``."""
        session = session or Session(unfinished, self.ranks.rank)
        clock = Clock(session.seconds_by_part)
        kept = [unfinished.get(_part(target)) for target in self.targets]
        done = sum(score["fakes"] for rows in kept for score in rows or ())
        progress(done, self.total)

        def advance(fakes: int) -> None:
            nonlocal done
            done += fakes
            progress(done, self.total)

        mine = []
        for target, rows in zip(self.targets, kept, strict=True):
            if rows is None:
                found = target.judge(networks, self.classifier, self.masker, advance, clock)
                with clock("distances"):
                    scores = [score_of(target, m, found[m], self.classifier) for m in MODES]
                unfinished.put(_part(target), [dataclasses.asdict(score) for score in scores])
                session.keep()
            else:
                scores = [_restored(row) for row in rows]
            mine.append((target.index, scores))
        everyones = sorted(self.ranks.gathered(mine), key=_index)
        return [s for _, scores in everyones for s in scores] if self.ranks.leads else None


def _part(target: LightTarget) -> str:
    return f"target-{target.name}"


def _index(entry: tuple[int, object]) -> int:
    return entry[0]


def _restored(row: dict) -> DomainScore:
    pairs = tuple(PairScore(**pair) for pair in row["pairs"])
    return DomainScore(**row | {"pairs": pairs})


def score_of(
    target: LightTarget, mode: str, fakes: Fakes, classifier: DomainClassifier
) -> DomainScore:
    """The scores of the fakes of one target and mode."""
    distance = frechet_distance(fakes.features, target.real_features)
    pairs = [
        PairScore(
            target.domains[place],
            target.name,
            mode,
            int((fakes.sources == place).sum()),
            **_means(fakes, fakes.sources == place),
            examples=fakes.examples[place],
        )
        for place in np.unique(fakes.sources)
    ]
    return DomainScore(
        domain=target.name,
        mode=mode,
        fakes=len(fakes.features),
        reals=len(target.real_features),
        distance=distance,
        floor=target.floor,
        unedited=target.unedited,
        covered=(target.unedited - distance) / (target.unedited - target.floor),
        **_means(fakes, np.ones(len(fakes.features), bool)),
        domain_accuracy_of_real=target.accuracy_of_real(classifier),
        pairs=tuple(pairs),
    )


def _means(fakes: Fakes, which: np.ndarray) -> dict[str, float | None]:
    """Mean of each score over those of these fakes that have it."""
    found: dict[str, float | None] = {}
    for name in _MEANS:
        values = fakes.scores[name][which] if name in fakes.scores else np.array([])
        values = values[~np.isnan(values)]
        found[name] = float(values.mean()) if len(values) else None
    return found


def summary(scores: list[DomainScore]) -> dict[str, dict[str, float]]:
    """For each mode the means over the target domains, and the least share covered."""
    means: dict[str, dict[str, float]] = {}
    for mode in MODES:
        mine = [score for score in scores if score.mode == mode]
        means[mode] = {}
        for name in (*DISTANCES, *_MEANS, "domain_accuracy_of_real"):
            values = [v for v in (getattr(score, name) for score in mine) if v is not None]
            if values:
                means[mode][name] = round(float(np.mean(values)), 4)
        means[mode]["least_covered"] = round(min(score.covered for score in mine), 4)
    return means


def report_of(
    scores: list[DomainScore], plan: LightPlan, *, model: Path, sha256: str, image_size: int
) -> dict:
    """The scores in the form of the other protocols' results, JSON-able but for its examples."""
    networks = ["mobilenet-v2", *(["head-pose"] if len(plan.people) > 1 else [])]
    targets, pairs = [], []
    for score in scores:
        row = dataclasses.asdict(score)
        pairs += row.pop("pairs")
        targets.append({"target": row.pop("domain")} | row)
    return {
        "facemeld": facemeld.__version__,
        "protocol": "light",
        "measure": "Fréchet distances of MobileNetV2 features; not FID",
        "model": {"folder": str(model), "sha256": sha256},
        "image_size": image_size,
        "held_out": str(plan.held_out.root),
        "reals": str(plan.reals.root),
        "pictures_sha256": plan.hashes,
        "networks_sha256": {name: WEIGHTS[name].sha256 for name in networks},
        "fakes": sum(score.fakes for score in scores),
        "seed": plan.seed,
        "people": list(plan.people),
        "left_out": plan.left_out,
        "mean": summary(scores),
        "targets": targets,
        "pairs": pairs,
    }
