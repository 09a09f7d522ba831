"""The end of a lean run: latent codes are made to draw from the styles that the run ended with.

While a run goes on, its mapping network follows a style encoder that moves, and the moving
averages of both fit each other worse still. Matching the one to styles that stand still costs a
minute or two, and makes latent codes as good as references.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from facemeld.data.randomness import random_at
from facemeld.data.sampling import MATCHING, BatchSampler
from facemeld.networks.bundle import Networks
from facemeld.networks.style_encoder import ProjectedStyleEncoder
from facemeld.training.losses import energy_distance

MATCHED = 96  # styles a domain in each step
LEARNING_RATE = 1e-3
_MEASURED = 500  # styles a domain, for the distances that are told
_MOST, _AT_ONCE = 5000, 64  # pictures of a domain


@torch.no_grad()
def styles_of(
    networks: Networks, sampler: BatchSampler, statistics: Tensor | None = None
) -> list[Tensor]:
    """What the style encoder makes of each domain's pictures, of 5,000 at most.

    Args:
        networks: with any style encoder.
        sampler: of the pictures.
        statistics: N F, feature statistics of every picture, row by row, for a projected style
            encoder; without them it looks at the pictures.

    Returns:
        Of each domain N S.
    """
    encoder, found = networks.style_encoder, []
    known = statistics is not None and isinstance(encoder, ProjectedStyleEncoder)
    for domain, (first, count) in enumerate(zip(sampler.first_rows, sampler.counts)):
        most, parts = min(count, _MOST), []
        rows = first + np.arange(most) * count // most
        for some in np.array_split(rows, -(-most // _AT_ONCE)):
            domains = torch.full((len(some),), domain, device=sampler.device)
            if known:
                parts.append(encoder.from_statistics(statistics[some].to(sampler.device), domains))
            else:
                parts.append(encoder(sampler.pictures_of_rows(some), domains))
        found.append(torch.cat(parts))
    return found


def match_latents(
    networks: Networks, styles: Sequence[Tensor], *, steps: int, seed: int
) -> tuple[float, float]:
    """Trains the mapping network alone, by the energy distance of its styles to encoded ones.

    Args:
        networks: of which the mapping network is changed in place.
        styles: of each domain's pictures, N S; the number of pictures may differ.
        steps: in the second half of which the learning rate falls linearly to zero.
        seed: of codes and choices.

    Returns:
        The distance before and after, on average over the domains.
    """
    mapping, latent_size = networks.mapping_network, networks.config.latent_size
    device = styles[0].device

    def distance(step: int, count: int) -> Tensor:
        random = random_at(seed, step, MATCHING)
        latents = random.standard_normal((count, latent_size), dtype="float32")
        rows = [torch.from_numpy(random.integers(len(own), size=count)) for own in styles]
        wanted = torch.stack([own[some.to(device)] for own, some in zip(styles, rows)])
        mapped = mapping.all_domains(torch.from_numpy(latents).to(device)).transpose(0, 1)
        return energy_distance(mapped, wanted).mean()

    def measured() -> float:
        with torch.no_grad():
            return float(distance(steps, _MEASURED))

    before = measured()
    parameters = list(mapping.parameters())
    were_trained = [parameter.requires_grad for parameter in parameters]
    mapping.requires_grad_(True)
    optimizer = torch.optim.Adam(parameters, betas=(0.0, 0.99))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, 2 * (steps - step) / steps)
        optimizer.zero_grad()
        distance(step, MATCHED).backward()
        optimizer.step()
    optimizer.zero_grad()
    for parameter, was_trained in zip(parameters, were_trained):
        parameter.requires_grad_(was_trained)
    return before, measured()
