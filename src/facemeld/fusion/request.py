"""What may be asked of a fusion; checked without torch, so that mistakes answer at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from facemeld.errors import UserError, did_you_mean

LARGEST_CELL = 1024
LARGEST_SIZE = 4096


def check_request(
    references: int,
    *,
    weights: Sequence[float] | None,
    domain: str | None,
    source_domain: str | None,
    latent: bool,
    strength: float,
    seed: int,
    size: int | None,
    domains: tuple[str, ...],
) -> list[float]:
    """The share of each reference; empty for a latent style.

    Args:
        references: how many there are.
        weights, domain, source_domain, latent, strength, seed, size: see ``FusionPipeline``.
        domains: those of the model.

    Raises:
        UserError: a value is out of range, or two do not fit together.
    """
    if not 0 <= strength <= 1:
        raise UserError(f"strength is {strength}, but must be from 0 to 1", where="strength")
    if seed < 0:
        raise UserError(f"seed is {seed}, but must not be negative", where="seed")
    if size is not None and not 1 <= size <= LARGEST_SIZE:
        raise UserError(f"size is {size}, but must be 1 to {LARGEST_SIZE} pixels", where="size")
    check_domain(domain, domains, where="domain")
    check_domain(source_domain, domains, where="source domain")
    if not latent:
        return _shares(weights, references)
    if references or weights is not None:
        raise UserError(
            "a latent style takes no references and no weights",
            where="latent",
            fix="give references or ask for a latent style",
        )
    if domain is None:
        raise UserError(
            "a latent style needs a domain", where="domain", fix=f"one of {', '.join(domains)}"
        )
    return []


def check_domain(name: str | None, domains: tuple[str, ...], where: str) -> None:
    """UserError with the nearest name if the model has no such domain; None is fine."""
    if name is not None and name not in domains:
        raise UserError(
            f"the model has no domain '{name}'", where=where, fix=did_you_mean(name, domains)
        )


def check_cell(cell: int | None) -> None:
    """UserError if the cells of a sheet cannot have this side."""
    if cell is not None and not 1 <= cell <= LARGEST_CELL:
        raise UserError(f"cell is {cell}, but must be 1 to {LARGEST_CELL} pixels", where="cell")


def _shares(weights: Sequence[float] | None, references: int) -> list[float]:
    if references == 0:
        raise UserError(
            "no reference picture", where="references", fix="give one, or ask for a latent style"
        )
    weights = [1.0] * references if weights is None else [float(w) for w in weights]
    if len(weights) != references:
        raise UserError(f"{len(weights)} weights for {references} references", where="weights")
    total = sum(weights)
    if not all(w >= 0 for w in weights) or not 0 < total < math.inf:
        raise UserError(
            f"the weights are {weights}, but must not be negative, with a sum above 0",
            where="weights",
        )
    return [w / total for w in weights]
