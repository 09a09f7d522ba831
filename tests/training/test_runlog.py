"""What a run tells: speed without its pauses, readable times, means in every place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from facemeld.training.processes import Team
from facemeld.training.runlog import Means, RunLog, Speed, duration


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_speed_is_that_since_the_last_measurement() -> None:
    clock = Clock()
    speed = Speed(500, now=clock)
    clock.time += 10
    assert speed.measure(700, total=1000) == (20.0, 15.0)
    clock.time += 5
    assert speed.measure(750, total=1000) == (10.0, 25.0)


def test_pauses_do_not_count() -> None:
    clock = Clock()
    speed = Speed(0, now=clock)
    clock.time += 10
    speed.pause(4)
    speed.pause(1)
    assert speed.measure(100, total=200) == (20.0, 5.0)
    clock.time += 10
    assert speed.measure(200, total=200) == (10.0, 0.0)


def test_without_progress_the_time_left_is_unknown() -> None:
    clock = Clock()
    speed = Speed(10, now=clock)
    clock.time += 1
    rate, left = speed.measure(10, total=20)
    assert rate == 0 and duration(left) == "unknown time"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (12.4, "12 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (100 * 3600, "100 h 00 min"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_means_are_over_the_iterations_that_had_the_number() -> None:
    means = Means()
    means.add({"loss": torch.tensor(1.0), "rare": torch.tensor(5.0)})
    means.add({"loss": torch.tensor(4.0)})
    assert means.take(Team()) == {"loss": 2.5, "rare": 5.0}
    means.add({"loss": torch.tensor(7.0, dtype=torch.bfloat16)})
    assert means.take(Team()) == {"loss": 7.0}


def test_numbers_that_are_not_finite_are_not_averaged_in() -> None:
    means = Means()
    for value in (2.0, float("nan"), float("inf"), 4.0):
        means.add({"loss": torch.tensor(value), "broken": torch.tensor(float("nan"))})
    assert means.take(Team()) == {"loss": 3.0}


def test_means_go_to_the_log_and_the_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = RunLog(tmp_path, total=64, start=0)
    log.report(16, {"loss": 2.5, "rare": 5.0})
    log.report(32, {"loss": 7.0}, left_out=3)
    log.close()

    first, second = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert (first["pictures"], first["loss"], first["rare"]) == (16, 2.5, 5.0)
    assert (second["pictures"], second["loss"], second["left_out"]) == (32, 7.0, 3)
    assert "rare" not in second and "left_out" not in first
    assert first["pictures_per_second"] > 0
    # this process has torch in it; its peak never falls
    assert 50 < first["peak_memory_mb"] <= second["peak_memory_mb"] < 1e6
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.split(",")[0] for line in told.err.splitlines()] == [
        "16/64 pictures",
        "32/64 pictures",
    ]
    assert "left out" not in told.err.splitlines()[0] and "3 iterations" in told.err
    (events,) = tmp_path.glob("events.out.tfevents.*")
    assert b"loss" in events.read_bytes()


@pytest.mark.parametrize("killed_at", ["", '{"pictu'])
def test_a_resumed_run_adds_whole_lines_to_its_log(tmp_path: Path, killed_at: str) -> None:
    for start in (0, 16):
        log = RunLog(tmp_path, total=32, start=start)
        log.report(start + 16, {"loss": 1.0})
        log.close()
        with (tmp_path / "log.jsonl").open("a") as file:
            file.write(killed_at)
    log = RunLog(tmp_path, total=48, start=32)
    log.report(48, {"loss": 1.0})
    log.close()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["pictures"] for line in lines] == [16, 32, 48]
