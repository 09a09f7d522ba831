"""Reading runs: clocks, damage, labels, scores; without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_folders import LINES, write_checkpoint, write_run
from tiny_models import untrained

from facemeld.errors import UserError
from facemeld.reports.runs import Run, read_runs, speed_quartiles


def read(*folders: Path) -> list[Run]:
    return read_runs([str(folder) for folder in folders])


def line(pictures: int, speed: float, **numbers: float) -> dict:
    return {"pictures": pictures, "pictures_per_second": speed} | numbers


def test_the_log_has_a_clock_of_pictures_and_one_of_seconds(tmp_path: Path) -> None:
    lines = [line(8, 4.0, a=1.0), line(16, 8.0, a=3.0), line(32, 2.0, b=5.0)]
    log = read(write_run(tmp_path / "run", lines=lines))[0].log
    assert log.pictures == [8, 16, 32] and log.speeds == [4.0, 8.0, 2.0]
    assert log.seconds == [2.0, 3.0, 11.0] and log.names == ["a", "b"]
    assert log.series("a", log.pictures) == ([8, 16], [1.0, 3.0])
    assert log.at("a", log.pictures, 12) == 2.0 and log.at("a", log.seconds, 2.25) == 1.5
    assert log.at("a", log.pictures, 16) == 3.0
    assert [log.at("a", log.pictures, p) for p in (7, 17)] == [None, None]
    assert log.at("c", log.pictures, 8) is None


def test_memory_is_the_highest_of_the_log_and_no_metric(tmp_path: Path) -> None:
    lines = [line(8, 4.0), line(16, 4.0, peak_memory_mb=900), line(24, 4.0, peak_memory_mb=700)]
    log = read(write_run(tmp_path / "run", lines=lines, pictures=24))[0].log
    assert log.peak_memory_mb == 900 and log.names == []
    assert read(write_run(tmp_path / "old"))[0].log.peak_memory_mb is None


def test_the_spread_of_the_speed_is_that_of_the_lines(tmp_path: Path) -> None:
    lines = [line(8 * i, speed) for i, speed in enumerate([10.0, 2.0, 8.0, 4.0, 6.0], 1)]
    log = read(write_run(tmp_path / "run", lines=lines))[0].log
    assert speed_quartiles(log) == (4.0, 6.0, 8.0)
    log = read(write_run(tmp_path / "one", lines=lines[:1]))[0].log
    assert speed_quartiles(log) == (10.0, 10.0, 10.0)


def test_damaged_lines_are_left_out_with_a_note(tmp_path: Path) -> None:
    damage = ["{", "[1]", "null", "{}", '{"pictures": "8", "pictures_per_second": 1}', '"x"']
    damage += ['{"pictures": 8, "pictures_per_second": NaN}', "\udc80".encode("utf-8", "replace")]
    lines = [*damage[:-1], damage[-1].decode(), *LINES, '{"pictures": 40, "pictures_per_sec']
    run = read(write_run(tmp_path / "run", lines=lines))[0]
    assert run.log.pictures == [8, 16, 24, 32]
    assert run.notes == ("9 damaged lines of the log are left out",)


def test_what_a_crash_undid_is_left_out(tmp_path: Path) -> None:
    lines = [line(8, 4.0, a=1.0), line(16, 4.0, a=2.0), line(24, 4.0, a=3.0)]
    lines += [line(16, 8.0, a=4.0), line(24, 8.0, a=5.0)]
    run = read(write_run(tmp_path / "run", lines=lines, pictures=24))[0]
    assert run.log.series("a", run.log.seconds) == ([2.0, 3.0, 4.0], [1.0, 4.0, 5.0])
    assert "2 lines" in run.notes[0]


def test_a_log_that_begins_late_counts_time_from_there(tmp_path: Path) -> None:
    run = read(write_run(tmp_path / "run", lines=[line(800, 4.0), line(808, 2.0)]))[0]
    assert run.log.seconds == [2.0, 6.0]
    assert "begins at 800 pictures" in run.notes[0]


@pytest.mark.parametrize("text", ["", "{\n"])
def test_a_run_without_a_log_is_still_a_run(text: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "log.jsonl").write_text(text)
    run = read(folder)[0]
    assert run.log is None and run.notes[-1] == "the log is empty"
    (folder / "log.jsonl").unlink()
    assert "no log" in read(folder)[0].notes[0]


def test_the_newest_of_model_and_checkpoints_is_taken(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert read(folder)[0].model == folder / "model"
    path = write_checkpoint(folder, untrained("resnet"), 40)
    os.utime(path, (2e9, 2e9))
    assert read(folder)[0].model is None
    os.utime(folder / "model" / "model.safetensors", (3e9, 3e9))
    assert read(folder)[0].model == folder / "model"


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    run = read(write_run(tmp_path / "run", lines=LINES[:2], finished=False))[0]
    assert run.model is None and run.notes == ("not finished: 16 of 32 pictures",)


def test_labels_tell_runs_apart(tmp_path: Path, resnet_model: Path) -> None:
    a, b = write_run(tmp_path / "a" / "run"), write_run(tmp_path / "b" / "run")
    assert [r.label for r in read(a)] == ["run"]
    assert [r.label for r in read(a, b)] == ["a/run", "b/run"]
    assert [r.label for r in read(a, a)] == ["run (1)", "run (2)"]
    assert [r.label for r in read(a / "model", resnet_model)] == ["run", "resnet"]


def test_a_model_without_a_run_is_accepted(tmp_path: Path, resnet_model: Path) -> None:
    run = read(resnet_model)[0]
    assert run.config is None and run.log is None and run.options["network.image_size"] == 16
    assert read_runs(["faces"])[0].label == "faces"


def test_scores_beside_run_and_model_are_found(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    mean = {"reference": {"distance": 9.5, "covered": 1}, "note": "x", "good": True}
    scores = {"protocol": "light", "mean": mean, "domains": [{"distance": 1}]}
    (folder / "evaluation.json").write_text(json.dumps(scores))
    (folder / "model" / "scores-clean.json").write_text(json.dumps({"fid": 3}))
    (folder / "scores.json").write_text("[1")
    (folder / "scores-list.json").write_text("[1]")
    (folder / "other.json").write_text(json.dumps({"mean": {"a": 1}}))
    run = read(folder)[0]
    light, clean = run.scores
    assert (light.file, light.protocol) == ("evaluation.json", "light")
    assert light.values == {"reference.distance": 9.5, "reference.covered": 1.0}
    assert (clean.protocol, clean.values) == ("unknown", {"fid": 3.0})
    assert sum("cannot be read" in note for note in run.notes) == 2


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run"):
        read_runs([])
    with pytest.raises(UserError, match="neither a run folder"):
        read(tmp_path)
    with pytest.raises(UserError, match="no such model"):
        read(tmp_path / "none")
    folder = write_run(tmp_path / "run", finished=False)
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="neither a model nor a checkpoint"):
        read(folder)
    (folder / "config.toml").write_text("batch_size = [")
    with pytest.raises(UserError, match="not a readable TOML"):
        read(folder)


def test_runs_are_read_without_torch(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    code = (
        "import sys; from facemeld.reports.runs import read_runs; read_runs(sys.argv[1:]); "
        "raise SystemExit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60)
