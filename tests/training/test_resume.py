"""Runs that were cut: they go on bitwise, only with their own options, and never lose the past."""

from __future__ import annotations

import dataclasses
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_runs import ITERATIONS, checkpoints, log_lines, tensors_of, tiny_config

from facemeld.errors import UserError
from facemeld.training.loop import train


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
    resumed = log_lines(copied)[ITERATIONS:]
    timeless = [{k: v for k, v in line.items() if k != "pictures_per_second"} for line in resumed]
    expected = log_lines(finished)[3:]
    for line in expected:
        line.pop("pictures_per_second")
    assert timeless == expected


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
    with pytest.raises(UserError) as caught:
        train(changed, copied)
    assert "batch_size" in caught.value.what and "learning_rate" in caught.value.what
    assert "log_every" not in caught.value.what
    assert (copied / "config.toml").read_bytes() == before


def test_options_that_change_no_result_may_change(
    copied: Path, recipe_name: str, faces: Path
) -> None:
    train(tiny_config(recipe_name, faces, pictures=56, log_every=56, keep_checkpoints=1), copied)
    assert [line["pictures"] for line in log_lines(copied)][ITERATIONS:] == [56]
    assert [p.name for p in checkpoints(copied)] == ["pictures-000000000056.safetensors"]


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


def test_a_missing_checkpoint_is_refused(recipe_name: str, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such checkpoint"):
        train(tiny_config(recipe_name, faces), tmp_path / "run", resume=str(tmp_path / "none"))


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 8 kB from now on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_last_checkpoint_intact(
    copied: Path, recipe_name: str, faces: Path, full_disk: None
) -> None:
    checkpoints(copied)[-1].unlink()
    (earlier,) = checkpoints(copied)
    content = earlier.read_bytes()
    with pytest.raises(UserError, match="write"):
        train(tiny_config(recipe_name, faces, sample_every=10**6), copied)
    assert checkpoints(copied) == [earlier] and earlier.read_bytes() == content


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
def test_a_log_that_cannot_be_written_is_a_clear_error(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left"):
        train(tiny_config("starganv2", faces), tmp_path / "run")
