"""What frozen features say of the training pictures: kept beside the decoded ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from facemeld.data.cache import cached_pictures
from facemeld.data.folders import scan_domains
from facemeld.data.sampling import BatchSampler
from facemeld.data.store import load_pictures
from facemeld.networks.features import FeatureStatistics
from facemeld.networks.points import load_point_reader
from facemeld.training.frozen import known_pictures
from facemeld.training.processes import Team

SIZE = 16


@pytest.fixture
def frozen() -> FeatureStatistics:
    torch.manual_seed(0)
    return FeatureStatistics(feature_size=32)


@pytest.fixture
def sampler(faces: Path, tmp_path: Path) -> BatchSampler:
    store = cached_pictures(scan_domains(faces), SIZE, tmp_path / "cache")
    return BatchSampler(store, sources=2, latent_size=4, seed=0)


def look(frozen: FeatureStatistics, sampler: BatchSampler, reader=None):
    """The findings, and whether the pictures were looked at."""
    said: list[str] = []
    known = known_pictures(frozen, reader, sampler, Team(), said.append)
    return known, bool(said)


def test_pictures_are_looked_at_once(frozen: FeatureStatistics, sampler: BatchSampler) -> None:
    (first, looked), (again, looked_again) = look(frozen, sampler), look(frozen, sampler)
    assert looked and not looked_again
    assert all(map(torch.equal, first, again))
    assert len(first.statistics) == sum(map(len, sampler.store.pictures))


def test_points_are_kept_too(sampler: BatchSampler) -> None:
    frozen, reader = FeatureStatistics(), load_point_reader()
    plain, _ = look(frozen, sampler)
    first, looked = look(frozen, sampler, reader)
    again, looked_again = look(frozen, sampler, reader)
    assert looked and not looked_again and first.points.shape[1] and not plain.points.shape[1]
    assert all(map(torch.equal, first, again))


def test_other_weights_and_sizes_look_anew(
    frozen: FeatureStatistics, sampler: BatchSampler
) -> None:
    first, _ = look(frozen, sampler)
    with torch.no_grad():
        frozen.features.stem.bias += 1
    other, looked = look(frozen, sampler)
    assert looked and not torch.equal(first.statistics, other.statistics)
    frozen.features.input_size = 64
    assert look(frozen, sampler)[1]


def test_a_damaged_file_is_made_anew(
    frozen: FeatureStatistics, sampler: BatchSampler, tmp_path: Path
) -> None:
    first, _ = look(frozen, sampler)
    (file,) = (tmp_path / "cache").glob("*.statistics")
    file.write_bytes(file.read_bytes()[:-9])
    again, looked = look(frozen, sampler)
    assert looked and all(map(torch.equal, first, again))


def test_pictures_from_no_cache_leave_no_file(
    frozen: FeatureStatistics, faces: Path, tmp_path: Path
) -> None:
    store = load_pictures(scan_domains(faces), SIZE)
    sampler = BatchSampler(store, sources=2, latent_size=4, seed=0)
    assert look(frozen, sampler)[1] and look(frozen, sampler)[1]
    assert not list(tmp_path.iterdir())
