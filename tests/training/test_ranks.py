"""One global batch, shared by 1, 2 or 4 processes: the same run.

Compared in double precision. In fp32 the ranks add up the same gradients in another order, and
Adam turns the rounding of gradients that are almost zero into whole steps: what is left then says
more about Adam than about the division of work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from tiny_runs import equal_lines, tensors_of, tiny_config

from facemeld.config import TrainingConfig
from facemeld.data.catalogue import find_weights
from facemeld.data.folders import DomainFolders, scan_domains
from facemeld.training.loop import _run
from facemeld.training.processes import Team, launch

STEPS = 20
RECIPES = ("starganv2", "fast", "lean")
"""The projected generator's run is left out: it divides its work as `lean` does, in minutes."""
SIZES = (1, 2, 4)


def test_one_two_and_four_ranks_agree(faces: Path, tmp_path: Path) -> None:
    folders = scan_domains(faces)
    configs = {recipe: resolved(recipe, folders) for recipe in RECIPES}
    threads = torch.get_num_threads()
    try:
        for size in SIZES:
            torch.set_num_threads(1)
            launch(size, train_all, configs, folders, tmp_path / str(size))
    finally:
        torch.set_num_threads(threads)
    for recipe in RECIPES:
        alone, logged = (read(tmp_path / "1" / recipe) for read in (tensors_of, equal_lines))
        assert all(value == value for line in logged for value in line.values())
        for size in SIZES[1:]:
            shared = tensors_of(tmp_path / str(size) / recipe)
            assert shared.keys() == alone.keys()
            for name, tensor in alone.items():
                gap = (tensor.double() - shared[name].double()).abs().max().item()
                assert gap < 1e-5, (recipe, size, name, gap)
            # what the leader writes down are means over all ranks
            for mine, theirs in zip(logged, equal_lines(tmp_path / str(size) / recipe)):
                assert mine.keys() == theirs.keys()
                assert all(abs(mine[name] - theirs[name]) < 2e-5 for name in mine), (mine, theirs)


def resolved(recipe: str, folders: DomainFolders) -> TrainingConfig:
    # weight decay is all that moves a bias in front of a norm: around zero, by whole steps of Adam
    config = tiny_config(recipe, str(folders.root), pictures=8 * STEPS, weight_decay=0.0)
    config = dataclasses.replace(config, log_every=32, sample_every=10**6, checkpoint_every=10**6)
    network = dataclasses.replace(config.network, domains=folders.domains)
    return dataclasses.replace(config, network=network).resolved()


def train_all(team: Team, configs: dict, folders: DomainFolders, out: Path) -> None:
    """A run of every recipe, one after the other, as one rank of a team."""
    with double_precision():
        for recipe, config in configs.items():
            (out / recipe).mkdir(parents=True, exist_ok=True)
            features = find_weights("efficientnet-lite0") if config.recipe == "lean" else None
            _run(team, config, folders, out / recipe, "never", features, None)


@contextmanager
def double_precision() -> Iterator[None]:
    """Whatever asks for fp32 in here gets fp64."""
    single, to_single, from_numpy = torch.float32, torch.Tensor.float, torch.from_numpy

    def doubled(values: np.ndarray) -> torch.Tensor:
        return from_numpy(values.astype("float64") if values.dtype == "float32" else values)

    torch.set_default_dtype(torch.float64)
    torch.float32, torch.Tensor.float, torch.from_numpy = (
        torch.float64, torch.Tensor.double, doubled,
    )  # fmt: skip
    try:
        yield
    finally:
        torch.float32, torch.Tensor.float, torch.from_numpy = single, to_single, from_numpy
        torch.set_default_dtype(single)
