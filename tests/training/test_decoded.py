"""The pictures of a run with several processes: decoded once on each machine."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import torch
from tiny_runs import tiny_config

from facemeld.config import TrainingConfig
from facemeld.data.folders import DomainFolders, scan_domains
from facemeld.data.store import load_pictures
from facemeld.training.decoded import decoded_pictures
from facemeld.training.processes import Team, launch

MACHINES = ("first", "second", "second")  # of each rank


def take(team: Team, config: TrainingConfig, folders: DomainFolders, out: Path) -> None:
    """Writes down whether this rank decoded, and whether its pictures are those of the files."""
    machine = MACHINES[team.rank]
    os.environ |= {
        "FACEMELD_HOME": str(out / machine),
        "RANK": str(team.rank),
        "WORLD_SIZE": str(team.size),
        "LOCAL_RANK": str(MACHINES[: team.rank].count(machine)),
        "MASTER_ADDR": "127.0.0.1",
    }
    said: list[str] = []
    store = decoded_pictures(config, folders, out / "run", team, said.append)
    right = load_pictures(folders, config.network.image_size)
    facts = {
        "decoded": len(said),
        "file": str(store.pictures[0].filename),
        "right": all(map(np.array_equal, store.pictures, right.pictures)),
    }
    (out / f"{team.rank}.json").write_text(json.dumps(facts))


def test_a_machine_that_cannot_see_the_leaders_cache_makes_one(
    faces: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("FACEMELD_HOME", "")  # put back, since rank 0 is this process
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    folders, threads = scan_domains(faces), torch.get_num_threads()
    config = tiny_config("lean", str(faces))
    network = dataclasses.replace(config.network, domains=folders.domains)
    config = dataclasses.replace(config, network=network)
    try:
        launch(3, take, config, folders, tmp_path)
    finally:
        torch.set_num_threads(threads)
    facts = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(3)]
    assert all(fact["right"] for fact in facts)
    assert [fact["decoded"] for fact in facts] == [1, 1, 0]
    for fact, machine in zip(facts, MACHINES, strict=True):
        assert Path(fact["file"]).is_relative_to(tmp_path / machine)
    assert facts[1]["file"] == facts[2]["file"] != facts[0]["file"]
