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


def frozen_features(networks: Networks, weights: Path, device: torch.device) -> FeatureStatistics:
    """The projected style encoder's own features, else some beside it, with published weights."""
    frozen = networks.style_encoder
    if not isinstance(frozen, FeatureStatistics):
        frozen = FeatureStatistics(feature_size=networks.config.feature_size)
        frozen.to(device, memory_format=torch.channels_last)
    frozen.features.load_published(torch.load(weights, weights_only=True))
    return frozen


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
