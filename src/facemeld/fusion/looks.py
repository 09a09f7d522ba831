"""The pictures of a fusion beside its sources, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from facemeld.fusion.inputs import Input, Picture, read_input
from facemeld.fusion.regions import Region, mask_input


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What the sources are fused with; see ``FusionPipeline.__call__``."""

    references: list[Input] = field(default_factory=list)
    levels: dict[str, Input] = field(default_factory=dict)
    regions: list[tuple[Input | str, Input]] = field(default_factory=list)
    """A mask or a region's name, and the reference of that place."""
    second_source: Input | None = None


def read_looks(
    references: Sequence[Picture] = (),
    levels: Mapping[str, Picture] = {},
    regions: Sequence[tuple[Region, Picture]] = (),
    second_source: Picture | None = None,
) -> Looks:
    """Reads all of them.

    Raises:
        UserError: one is not readable, or there is no such region.
    """
    return Looks(
        references=[read_input(r) for r in references],
        levels={name: read_input(r) for name, r in levels.items()},
        regions=[(mask_input(where), read_input(r)) for where, r in regions],
        second_source=None if second_source is None else read_input(second_source),
    )
