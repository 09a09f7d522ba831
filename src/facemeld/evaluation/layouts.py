"""Layouts of pictures, and which ones those of sources are compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemeld.evaluation.fusion_scores import layout_of
from facemeld.evaluation.pictures import as_levels

OTHERS = 15
"""Sources that a layout is compared with."""
_PLACE = 1 << 32


@dataclass(frozen=True)
class Layouts:
    """Layouts of N pictures."""

    rows: Tensor
    """N P."""
    numbers: Tensor
    """N int64: equal where the picture is the same."""

    def without(self, place: int) -> Layouts:
        """Those of the pictures of all domains but one."""
        elsewhere = self.numbers // _PLACE != place
        return Layouts(self.rows[elsewhere], self.numbers[elsewhere])


def numbers_of(place: int, rows: NDArray[np.int64]) -> Tensor:
    """A number for each of these rows of a domain's held-out pictures, another for each picture."""
    return torch.from_numpy(place * _PLACE + rows)


def rows_of_others(pictures: int, domains: int) -> NDArray[np.int64]:
    """Evenly spread rows of a domain's pictures: OTHERS, or a few more, in all domains but one."""
    count = min(pictures, -(-OTHERS // (domains - 1)))
    return np.arange(count) * pictures // count


@torch.inference_mode()
def layouts_of(
    look: Callable[[Tensor], tuple[Tensor, Tensor]],
    pictures: dict[int, tuple[NDArray[np.int64], NDArray[np.uint8]]],
    device: torch.device | str,
) -> Layouts:
    """Layouts that those of sources are compared with.

    Args:
        look: see ``scorer.Critics``.
        pictures: for the place of each domain some rows of its held-out pictures, and these.
        device: where to look at them.
    """
    found = []
    for place, (rows, shown) in pictures.items():
        maps = look(as_levels(shown, device) / 127.5 - 1)[1]
        found.append(Layouts(layout_of(maps), numbers_of(place, rows).to(device)))
    return Layouts(torch.cat([f.rows for f in found]), torch.cat([f.numbers for f in found]))
