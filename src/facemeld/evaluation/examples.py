"""The fakes that a report shows: those with the lowest and the highest of some scores."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from facemeld.evaluation.pictures import as_bytes, quantised
from facemeld.images.write import encode_picture

RANKED = ("structure", "layout_kept", "pose_degrees", "likeness", "domain_probability")
LOWER_IS_BETTER = ("pose_degrees",)
"""Of those."""
Packed = dict[str, dict[str, dict]]
"""For each score and end its value and the pictures of source, reference and fake, as WebP files in
base64."""


@dataclass
class Extremes:
    """The best and the worst of a stream of fakes by each ranked score."""

    found: dict[tuple[str, str], tuple[float, list[NDArray]]] = field(default_factory=dict)

    def add(
        self,
        scores: dict[str, NDArray],
        rows: NDArray,
        fakes: Tensor,
        shown: Sequence[NDArray],
    ) -> None:
        """Looks at more fakes; only those that beat what was found leave their device.

        Args:
            scores: B values of each score, nan where a fake has none; those that are not ranked
                are left alone.
            rows: which of the B to look at.
            fakes: B 3 H W in [-1, 1].
            shown: what to show beside a fake, B H W 3 bytes each: sources, and references if any.
        """
        for name in (n for n in RANKED if n in scores):
            ranked = sorted((float(scores[name][row]), int(row)) for row in rows)
            ranked = [entry for entry in ranked if entry[0] == entry[0]]  # without nan
            for end in ("worst", "best") if ranked else ():
                value, row = ranked[0 if _lowest(name, end) else -1]
                kept = self.found.get((name, end))
                if kept is None or _beats(name, end, value, kept[0]):
                    fake = as_bytes(quantised(fakes[row : row + 1]))[0]
                    self.found[name, end] = value, [*(pictures[row] for pictures in shown), fake]

    def packed(self) -> Packed:
        """What was found, JSON-able."""
        told: Packed = {}
        for (name, end), (value, pictures) in self.found.items():
            entry = {"value": value, "pictures": [_packed(picture) for picture in pictures]}
            told.setdefault(name, {})[end] = entry
        return told


def extremes_of(parts: Iterable[Packed]) -> Packed:
    """The best and the worst of several."""
    whole: Packed = {}
    for part in parts:
        for name, ends in part.items():
            kept = whole.setdefault(name, {})
            for end, entry in ends.items():
                if end not in kept or _beats(name, end, entry["value"], kept[end]["value"]):
                    kept[end] = entry
    return whole


def _lowest(name: str, end: str) -> bool:
    return (end == "worst") != (name in LOWER_IS_BETTER)


def _beats(name: str, end: str, value: float, kept: float) -> bool:
    return value < kept if _lowest(name, end) else value > kept


def _packed(picture: NDArray) -> str:
    content = encode_picture(Image.fromarray(picture), "WEBP", settings=None, quality=90)
    return base64.b64encode(content).decode()
