"""Runs that were cut: they go on bitwise, only with their own options, and never lose the past."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from full_disk import largest_file
from tiny_runs import ITERATIONS, checkpoints, equal_lines, log_lines, tensors_of, tiny_config

from facemeld.config import LossWeights, write_toml
from facemeld.errors import UserError
from facemeld.training.loop import train
from facemeld.training.run_folder import open_run


def test_a_resumed_run_ends_bitwise_the_same(
    copied: Path, finished: Path, recipe_name: str, faces: Path
) -> None:
    checkpoints(copied)[-1].unlink()
    shutil.rmtree(copied / "model")
    train(tiny_config(recipe_name, faces), copied)
    mine, theirs = tensors_of(copied), tensors_of(finished)
    assert mine.keys() == theirs.keys()
    for name in theirs:
        assert torch.equal(mine[name], theirs[name]), name
    for name in ("model.safetensors", "config.json"):
        assert (copied / "model" / name).read_bytes() == (finished / "model" / name).read_bytes()
    assert equal_lines(copied)[ITERATIONS:] == equal_lines(finished)[3:]


def test_a_run_may_be_cut_after_any_iteration(
    finished: Path, recipe_name: str, faces: Path, tmp_path: Path
) -> None:
    config = tiny_config(recipe_name, faces, checkpoint_every=8, keep_checkpoints=ITERATIONS)
    train(config, tmp_path / "whole")
    expected = tensors_of(tmp_path / "whole")
    config = dataclasses.replace(config, checkpoint_every=10**6)
    for cut in checkpoints(tmp_path / "whole")[:-1]:
        train(config, tmp_path / cut.stem, resume=str(cut))
        mine = tensors_of(tmp_path / cut.stem)
        assert all(torch.equal(mine[name], expected[name]) for name in expected), cut
    # how often it is saved changes nothing either
    assert all(torch.equal(tensors_of(finished)[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, None)])
def test_a_request_to_stop_saves_and_leaves(
    number: int, code: int | None, finished: Path, faces: Path, tmp_path: Path
) -> None:
    config = tiny_config(finished.name, faces)
    asking = threading.Thread(target=ask_to_stop, args=(tmp_path / "run" / "log.jsonl", number))
    asking.start()
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt if code is None else SystemExit) as caught:
        train(config, tmp_path / "run")
    asking.join()
    assert code is None or caught.value.code == code
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    (saved,) = checkpoints(tmp_path / "run")[-1:]
    assert saved.name < "pictures-000000000048" and not (tmp_path / "run" / "model").exists()
    train(config, tmp_path / "run")
    mine, theirs = tensors_of(tmp_path / "run"), tensors_of(finished)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def ask_to_stop(log: Path, number: int) -> None:
    """Sends a signal to this process once the log has a line."""
    while not (log.is_file() and log.stat().st_size):
        time.sleep(0.001)
    os.kill(os.getpid(), number)


def test_a_branch_that_was_left_is_not_taken_up_again(
    copied: Path, recipe_name: str, faces: Path
) -> None:
    first, last = checkpoints(copied)
    content = last.read_bytes()
    train(tiny_config(recipe_name, faces, pictures=32), copied, resume=str(first))
    left = copied / "checkpoints" / "left-001"
    assert (left / last.name).read_bytes() == content
    train(tiny_config(recipe_name, faces), copied)
    assert [line["pictures"] for line in log_lines(copied)][ITERATIONS:] == [32, 40, 48]
    assert [path.name for path in left.iterdir()] == [last.name]


def test_a_damaged_checkpoint_costs_only_its_own_pictures(
    copied: Path, finished: Path, recipe_name: str, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = checkpoints(copied)[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    train(tiny_config(recipe_name, faces), copied)
    assert f"skipping a damaged checkpoint: {newest}" in capsys.readouterr().err
    weights = Path("model/model.safetensors")
    assert (copied / weights).read_bytes() == (finished / weights).read_bytes()


def test_a_finished_run_is_not_trained_on(copied: Path, recipe_name: str, faces: Path) -> None:
    shutil.rmtree(copied / "model")
    train(tiny_config(recipe_name, faces), copied)
    assert len(log_lines(copied)) == ITERATIONS
    assert (copied / "model" / "model.safetensors").is_file()


def test_a_run_can_start_from_a_checkpoint_elsewhere(
    finished: Path, recipe_name: str, faces: Path, tmp_path: Path
) -> None:
    train(tiny_config(recipe_name, faces), tmp_path / "b", resume=str(checkpoints(finished)[0]))
    assert [line["pictures"] for line in log_lines(tmp_path / "b")] == [32, 40, 48]
    weights = Path("model/model.safetensors")
    assert (tmp_path / "b" / weights).read_bytes() == (finished / weights).read_bytes()


def test_changed_options_are_refused_by_name(copied: Path, recipe_name: str, faces: Path) -> None:
    before = (copied / "config.toml").read_bytes()
    changed = tiny_config(recipe_name, faces, batch_size=16, learning_rate=0.01, log_every=16)
    network = dataclasses.replace(changed.network, style_size=12)
    changed = dataclasses.replace(changed, network=network)
    with pytest.raises(UserError) as caught:
        train(changed, copied)
    assert "batch_size (was 8, now 16)" in caught.value.what
    assert "learning_rate (was 0.001, now 0.01)" in caught.value.what
    assert "network.style_size (was 8, now 12)" in caught.value.what
    assert "log_every" not in caught.value.what
    assert (copied / "config.toml").read_bytes() == before


def test_options_that_change_no_result_may_change(
    copied: Path, recipe_name: str, faces: Path
) -> None:
    train(tiny_config(recipe_name, faces, pictures=56, log_every=56, keep_checkpoints=1), copied)
    assert [line["pictures"] for line in log_lines(copied)][ITERATIONS:] == [56]
    assert [p.name for p in checkpoints(copied)] == ["pictures-000000000056.safetensors"]


def test_options_that_the_recipe_ignores_may_change(tmp_path: Path) -> None:
    # a run from before they were refused can go on without them
    config = tiny_config("starganv2").resolved()
    began = dataclasses.replace(config, warmup_pictures=8, weights=LossWeights(landmarks=1.0))
    write_toml(began, tmp_path / "config.toml")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "pictures-000000000008.safetensors").touch()
    device = torch.device("cpu")
    assert open_run(config, tmp_path, "auto", device=device) == config
    weights = dataclasses.replace(config.weights, cycle=2.0)
    with pytest.raises(UserError, match=r"weights.cycle \(was 1.0, now 2.0\)"):
        changed = dataclasses.replace(config, weights=weights)
        open_run(changed, tmp_path, "auto", device=device)


def test_never_resume_refuses_a_folder_with_checkpoints(
    copied: Path, recipe_name: str, faces: Path
) -> None:
    with pytest.raises(UserError, match="has checkpoints") as caught:
        train(tiny_config(recipe_name, faces), copied, resume="never")
    assert caught.value.where == str(copied)


def test_a_checkpoint_of_other_networks_is_refused(
    finished: Path, recipe_name: str, faces: Path, tmp_path: Path
) -> None:
    config = tiny_config(recipe_name, faces)
    wider = dataclasses.replace(config.network, style_size=12)
    with pytest.raises(UserError, match="another configuration"):
        train(
            dataclasses.replace(config, network=wider),
            tmp_path / "b",
            resume=str(checkpoints(finished)[0]),
        )


def test_a_checkpoint_of_another_batch_size_is_refused(
    finished: Path, recipe_name: str, faces: Path, tmp_path: Path
) -> None:
    config = tiny_config(recipe_name, faces, batch_size=16)
    with pytest.raises(UserError, match="another batch size"):
        train(config, tmp_path / "b", resume=str(checkpoints(finished)[0]))


def test_a_missing_checkpoint_is_refused(recipe_name: str, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such checkpoint"):
        train(tiny_config(recipe_name, faces), tmp_path / "run", resume=str(tmp_path / "none"))


def test_a_full_disk_leaves_the_last_checkpoint_intact(
    copied: Path, recipe_name: str, faces: Path
) -> None:
    checkpoints(copied)[-1].unlink()
    (earlier,) = checkpoints(copied)
    content = earlier.read_bytes()
    with largest_file(8000), pytest.raises(UserError, match="write"):
        train(tiny_config(recipe_name, faces, sample_every=10**6), copied)
    assert checkpoints(copied) == [earlier] and earlier.read_bytes() == content


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
def test_a_log_that_cannot_be_written_is_a_clear_error(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left"):
        train(tiny_config("starganv2", faces), tmp_path / "run")
