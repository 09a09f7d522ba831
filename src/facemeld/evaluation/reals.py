"""What the judges say of real pictures, looked at once and then kept on disk."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemeld.evaluation.cache import cached_features
from facemeld.evaluation.distances import FeatureSet
from facemeld.evaluation.fusion_scores import DomainClassifier
from facemeld.evaluation.judges import Judges
from facemeld.evaluation.pictures import as_levels, decode
from facemeld.evaluation.plan import Plan
from facemeld.evaluation.ranks import Ranks
from facemeld.evaluation.scorer import Clock

_DECODED = 1024  # pictures in memory at a time
_FORMAT = "1"  # of what the cache holds


class Reals:
    """Features of the real pictures of a plan.

    Args:
        plan: which they are.
        judges: who looks at them.
        image_size: at which they are decoded, in pixels.
        batch: pictures at a time.
        device: of the judges.
        clock: told where the time goes.
    """

    def __init__(
        self,
        plan: Plan,
        judges: Judges,
        *,
        image_size: int,
        batch: int,
        device: torch.device,
        clock: Clock,
    ) -> None:
        self.plan, self.judges, self.clock = plan, judges, clock
        self.image_size, self.batch, self.device = image_size, batch, device
        self.found: dict[int, FeatureSet] = {}

    def look(self, ranks: Ranks, progress: Callable[[int, int], object]) -> None:
        """At all that are not in the cache; the ranks take a share each.

        Args:
            ranks: of the processes that do so.
            progress: called with the pictures done and in all, of this process.
        """
        mine = ranks.share(list(range(len(self.plan.domains))))
        total, looked = sum(len(self.plan.reals.files[place]) for place in mine), 0

        def told(pictures: int) -> None:
            nonlocal looked
            looked += pictures
            progress(looked, total)

        for place in mine:
            self.features(place, told)
            if self.plan.fusion:
                self._light(place)
        ranks.wait()  # the other ranks' share is in the cache now

    def features(
        self, place: int, told: Callable[[int], object] = lambda pictures: None
    ) -> FeatureSet:
        """Inception features of a domain."""
        if place not in self.found:
            found = self._cached(place, "inception", self.judges.inception_features, told)
            self.found[place] = FeatureSet(found)
        return self.found[place]

    def classifier(self) -> DomainClassifier:
        """Of the domains, by their light features."""
        rows = [torch.from_numpy(self._light(place)) for place in range(len(self.plan.domains))]
        labels = torch.arange(len(rows)).repeat_interleave(torch.tensor([len(r) for r in rows]))
        with self.clock("domain classifier"):
            features = torch.cat(rows).to(self.device)
            return DomainClassifier(features, labels.to(self.device), len(rows))

    def _light(self, place: int) -> NDArray[np.float32]:
        return self._cached(
            place,
            "mobilenet_v2",
            lambda levels: self.judges.look(levels / 127.5 - 1)[0],
            lambda pictures: None,
        )

    def _cached(
        self,
        place: int,
        network: str,
        features: Callable[[Tensor], Tensor],
        told: Callable[[int], object],
    ) -> NDArray[np.float32]:
        plan, files = self.plan, self.plan.reals.files[place]
        content = plan.hashes[f"reals/{plan.domains[place]}"]
        key = (content, plan.judges[network], plan.protocol, str(self.image_size), _FORMAT)

        def compute() -> NDArray[np.float32]:
            found = []
            for start in range(0, len(files), _DECODED):
                pictures = decode(files[start : start + _DECODED], self.image_size, plan.protocol)
                for first in range(0, len(pictures), self.batch):
                    levels = as_levels(pictures[first : first + self.batch], self.device)
                    with torch.inference_mode():
                        found.append(features(levels).cpu())
                    told(len(levels))
            return torch.cat(found).numpy()

        with self.clock("real features"):
            return cached_features(key, len(files), compute)
