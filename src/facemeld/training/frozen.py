"""The frozen feature network of a run, and what it says of the training pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from facemeld.data.sampling import BatchSampler
from facemeld.files import locked, write_whole
from facemeld.networks.bundle import Networks
from facemeld.networks.features import EfficientNetLite0, FeatureStatistics
from facemeld.networks.points import PointReader
from facemeld.training.landmarks import entropy
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
        if networks.config.generator == "projected":
            frozen.features = networks.generator.encoder.features
    if weights is not None:
        frozen.features.load_published(torch.load(weights, weights_only=True))
    return frozen


class Known(NamedTuple):
    """What the frozen features say of every training picture, row by row."""

    statistics: Tensor
    """N F."""
    points: Tensor
    """N P 2: see networks/points.py; P is 0 without a reader."""
    entropies: Tensor
    """N: of the maps of the points."""


def fit_frozen(
    frozen: FeatureStatistics,
    networks: Networks,
    known: Known,
    labels: Tensor,
    *,
    first: bool,
    keep_scale: bool,
) -> None:
    """Fits what follows from the statistics of the training pictures.

    Args:
        frozen: features of the run.
        networks: whose style encoder may be ``frozen`` itself.
        known: of all training pictures.
        labels: N int64, their domains.
        first: whether the run begins; later its style encoder is fitted already.
        keep_scale: leave the scale of the style encoder's statistics as it is.
    """
    if frozen is not networks.style_encoder:
        frozen.fit_scale(known.statistics)
    elif first:
        frozen.fit(known.statistics, labels, keep_scale=keep_scale)


def known_pictures(
    frozen: FeatureStatistics,
    reader: PointReader | None,
    sampler: BatchSampler,
    team: Team,
    say: Callable[[str], object],
) -> Known:
    """What an earlier run found of the same pictures to the same bits, else `know_all` now.

    It is kept beside the cache of the decoded pictures, if they come from one.
    """
    cached_as = sampler.store.cached_as
    if cached_as is None:
        say("taking the feature statistics of every picture")
        return know_all(frozen, reader, sampler, team)
    path = cached_as.path.with_suffix(".points" if reader is not None else ".statistics")
    key = _key(cached_as.digest, frozen.features, reader, team)
    known = team.from_leader(lambda: _read(path, key))
    if known is None:
        say("taking the feature statistics of every picture, once")
        known = know_all(frozen, reader, sampler, team)
        team.together(lambda: _write(path, key, known) if team.leads else None)
    return known


def _key(digest: str, features: EfficientNetLite0, reader: nn.Module | None, team: Team) -> str:
    """Of all that the bits follow from."""
    weights = hashlib.sha256()
    for module in (features, reader) if reader is not None else (features,):
        for name, value in module.state_dict().items():
            weights.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    device, processor = team.device, torch.backends.cpu.get_cpu_capability()
    return json.dumps(
        {
            "pictures": digest,
            "input_size": features.input_size,
            "weights": weights.hexdigest(),
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor,
            "threads": torch.get_num_threads(),
            "processes": team.size,
        }
    )


def _read(path: Path, key: str) -> Known | None:
    """What the file says, if it was made under the same key."""
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            return Known(*map(file.get_tensor, Known._fields))
    except (OSError, SafetensorError):
        return None  # missing or damaged


def _write(path: Path, key: str, known: Known) -> None:
    tensors = {name: value.contiguous() for name, value in known._asdict().items()}
    with locked(path.with_suffix(".lock"), what="another run's writing", wait=True):
        write_whole(path, lambda partial: save_file(tensors, partial, metadata={"key": key}))


@torch.no_grad()
def know_all(
    frozen: FeatureStatistics, reader: PointReader | None, sampler: BatchSampler, team: Team
) -> Known:
    """Looks at every training picture once, shared out over the processes."""
    total = sum(len(domain) for domain in sampler.store.pictures)
    share = -(-total // team.size)
    # the last share is filled up with the last picture, so that all are of one length
    mine = np.minimum(np.arange(team.rank * share, (team.rank + 1) * share), total - 1)
    parts = []
    for rows in np.array_split(mine, -(-share // STATISTICS_BATCH)):
        pictures = sampler.pictures_of_rows(rows)
        features = frozen.features(pictures)
        found = [frozen.statistics(features, pictures)]
        if reader is not None:
            points, maps = reader(features)
            found += [points.flatten(1), entropy(maps)[:, None]]
        parts.append(torch.cat(found, dim=1).cpu())
    together = team.gather_rows(torch.cat(parts))[:total]
    size = len(frozen.mean)
    points = together[:, size:-1] if reader is not None else together[:, :0]
    return Known(together[:, :size], points.unflatten(1, (-1, 2)), together[:, -1])
