"""What every protocol asks of its fakes, batch by batch: one function, the same scores.

Shapes: B fakes of as many sources, F light features, P numbers of a layout.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemeld.evaluation.examples import Extremes
from facemeld.evaluation.fusion_scores import (
    DomainClassifier,
    layout_kept,
    layout_of,
    likeness,
    nearer_to_own,
    structure_kept,
)
from facemeld.evaluation.layouts import Layouts
from facemeld.networks.head_geometry import (
    HeadGeometry,
    HeadGeometryNetwork,
    angle_between,
    landmark_shift,
)

MODES = ("reference", "latent")
"""A style comes from a face of the target domain, or from a random code."""


@dataclass(frozen=True)
class Critics:
    """What looks at each fake."""

    look: Callable[[Tensor], tuple[Tensor, Tensor]]
    """B 3 H W in [-1, 1] -> B F, and maps B C H W that know where things are."""
    classifier: DomainClassifier
    head: HeadGeometryNetwork | None = None
    """Measures pose and landmarks of people; None leaves them out."""


@dataclass(frozen=True)
class Sources:
    """Sources of a batch of fakes, and what the fakes are compared with."""

    pictures: Tensor
    """B 3 H W in [-1, 1]."""
    layouts: Layouts
    others: Layouts
    """Those of other sources, and perhaps of these."""
    people: Tensor | None
    """B bool: whose heads are compared; None where nobody's are."""
    heads: HeadGeometry | None
    """Of those people; None without any."""


@dataclass(frozen=True)
class References:
    """Which faces of the target domain a batch of fakes was made from."""

    features: Tensor
    """R F, of all of them."""
    rows: Tensor
    """B int64, which one each."""


def look_at_sources(
    critics: Critics,
    pictures: Tensor,
    numbers: Tensor,
    *,
    others: Layouts | None = None,
    people: Tensor | None = None,
) -> Sources:
    """What is needed of a batch of sources, once for all fakes of them.

    Args:
        critics: see Critics.
        pictures: B 3 H W in [-1, 1].
        numbers: B int64, equal where the picture is the same.
        others: layouts to compare with; those of the batch if not given.
        people: B bool, whose heads are compared.
    """
    layouts = Layouts(layout_of(critics.look(pictures)[1]), numbers)
    if critics.head is None:
        people = None
    heads = critics.head(pictures[people]) if people is not None and people.any() else None
    return Sources(pictures, layouts, others or layouts, people, heads)


def score_fakes(
    critics: Critics,
    fakes: Tensor,
    sources: Sources,
    target: int,
    references: References | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Light features of a batch of fakes, and their scores.

    Args:
        critics: see Critics.
        fakes: B 3 H W in [-1, 1], in the 256 levels of a file; see ``pictures.saved_levels``.
        sources: what they were made of.
        target: their domain, as the classifier numbers it.
        references: what else they were made of; None of latent codes.

    Returns:
        B F; and B values of each score, nan where a fake has none.
    """
    features, maps = critics.look(fakes)
    certain = critics.classifier.probabilities(features)
    own, others = sources.layouts, sources.others
    different = own.numbers[:, None] != others.numbers
    scores = {
        "structure": structure_kept(fakes, sources.pictures),
        "layout_kept": layout_kept(layout_of(maps), own.rows, others.rows, different),
        "domain_probability": certain[:, target],
        "domain_accuracy": (certain.argmax(dim=1) == target).float(),
    }
    if references is not None:
        scores["likeness"] = likeness(features, references.rows, references.features)
        scores["nearer_to_own"] = nearer_to_own(features, references.rows, references.features)
    if sources.people is not None:
        scores |= _heads_kept(critics, fakes, sources)
    return features, scores


def _heads_kept(critics: Critics, fakes: Tensor, sources: Sources) -> dict[str, Tensor]:
    """Pose and landmarks; nan where a source is no person."""
    people, before = sources.people, sources.heads
    scores = {n: fakes.new_full((len(fakes),), np.nan) for n in ("pose_degrees", "landmark_shift")}
    if before is not None:
        after = critics.head(fakes[people])
        scores["pose_degrees"][people] = angle_between(before.rotation, after.rotation)
        scores["landmark_shift"][people] = landmark_shift(before.landmarks, after.landmarks)
    return scores


@dataclass
class Collected:
    """What is known of a stream of fakes, in the processor's memory."""

    rows: dict[str, list[NDArray]] = field(default_factory=dict)
    """Values of each score, and whatever else has one row a fake."""
    extremes: dict[int, Extremes] = field(default_factory=dict)
    """By the domain of the source."""

    def add(
        self,
        scores: dict[str, Tensor],
        fakes: Tensor,
        shown: Sequence[NDArray],
        places: NDArray[np.int64],
    ) -> None:
        """One more batch of B.

        Args:
            scores: B values each, the same names in every batch.
            fakes: B 3 H W in [-1, 1].
            shown: pictures to show beside each; see ``Extremes.add``.
            places: the domains of their sources.
        """
        table = torch.stack([values.float() for values in scores.values()]).cpu().numpy()
        values = dict(zip(scores, table, strict=True))
        for name, column in values.items():
            self.keep(name, column)
        for place in np.unique(places):
            kept = self.extremes.setdefault(int(place), Extremes())
            kept.add(values, np.flatnonzero(places == place), fakes, shown)

    def keep(self, name: str, rows: NDArray) -> None:
        """More rows of something else."""
        self.rows.setdefault(name, []).append(rows)

    def whole(self) -> dict[str, NDArray]:
        """All rows of each."""
        return {name: np.concatenate(parts) for name, parts in self.rows.items()}


class Clock:
    """Where the time goes: seconds by part.

    Args:
        seconds: what is added to.
    """

    def __init__(self, seconds: dict[str, float] | None = None) -> None:
        self.seconds = {} if seconds is None else seconds

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Adds the time spent inside to this part."""
        began = time.monotonic()
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - began
