"""Models whose results are known functions of source and style, and a world to judge them in.

A style is a picture here, so a result can be the source itself, the reference itself, or anything
in between. The tests have drawn faces judged by networks with drawn weights;
benchmarks/validate_fusion_scores.py has photographs judged by published ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from facemeld.config import NetworkConfig
from facemeld.evaluation.distances import FeatureSet
from facemeld.evaluation.fusion_scores import DomainClassifier
from facemeld.evaluation.judges import Judges
from facemeld.evaluation.layouts import layouts_of
from facemeld.evaluation.pairs import Domain, PairScorer
from facemeld.evaluation.pictures import as_levels
from facemeld.evaluation.scorer import MODES, Critics

Mix = Callable[[Tensor, Tensor], Tensor]
TURN = 20.0
"""Degrees of the case "turned"."""
SHIFT = 0.1
"""Of the side, of the case "shifted"."""


def moved(pictures: Tensor, degrees: float = 0.0, across: float = 0.0) -> Tensor:
    """Turned about the middle, and shifted by a share of the side; edges go on outside."""
    angle = math.radians(degrees)
    rows = [
        [math.cos(angle), math.sin(angle), -2 * across],
        [-math.sin(angle), math.cos(angle), 0.0],
    ]
    matrix = torch.tensor(rows).expand(len(pictures), 2, 3)
    grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def switched(source: Tensor, style: Tensor) -> Tensor:
    """Either of two pictures: no path between styles is even."""
    return torch.where(style.mean(dim=(1, 2, 3), keepdim=True) > 0, source, -source)


CASES: dict[str, Mix] = {
    "source": lambda source, reference: source,
    "recoloured": lambda source, reference: source[:, [2, 0, 1]] * 0.8,
    "mirrored": lambda source, reference: source.flip(3),
    "turned": lambda source, reference: moved(source, degrees=TURN),
    "shifted": lambda source, reference: moved(source, across=SHIFT),
    "blend": lambda source, reference: (source + reference) / 2,
    "overlay": lambda source, reference: 0.25 * source + 0.75 * reference,
    "reference": lambda source, reference: reference,
    "mismatched": lambda source, reference: reference.roll(1, dims=0),
    "grey": lambda source, reference: torch.zeros_like(source),
    "switched": switched,
}


class Grid:
    """In the place of Inception: mean colours of a grid, which cost nothing."""

    size = 108

    def features(self, levels: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(levels / 127.5 - 1, 6).flatten(1)


class Mixer(nn.Module):
    """A model whose styles are pictures, and whose results any function of source and style."""

    def __init__(self, mix: Mix, image_size: int, domains: tuple[str, ...]) -> None:
        super().__init__()
        self.config = NetworkConfig(image_size=image_size, domains=domains, latent_size=4)
        self.mix = mix
        self.anything = nn.Parameter(torch.zeros(()))

    @property
    def generator(self) -> Mixer:
        return self

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, content: Tensor, styles: Tensor, masks: None = None) -> Tensor:
        return self.mix(content, styles.view_as(content))

    def style_encoder(self, pictures: Tensor, labels: Tensor) -> Tensor:
        return pictures.flatten(1)

    def mapping_network(self, latents: Tensor, labels: Tensor) -> Tensor:
        return torch.zeros(len(latents), 3 * self.config.image_size**2)


class World:
    """Pictures of several domains, and who judges what models make of them.

    Args:
        judges: with the networks of fusion.
        held_out, reals: pictures of each domain, N H W 3.
    """

    def __init__(
        self, judges: Judges, held_out: dict[str, NDArray], reals: dict[str, NDArray]
    ) -> None:
        self.judges, self.held_out = judges, held_out
        self.names = tuple(held_out)
        self.side = held_out[self.names[0]].shape[1]
        self.reals, light = [], []
        with torch.no_grad():
            for pictures in reals.values():
                levels = as_levels(pictures, "cpu")
                self.reals.append(FeatureSet(judges.inception_features(levels).numpy()))
                light.append(judges.look(levels / 127.5 - 1)[0])
        labels = torch.arange(len(light)).repeat_interleave(torch.tensor([len(x) for x in light]))
        classifier = DomainClassifier(torch.cat(light), labels, len(light))
        self.critics = Critics(judges.look, classifier, judges.head)
        every = {
            i: (np.arange(len(shown)), shown) for i, shown in enumerate(self.held_out.values())
        }
        self.others = layouts_of(judges.look, every, "cpu")

    def scorer(
        self,
        mix: Mix,
        *,
        people: tuple[str, ...] = (),
        outputs: int = 2,
        batch: int = 5,
        model: type[Mixer] = Mixer,
        **more,
    ) -> PairScorer:
        """Scores the model that mixes like this."""
        return PairScorer(
            model(mix, self.side, self.names),
            self.judges,
            self.critics,
            self.others,
            protocol="clean",
            people=people,
            outputs=outputs,
            seed=0,
            batch=batch,
            **more,
        )

    def domain(self, scorer: PairScorer, place: int) -> Domain:
        name = self.names[place]
        return scorer.domain(name, place, self.held_out[name], self.reals[place])

    def score(self, mix: Mix, source: int = 0, target: int = 1, **more) -> dict[str, dict]:
        """Scores of one pair by mode."""
        scorer = self.scorer(mix, **more)
        ends = (self.domain(scorer, place) for place in (source, target))
        return dict(zip(MODES, scorer.score(*ends, len(self.names)), strict=True))

    def reconstruction(self, mix: Mix, place: int = 0, **more) -> dict:
        """Of one domain under its own styles."""
        scorer = self.scorer(mix, **more)
        return scorer.reconstruction(self.domain(scorer, place))


CLAIMS = (
    ("structure", "source", "blend"),
    ("structure", "blend", "reference"),
    ("structure", "source", "mirrored"),
    ("layout_kept", "recoloured", "blend"),
    ("layout_kept", "source", "blend"),
    ("layout_kept", "blend", "reference"),
    ("layout_kept", "source", "mirrored"),
    ("layout_kept", "blend", "overlay"),
    ("pose_degrees", "source", "blend"),
    ("pose_degrees", "blend", "reference"),
    ("pose_degrees", "recoloured", "mirrored"),
    ("pose_degrees", "recoloured", "turned"),
    ("pose_degrees", "shifted", "turned"),
    ("landmark_shift", "source", "blend"),
    ("landmark_shift", "blend", "reference"),
    ("landmark_shift", "recoloured", "shifted"),
    ("landmark_shift", "recoloured", "turned"),
    ("likeness", "reference", "blend"),
    ("likeness", "blend", "mismatched"),
    ("likeness", "blend", "source"),
    ("nearer_to_own", "reference", "mismatched"),
    ("nearer_to_own", "blend", "source"),
    ("retrieval", "reference", "mismatched"),
    ("retrieval", "blend", "source"),
    ("domain_accuracy", "reference", "blend"),
    ("domain_accuracy", "blend", "source"),
    ("diversity", "reference", "blend"),
    ("diversity", "blend", "source"),
    ("reconstruction", "source", "mismatched"),
    ("reconstruction", "mismatched", "grey"),
    ("smoothness", "reference", "switched"),
    ("covered", "reference", "blend"),
    ("covered", "blend", "source"),
)
"""(score, better case, worse case), under published networks and with photographs."""
LOWER = ("pose_degrees", "landmark_shift", "reconstruction")
"""Scores of which less is better."""


def broken_claims(figures: dict[str, dict[str, float]]) -> list[str]:
    """Claims that do not hold of the scores of each case."""
    broken = []
    for score, better, worse in CLAIMS:
        sign = -1 if score in LOWER else 1
        if not sign * figures[better][score] > sign * figures[worse][score]:
            values = f"{figures[better][score]:.3f}, {figures[worse][score]:.3f}"
            broken.append(f"{score}: {better} does not come before {worse} ({values})")
    return broken
