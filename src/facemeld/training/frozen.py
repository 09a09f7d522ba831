"""The frozen feature network of a run, and what it says of the training pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facemeld.data.sampling import BatchSampler
from facemeld.networks.bundle import Networks
from facemeld.networks.features import FeatureStatistics
from facemeld.training.processes import Team

STATISTICS_BATCH = 64


def frozen_features(
    networks: Networks, weights: Path | None, device: torch.device
) -> FeatureStatistics:
    """The projected style encoder's own features, else some beside it, with published weights.

    Without a file of weights they stay as the style encoder has them.
    """
    frozen = networks.style_encoder
    if not isinstance(frozen, FeatureStatistics):
        frozen = FeatureStatistics(feature_size=networks.config.feature_size)
        frozen.to(device, memory_format=torch.channels_last)
    if weights is not None:
        frozen.features.load_published(torch.load(weights, weights_only=True))
    return frozen


def fit_frozen(
    frozen: FeatureStatistics,
    networks: Networks,
    sampler: BatchSampler,
    team: Team,
    *,
    first: bool,
    keep_scale: bool,
) -> Tensor:
    """Fits what follows from the statistics of the training pictures; returns those, N F.

    Args:
        frozen: features of the run.
        networks: whose style encoder may be ``frozen`` itself.
        sampler: the pictures.
        team: the processes, which share the work.
        first: whether the run begins; later its style encoder is fitted already.
        keep_scale: leave the scale of the style encoder's statistics as it is.
    """
    statistics = statistics_of_all(frozen, sampler, team)
    if frozen is not networks.style_encoder:
        frozen.fit_scale(statistics)
    elif first:
        counts = torch.tensor([len(domain) for domain in sampler.store.pictures])
        labels = torch.arange(len(counts)).repeat_interleave(counts)
        frozen.fit(statistics, labels, keep_scale=keep_scale)
    return statistics


@torch.no_grad()
def statistics_of_all(frozen: FeatureStatistics, sampler: BatchSampler, team: Team) -> Tensor:
    """Feature statistics of every training picture, N F, shared out over the processes."""
    total = sum(len(domain) for domain in sampler.store.pictures)
    share = -(-total // team.size)
    # the last share is filled up with the last picture, so that all are of one length
    mine = np.minimum(np.arange(team.rank * share, (team.rank + 1) * share), total - 1)
    parts = []
    for rows in np.array_split(mine, -(-share // STATISTICS_BATCH)):
        pictures = sampler.pictures_of_rows(rows)
        parts.append(frozen.statistics(frozen.features(pictures), pictures).cpu())
    return team.gather_rows(torch.cat(parts))[:total]
