"""The fakes that a report shows: those with the lowest and the highest of some scores."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from facemeld.evaluation.pictures import as_bytes, quantised
from facemeld.images.write import encode_picture

RANKED = ("structure", "likeness", "domain_probability")


@dataclass
class Extremes:
    """The best and the worst of a stream of fakes by each ranked score."""

    found: dict[tuple[str, str], tuple[float, list[NDArray]]] = field(default_factory=dict)

    def add(
        self,
        scores: dict[str, Tensor],
        fakes: Tensor,
        sources: NDArray,
        references: NDArray | None,
    ) -> None:
        """Looks at B more.

        Args:
            scores: B of each score; those that are not ranked are left alone.
            fakes: B 3 H W in [-1, 1].
            sources, references: B H W 3 bytes; None without references.
        """
        for name in (n for n in RANKED if n in scores):
            for end, sign in (("worst", -1), ("best", 1)):
                index = int((sign * scores[name]).argmax())
                value = float(scores[name][index])
                kept = self.found.get((name, end))
                if kept is None or sign * value > sign * kept[0]:
                    shown = [sources[index], *([] if references is None else [references[index]])]
                    shown.append(as_bytes(quantised(fakes[index : index + 1]))[0])
                    self.found[name, end] = value, shown

    def packed(self) -> dict[str, dict[str, dict]]:
        """For each score and end its value and the pictures of source, reference and fake.

        JSON-able: pictures are WebP files in base64.
        """
        told: dict[str, dict[str, dict]] = {}
        for (name, end), (value, pictures) in self.found.items():
            entry = {"value": value, "pictures": [_packed(picture) for picture in pictures]}
            told.setdefault(name, {})[end] = entry
        return told


def _packed(picture: NDArray) -> str:
    content = encode_picture(Image.fromarray(picture), "WEBP", settings=None, quality=90)
    return base64.b64encode(content).decode()
