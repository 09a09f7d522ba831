"""Several processes that train one model, started for real."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from facemeld.errors import UserError
from facemeld.training.processes import Team, launch


def network() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def gradients_of_share(team: Team) -> list[torch.Tensor]:
    """Gradients of a mean loss over four samples, each process with its share of them."""
    layer = network()
    samples = torch.linspace(-1, 1, 12).view(4, 3)
    share = samples[team.rank * 4 // team.size : (team.rank + 1) * 4 // team.size]
    layer(share).square().mean().backward()
    unused = torch.nn.Parameter(torch.zeros(2))  # without a gradient, as where a loss is off
    team.average_gradients([*layer.parameters(), unused])
    assert unused.grad is None
    return [p.grad for p in layer.parameters()]


def work_together(team: Team, folder: Path) -> None:
    """What each process sees, for the test to compare."""
    facts = {
        "gradients": [g.tolist() for g in gradients_of_share(team)],
        "any": [team.any(False), team.any(team.rank == 1), team.any(True)],
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
    team.any(False)


def test_two_processes_work_as_one(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    launch(2, work_together, tmp_path)
    assert torch.get_num_threads() == threads
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    whole = gradients_of_share(Team())
    for facts in (first, second):
        for gradient, expected in zip(facts["gradients"], whole, strict=True):
            torch.testing.assert_close(torch.tensor(gradient), expected)
        assert facts["any"] == [False, True, True]
        assert facts["rows"] == [[0.0] * 3] * 2 + [[1.0] * 3] * 2
    assert first["leads"] and not second["leads"]
    assert second["threads"] * 2 <= max(2, threads)


def test_one_process_is_this_one(tmp_path: Path) -> None:
    launch(1, work_together, tmp_path)
    facts = json.loads((tmp_path / "0.json").read_text())
    assert facts["any"] == [False, False, True] and facts["rows"] == [[0.0] * 3] * 2
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


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from facemeld.training.processes import launch\ndef work(team): pass\nlaunch(2, work)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "UserError: a worker process ended before it began" in done.stderr
    assert "__main__" in done.stderr
