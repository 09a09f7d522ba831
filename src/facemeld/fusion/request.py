"""What may be asked of a fusion; checked without torch, so that mistakes answer at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facemeld.config import LEVELS, NetworkConfig
from facemeld.errors import UserError, did_you_mean
from facemeld.fusion.timing import Timing

if TYPE_CHECKING:
    from facemeld.fusion.looks import Looks

LARGEST_CELL = 1024
LARGEST_SIZE = 4096
MOST_VARIATIONS = 1000
INTERPOLATIONS = ("linear", "spherical")


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Everything about a fusion that is not a picture; see ``FusionPipeline.__call__``."""

    weights: tuple[float, ...] | None = None
    interpolation: str = "linear"
    strength: float = 1.0
    domain: str | None = None
    source_domain: str | None = None
    latent: bool = False
    seed: int = 0
    truncation: float = 1.0
    variations: tuple[int, ...] = ()
    variation_angle: float = 20.0
    feather: float = 0.05
    source_mix: float | None = None
    content_strength: float = 1.0
    colour_match: float = 0.0
    size: int | None = None


_RANGES = {
    "strength": (0, 1),
    "truncation": (0, 1),
    "variation_angle": (0, 90),
    "feather": (0, 0.5),
    "source_mix": (0, 1),
    "content_strength": (0, 2),
    "colour_match": (0, 1),
}


def numbered(variations: int | Sequence[int]) -> tuple[int, ...]:
    """So many variations, counted from 1; or those with these numbers.

    Raises:
        UserError: too many, or negative.
    """
    if isinstance(variations, int):
        if not 0 <= variations <= MOST_VARIATIONS:
            raise UserError(
                f"variations is {variations}, but must be 0 to {MOST_VARIATIONS}",
                where="variations",
            )
        return tuple(range(1, variations + 1))
    return tuple(variations)


def check_request(
    references: int,
    controls: Controls,
    config: NetworkConfig,
    *,
    levels: Iterable[str] = (),
    regions: int = 0,
    second_source: bool = False,
) -> list[float]:
    """The share of each reference; empty for a latent style and for the sources' own.

    Args:
        references: how many there are.
        controls: what was asked for.
        config: of the model.
        levels: names of those that have a reference of their own.
        regions: how many have a reference of their own.
        second_source: there is one.

    Raises:
        UserError: a value is out of range, or two do not fit together.
    """
    _check_values(controls)
    check_domain(controls.domain, config.domains, where="domain")
    check_domain(controls.source_domain, config.domains, where="source domain")
    check_levels(levels, config)
    _check_subjects(controls, config, regions=regions, second_source=second_source)
    if not controls.latent:
        elsewhere = bool(tuple(levels)) or regions > 0
        return _shares(controls.weights, references, may_be_none=elsewhere)
    if references or controls.weights is not None:
        raise UserError(
            "a latent style takes no references and no weights",
            where="latent",
            fix="give references or ask for a latent style",
        )
    if controls.domain is None:
        raise UserError(
            "a latent style needs a domain",
            where="domain",
            fix=f"one of {', '.join(config.domains)}",
        )
    return []


def check_looks(
    looks: Looks, controls: Controls, config: NetworkConfig, *, references: int | None = None
) -> list[float]:
    """``check_request`` for pictures that were read.

    Args:
        looks: the references.
        controls: what was asked for.
        config: of the model.
        references: so many instead of those.
    """
    return check_request(
        len(looks.references) if references is None else references,
        controls,
        config,
        levels=looks.levels,
        regions=len(looks.regions),
        second_source=looks.second_source is not None,
    )


def check_walk(
    sources: int,
    references: int,
    controls: Controls,
    timing: Timing,
    config: NetworkConfig,
    *,
    looks: Looks,
    seeds: int = 0,
) -> int:
    """How many stops a walk has.

    Args:
        sources: how many.
        references: how many, each a stop.
        controls: as for one picture, without weights and variations.
        timing: of the video.
        config: the model's.
        looks: references for levels and regions, second source.
        seeds: of random looks, each a stop; with ``controls.latent``.

    Raises:
        UserError: something is out of range, or the numbers do not fit together.
    """
    if controls.weights is not None or controls.variations:
        raise UserError(
            "a walk goes from one reference to the next, without weights and variations",
            where="weights, variations",
        )
    if sources < 1:
        raise UserError("no source picture", where="source", fix="give one, or several")
    if controls.latent and references:
        raise UserError(
            "a latent style takes no references", where="latent", fix="give one or the other"
        )
    looks_given = max(seeds, 1) if controls.latent else references
    if sources > 1 and looks_given > 1 and sources != looks_given:
        raise UserError(
            f"{sources} sources and {looks_given} looks",
            where="sources and references",
            fix="give one of either, or equally many of both",
        )
    check_looks(looks, controls, config, references=0 if controls.latent else 1)
    stops = max(sources, looks_given)
    timing.check(stops)
    return stops


def check_domain(name: str | None, domains: tuple[str, ...], where: str) -> None:
    """UserError with the nearest name if the model has no such domain; None is fine."""
    if name is not None and name not in domains:
        raise UserError(
            f"the model has no domain '{name}'", where=where, fix=did_you_mean(name, domains)
        )


def each_domain(domain: str | Sequence[str | None] | None, count: int) -> Sequence[str | None]:
    """A domain for each of so many pictures: one that is meant for all, or those of a list."""
    return [domain] * count if domain is None or isinstance(domain, str) else domain


def check_domains(
    domain: str | Sequence[str | None] | None, count: int, domains: tuple[str, ...], where: str
) -> None:
    """UserError if a domain is unknown, or a list of them is not as long as that of pictures."""
    named = each_domain(domain, count)
    if len(named) != count:
        raise UserError(
            f"{len(named)} domains for {count} references",
            where=where,
            fix="name one for all of them, or one for each",
        )
    for name in named:
        check_domain(name, domains, where)


def check_levels(names: Iterable[str], config: NetworkConfig) -> None:
    """UserError if there is no such level, or the model's decoder has no blocks for it."""
    own = config.style_levels()
    for name in names:
        if name not in LEVELS:
            raise UserError(
                f"there is no level '{name}'", where="levels", fix=did_you_mean(name, LEVELS)
            )
        if name not in own:
            sides = ", ".join(f"{level} {'-'.join(map(str, own[level]))} px" for level in own)
            raise UserError(
                f"this model's decoder has no {name} level", where="levels", fix=f"it has: {sides}"
            )


def check_cell(cell: int | None) -> None:
    """UserError if the cells of a sheet cannot have this side."""
    if cell is not None and not 1 <= cell <= LARGEST_CELL:
        raise UserError(f"cell is {cell}, but must be 1 to {LARGEST_CELL} pixels", where="cell")


def _check_values(controls: Controls) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(controls, name)
        if value is not None and not low <= value <= high:
            words = name.replace("_", " ")
            raise UserError(f"{words} is {value}, but must be from {low} to {high}", where=words)
    if controls.interpolation not in INTERPOLATIONS:
        raise UserError(
            f"there is no interpolation '{controls.interpolation}'",
            where="interpolation",
            fix=did_you_mean(controls.interpolation, INTERPOLATIONS),
        )
    if not 0 <= controls.seed < 2**64:
        raise UserError(
            f"seed is {controls.seed}, but must not be negative, and below 2^64", where="seed"
        )
    if not all(0 <= number < 2**63 for number in controls.variations):
        raise UserError("the numbers of variations must not be negative", where="variations")
    if controls.size is not None and not 1 <= controls.size <= LARGEST_SIZE:
        raise UserError(
            f"size is {controls.size}, but must be 1 to {LARGEST_SIZE} pixels", where="size"
        )


def _check_subjects(
    controls: Controls, config: NetworkConfig, *, regions: int, second_source: bool
) -> None:
    """UserError if a value was given for something that is not asked for, or not there."""
    usual = Controls()
    for name, is_there, about, fix in (
        ("content_strength", config.skips != "none", "skips, and this model has none", ""),
        ("source_mix", second_source, "two sources", "give a second source"),
        ("truncation", controls.latent, "latent styles", "ask for a latent style"),
        ("feather", regions > 0, "regions", "name a region"),
        ("variation_angle", bool(controls.variations), "variations", "ask for variations"),
    ):
        if getattr(controls, name) != getattr(usual, name) and not is_there:
            words = name.replace("_", " ")
            raise UserError(f"{words} is about {about}", where=words, fix=fix)


def _shares(
    weights: tuple[float, ...] | None, references: int, *, may_be_none: bool
) -> list[float]:
    if references == 0 and weights is None and may_be_none:
        return []
    if references == 0:
        raise UserError(
            "no reference picture", where="references", fix="give one, or ask for a latent style"
        )
    weights = (1.0,) * references if weights is None else weights
    if len(weights) != references:
        raise UserError(f"{len(weights)} weights for {references} references", where="weights")
    total = sum(weights)
    if not all(w >= 0 for w in weights) or not 0 < total < math.inf:
        raise UserError(
            f"the weights are {list(weights)}, but must not be negative, with a sum above 0",
            where="weights",
        )
    # Shares that are given again stay what they are, to the bit.
    return list(weights) if math.isclose(total, 1.0) else [w / total for w in weights]
