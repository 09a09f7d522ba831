"""Several processes that train one model, started for real."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_runs import tiny_config

from facemeld.cli.train import _training_config
from facemeld.config import write_toml
from facemeld.errors import UserError
from facemeld.training import needs, processes
from facemeld.training.guard import StepGuard
from facemeld.training.processes import SharedFlag, Team, best_size, cores, launch


def network() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def gradients_of_share(team: Team) -> list[torch.Tensor]:
    """Gradients of a mean loss over four samples, each process with its share of them."""
    layer = network()
    samples = torch.linspace(-1, 1, 12).view(4, 3)
    share = samples[team.rank * 4 // team.size : (team.rank + 1) * 4 // team.size]
    loss = layer(share).square().mean()
    loss.backward()
    unused = torch.nn.Parameter(torch.zeros(2))  # without a gradient, as where a loss is off
    mean = team.average_gradients([*layer.parameters(), unused], loss)
    assert unused.grad is None
    return [mean, *(p.grad for p in layer.parameters())]


def flags_seen(team: Team) -> list[int]:
    """What each call sees while the last process raises a flag at the third one."""
    flag = SharedFlag(team)
    seen = [flag.poll(15 if call == 2 and team.rank == team.size - 1 else 0) for call in range(5)]
    assert flag.finish() == 0
    return seen


def judged(team: Team) -> list[float]:
    """The weight after a step whose loss, and one whose gradient, is bad in one process only."""
    weights = []
    for bad_loss, bad_gradient in ((True, False), (False, True), (False, False)):
        weight = torch.nn.Parameter(torch.ones(1))
        alone = team.rank == team.size - 1
        weight.grad = torch.full((1,), float("nan") if alone and bad_gradient else 1.0)
        loss = torch.tensor(float("inf") if alone and bad_loss else 1.0)
        mean = team.average_gradients([weight], loss)
        optimizer = torch.optim.Adam([weight], lr=0.5, fused=True)
        norm = torch.nn.utils.get_total_norm([weight.grad])
        StepGuard(team.device).step([optimizer], mean, norm)
        weights.append(round(weight.item(), 4))
    return weights


def told_by_leader(team: Team) -> list[str]:
    """A result and a mistake that only the leader has."""

    def fail() -> None:
        raise UserError("no rights", where="run", fix="ask")

    heard = [team.from_leader(lambda: "yes" if team.leads else pytest.fail("asked a follower"))]
    try:
        team.from_leader(fail)
    except UserError as error:
        heard.append(str(error))
    return heard


def own_mistake(team: Team) -> str:
    """A mistake that only the last process has."""

    def fail() -> int:
        if team.rank == team.size - 1:
            raise UserError("unreadable there")
        return 1

    try:
        team.together(fail)
    except UserError as error:
        return str(error)
    return ""


def work_together(team: Team, folder: Path) -> None:
    """What each process sees, for the test to compare."""
    facts = {
        "gradients": [g.tolist() for g in gradients_of_share(team)],
        "flags": flags_seen(team),
        "judged": judged(team),
        "told": told_by_leader(team),
        "mistake": own_mistake(team),
        "together": team.together(lambda: team.rank),
        "rows": team.gather_rows(torch.full((2, 3), float(team.rank))).tolist(),
        "leads": team.leads,
        "threads": torch.get_num_threads(),
    }
    (folder / f"{team.rank}.json").write_text(json.dumps(facts))


def fail_together(team: Team) -> None:
    """A mistake of the person that every process runs into."""
    raise UserError("the pictures are unreadable")


def fail_alone(team: Team) -> None:
    """A mistake that only the leader runs into, such as a full disk, while the others wait."""
    if team.leads:
        raise UserError("the disk is full")
    team.add_up(torch.zeros(1))


def die_alone(team: Team) -> None:
    """The end of a process that nobody can catch, while the leader waits for its message."""
    if not team.leads:
        os.kill(os.getpid(), signal.SIGKILL)
    team.add_up(torch.zeros(1))


def test_two_processes_work_as_one(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    launch(2, work_together, tmp_path)
    assert torch.get_num_threads() == threads
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    whole = gradients_of_share(Team())
    for facts in (first, second):
        for gradient, expected in zip(facts["gradients"], whole, strict=True):
            torch.testing.assert_close(torch.tensor(gradient), expected)
        assert facts["flags"] == [0, 0, 0, 15, 0]
        assert facts["judged"] == [1.0, 1.0, 0.5]
        assert facts["told"] == ["yes", "no rights\n  where: run\n  fix:   ask"]
        assert facts["mistake"] == "unreadable there"
        assert facts["rows"] == [[0.0] * 3] * 2 + [[1.0] * 3] * 2
    assert first["leads"] and not second["leads"]
    assert (first["together"], second["together"]) == (0, 1)
    assert second["threads"] * 2 <= max(2, threads)


def test_one_process_is_this_one(tmp_path: Path) -> None:
    launch(1, work_together, tmp_path)
    facts = json.loads((tmp_path / "0.json").read_text())
    assert facts["flags"] == [0, 0, 15, 0, 0] and facts["rows"] == [[0.0] * 3] * 2
    assert facts["leads"]


@pytest.mark.parametrize("work", [fail_together, fail_alone])
def test_a_mistake_of_the_person_is_told_once(
    work: Callable[[Team], None], capfd: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match="unreadable|full"):
        launch(2, work)
    assert "Traceback" not in capfd.readouterr().err
    assert not multiprocessing.active_children()
    assert time.monotonic() - began < 25  # far below the time-outs of torch.distributed


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="not on this system")
def test_only_the_cores_that_this_process_may_use_count() -> None:
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        assert cores() == 1 and best_size(8) == 1
    finally:
        os.sched_setaffinity(0, mine)
    assert cores() == len(mine) and 8 % best_size(8) == 0


def test_a_process_that_dies_ends_the_run_quickly(capfd: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match="process 1 of the run's 2 ended .killed by signal 9.") as e:
        launch(2, die_alone)
    assert "--resume auto" in e.value.fix
    assert "Traceback" not in capfd.readouterr().err
    assert not multiprocessing.active_children()
    assert time.monotonic() - began < 25


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from facemeld.training.processes import launch\ndef work(team): pass\nlaunch(2, work)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "UserError: a worker process ended before it began" in done.stderr
    assert "__main__" in done.stderr


def test_auto_keeps_the_number_that_a_run_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "cores", lambda: 4)
    monkeypatch.setattr(needs, "cores", lambda: 4)
    for recipe, chosen in (("lean", 4), ("fast", 1), ("starganv2", 1)):
        config, out = tiny_config(recipe, processes=0), tmp_path / recipe
        assert needs.processes_of(config, out) == chosen
        assert needs.processes_of(dataclasses.replace(config, processes=3), out) == 3
        (out / "checkpoints").mkdir(parents=True)
        write_toml(dataclasses.replace(config, processes=2), out / "config.toml")
        assert needs.processes_of(config, out) == chosen, "nothing was trained there yet"
        (out / "checkpoints" / "pictures-000000000008.safetensors").touch()
        assert needs.processes_of(config, out) == 2
        write_toml(dataclasses.replace(config, processes=8), out / "config.toml")
        assert needs.processes_of(config, out) == chosen, "more than there are cores"


@pytest.mark.parametrize("given", [{"processes": "auto"}, {"processes": 0}])
def test_auto_is_a_word(given: dict) -> None:
    assert _training_config("smoke", None, given).processes == 0
