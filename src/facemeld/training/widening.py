"""A model whose styles have more entries than those of the one it is made of.

A generator follows no more of a reference than the style says. Training from scratch lets a style
encoder leave out what the generator cannot paint yet, and what is left out once no loss brings
back: the new entries begin as the directions in which the statistics of a domain's pictures differ
most, and the model, which paints as before, is trained on with them.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemeld.data.sampling import BatchSampler
from facemeld.errors import UserError
from facemeld.networks.bundle import Networks
from facemeld.networks.style_encoder import ProjectedStyleEncoder

_LOOKED_AT = 64  # pictures at once
_DRAWN = 384  # of them in each step
_NOISE = 0.15  # on standardised statistics, so that the fit holds for pictures not seen
_LEARNING_RATE, _WEIGHT_DECAY = 2e-3, 1e-3


def with_wider_styles(
    networks: Networks, sampler: BatchSampler, *, entries: int, steps: int, seed: int
) -> tuple[Networks, float]:
    """Networks with more style entries, which the generator does not look at yet.

    The style encoder gives the old entries as it did, and new ones that are the whitened principal
    components of its statistics within the domains; for that it is trained for a while. The mapping
    network's new entries mean nothing until codes are matched to styles (see training/matching.py).

    Args:
        networks: with a projected style encoder; they stay as they are.
        sampler: of the pictures.
        entries: how many more, of the statistics' number at most.
        steps: of training the style encoder.
        seed: of everything drawn.

    Returns:
        The networks, and the part of the new entries' variance that the encoder does not give.

    Raises:
        UserError: another style encoder, or a number of entries or steps that cannot be.
    """
    encoder, domains = networks.style_encoder, len(networks.config.domains)
    if not isinstance(encoder, ProjectedStyleEncoder):
        raise UserError("only styles of models with style_encoder = projected can be widened")
    most = min(len(encoder.mean), sum(sampler.counts) - domains)
    if not 1 <= entries <= most:
        raise UserError(f"a style gets between 1 and {most} more entries here, not {entries}")
    if steps < 1:
        raise UserError(f"the style encoder is fitted in at least one step, not {steps}")
    config = dataclasses.replace(networks.config, style_size=networks.config.style_size + entries)
    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(seed)
        wide = Networks(config)
        _take_over(networks, wide, domains)
        known = [
            _standardised(encoder, sampler, first + np.arange(count))
            for first, count in zip(sampler.first_rows, sampler.counts)
        ]
    missed = _fit(wide.style_encoder, encoder, known, entries=entries, steps=steps, seed=seed)
    return wide.requires_grad_(False), missed


def _fit(
    wide: ProjectedStyleEncoder,
    encoder: ProjectedStyleEncoder,
    known: list[Tensor],
    *,
    entries: int,
    steps: int,
    seed: int,
) -> float:
    """Trains the wide encoder to give the other one's entries and the new ones.

    Args:
        wide: changed in place.
        encoder: the one to follow.
        known: of each domain's pictures standardised statistics, N F.

    Returns:
        Of the new entries' variance the part that it does not give.
    """
    rows, old = torch.cat(known), encoder.heads.out_features // encoder.domains
    counts = torch.tensor([len(own) for own in known])
    labels = torch.arange(len(known)).repeat_interleave(counts)
    with torch.no_grad():
        scale = encoder.unscaled(rows)[torch.arange(len(rows)), labels].square().mean().sqrt()
    middles, projection = _components(known, entries)

    def missed(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Of the old and of the new entries, as parts of their variance."""
        with torch.no_grad():
            before, new = encoder.unscaled(rows), (rows - middles[labels]) @ projection
        found = wide.unscaled(rows) / scale
        own = found[torch.arange(len(rows)), labels, old:]
        return (found[..., :old] - before / scale).square().mean(), (own - new).square().mean()

    drawn = torch.Generator().manual_seed(seed)
    layers = [*wide.hidden, wide.heads]
    trained = [parameter for layer in layers for parameter in layer.parameters()]
    optimizer = torch.optim.AdamW(trained, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    chances = 1 / counts[labels]  # every domain weighs the same
    for _ in range(steps):
        some = torch.multinomial(chances, _DRAWN, replacement=True, generator=drawn)
        noise = _NOISE * torch.randn(_DRAWN, rows.shape[1], generator=drawn)
        optimizer.zero_grad()
        sum(missed(rows[some] + noise, labels[some])).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return float(missed(rows, labels)[1])


def _components(known: list[Tensor], entries: int) -> tuple[Tensor, Tensor]:
    """Means of the domains, K F, and what takes deviations from them to whitened components, F E.

    Every domain weighs the same.
    """
    middles = torch.stack([own.mean(dim=0) for own in known])
    apart = [(o - m) / (len(known) * len(o)) ** 0.5 for o, m in zip(known, middles)]
    spreads, directions = torch.linalg.svd(torch.cat(apart), full_matrices=False)[1:]
    return middles, directions[:entries].T / spreads[:entries]


def _standardised(
    encoder: ProjectedStyleEncoder, sampler: BatchSampler, rows: NDArray[np.int64]
) -> Tensor:
    """Statistics of these pictures, N F."""
    parts = []
    for some in np.array_split(rows, -(-len(rows) // _LOOKED_AT)):
        pictures = sampler.pictures_of_rows(some)
        parts.append(encoder.statistics(encoder.features(pictures), pictures))
    return encoder.standardise(torch.cat(parts))


def _take_over(networks: Networks, wide: Networks, domains: int) -> None:
    """Copies every weight; the generator's of new entries become zero, others stay as drawn."""
    state = wide.state_dict()
    for name, tensor in networks.state_dict().items():
        new = state[name]
        if new.shape == tensor.shape:
            new.copy_(tensor)
            continue
        if name.startswith("generator."):
            new.zero_()
        elif len(new) != len(tensor):  # heads: the entries of each domain after each other
            new, tensor = new.unflatten(0, (domains, -1)), tensor.unflatten(0, (domains, -1))
        new[:, : tensor.shape[1]] = tensor
