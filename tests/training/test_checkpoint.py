"""Checkpoints: bitwise, safe against crashes and full disks, and tidy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from full_disk import largest_file
from torch import nn

from facemeld.errors import UserError
from facemeld.training import checkpoint

Parts = dict[str, nn.Module | torch.optim.Optimizer]


def trained_parts(steps: int) -> Parts:
    """A small network with buffers, and its optimiser after some steps."""
    torch.manual_seed(steps)
    network = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 1))
    network.to(memory_format=torch.channels_last)  # as training does; the optimiser follows
    parts: Parts = {
        "network": network,
        "optimizer_network": torch.optim.Adam(network.named_parameters(), lr=0.01, fused=True),
    }
    for _ in range(steps):
        step(parts)
    return parts


def step(parts: Parts) -> None:
    parts["optimizer_network"].zero_grad()
    inputs = torch.linspace(-1, 1, 64).view(8, 2, 2, 2)
    (parts["network"](inputs) - 1).square().mean().backward()
    parts["optimizer_network"].step()


def write(folder: Path, pictures: int, keep: int = 9) -> Path:
    tensors = checkpoint.flatten(trained_parts(3))
    return checkpoint.save(folder, tensors, {"pictures": pictures}, keep=keep)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_restored_run_goes_on_bitwise(tmp_path: Path) -> None:
    original = trained_parts(3)
    facts = {"pictures": 24, "iteration": 3}
    path = checkpoint.save(tmp_path, checkpoint.flatten(original), facts, keep=1)
    tensors, read_facts = checkpoint.load(path)
    assert read_facts == facts

    other = trained_parts(0)
    checkpoint.restore(other, tensors)
    for _ in range(2):
        mine, theirs = checkpoint.flatten(original), checkpoint.flatten(other)
        assert mine.keys() == theirs.keys()
        assert {"network.1.running_mean", "optimizer_network.0.weight.exp_avg_sq"} < mine.keys()
        for name in mine:
            assert torch.equal(mine[name], theirs[name]), name
        step(original)
        step(other)


def test_the_order_of_the_parameters_does_not_matter(tmp_path: Path) -> None:
    original, other = trained_parts(3), trained_parts(0)
    backwards = list(other["network"].named_parameters())[::-1]
    other["optimizer_network"] = torch.optim.Adam(backwards, lr=0.01, fused=True)
    checkpoint.restore(other, checkpoint.flatten(original))
    step(original)
    step(other)
    mine, theirs = checkpoint.flatten(original), checkpoint.flatten(other)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_an_optimiser_that_never_stepped_is_restored_as_such(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, checkpoint.flatten(trained_parts(0)), {"pictures": 0}, keep=1)
    parts = trained_parts(2)
    checkpoint.restore(parts, checkpoint.load(path)[0])
    assert parts["optimizer_network"].state_dict()["state"] == {}


def test_a_flattened_state_does_not_follow_the_network() -> None:
    parts = trained_parts(1)
    tensors = checkpoint.flatten(parts)
    before = tensors["network.0.weight"].clone()
    step(parts)
    assert torch.equal(tensors["network.0.weight"], before)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    tensors = checkpoint.flatten(trained_parts(1))
    tensors["network.0.weight"] = torch.zeros(2, 2)
    path = checkpoint.save(tmp_path, tensors, {"pictures": 8}, keep=1)
    with pytest.raises(UserError, match="another configuration") as caught:
        checkpoint.restore_from(path, trained_parts(0))
    assert caught.value.where == str(path)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for pictures in (8, 16, 24, 32):
        write(tmp_path, pictures, keep=2)
    kept = ["notes.txt", "pictures-000000000024.safetensors", "pictures-000000000032.safetensors"]
    assert names(tmp_path) == kept


def test_a_damaged_newest_is_skipped_with_a_warning(tmp_path: Path) -> None:
    older, newest = write(tmp_path, 8), write(tmp_path, 16)
    newest.write_bytes(newest.read_bytes()[:-100])
    warnings: list[str] = []
    assert checkpoint.newest_path(tmp_path, warnings.append) == older
    assert len(warnings) == 1 and str(newest) in warnings[0]


def test_a_checkpoint_with_a_hole_is_skipped_though_its_length_is_right(tmp_path: Path) -> None:
    older, newest = write(tmp_path, 8), write(tmp_path, 16)
    content = bytearray(newest.read_bytes())
    content[-40:] = bytes(40)  # as some file systems leave it after a power cut
    newest.write_bytes(content)
    warnings: list[str] = []
    assert checkpoint.newest_path(tmp_path, warnings.append) == older
    assert "checksum" in warnings[0]


def test_without_a_valid_checkpoint_there_is_none(tmp_path: Path) -> None:
    warnings: list[str] = []
    assert checkpoint.newest_path(tmp_path / "absent", warnings.append) is None
    assert not warnings
    for pictures in (8, 16):
        write(tmp_path, pictures).write_bytes(b"")
    assert checkpoint.newest_path(tmp_path, warnings.append) is None
    assert len(warnings) == 2


def test_a_damaged_later_one_does_not_push_out_the_one_just_written(tmp_path: Path) -> None:
    write(tmp_path, 32).write_bytes(b"damaged")
    written = write(tmp_path, 24, keep=1)
    assert written.is_file()
    assert checkpoint.newest_path(tmp_path, lambda text: None) == written


def test_what_a_killed_session_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "pictures-000000000004.safetensors.partial").write_bytes(b"half")
    written = write(tmp_path, 8)
    assert names(tmp_path) == [written.name]


# -- branching off ----------------------------------------------------------------------------


def test_going_on_from_an_earlier_checkpoint_moves_later_ones_aside(tmp_path: Path) -> None:
    paths = [write(tmp_path, pictures) for pictures in (8, 16, 24)]
    contents = [path.read_bytes() for path in paths]
    said: list[str] = []
    checkpoint.branch_off(tmp_path, paths[0], said.append)
    assert checkpoint.newest_path(tmp_path, pytest.fail) == paths[0]
    left = tmp_path / "left-001"
    assert [(left / p.name).read_bytes() for p in paths[1:]] == contents[1:]
    assert len(said) == 1 and str(left) in said[0]

    # and back to the branch that was left: nothing is lost, whatever the new branch has written
    write(tmp_path, 16, keep=1)
    checkpoint.branch_off(tmp_path, left / paths[2].name, said.append)
    newest = checkpoint.newest_path(tmp_path, pytest.fail)
    assert newest == paths[2] and newest.read_bytes() == contents[2]
    assert names(left) == [p.name for p in paths[1:]] and paths[1].exists()


def test_a_checkpoint_from_elsewhere_becomes_the_newest(tmp_path: Path) -> None:
    mine = [write(tmp_path / "mine", pictures) for pictures in (8, 16)]
    other = checkpoint.save(
        tmp_path / "other", checkpoint.flatten(trained_parts(1)), {"pictures": 16}, keep=1
    )
    checkpoint.branch_off(tmp_path / "mine", other, lambda text: None)
    newest = checkpoint.newest_path(tmp_path / "mine", pytest.fail)
    assert newest == mine[1] and newest.read_bytes() == other.read_bytes() and other.exists()
    assert names(tmp_path / "mine" / "left-001") == [mine[1].name]


def test_the_newest_one_is_its_own_branch(tmp_path: Path) -> None:
    newest = write(tmp_path, 8)
    checkpoint.branch_off(tmp_path, newest, pytest.fail)
    assert names(tmp_path) == [newest.name]


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_at_the_end_leaves_the_earlier_one_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = write(tmp_path, 8)
    content = earlier.read_bytes()
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(UserError, match="No space left") as caught:
        write(tmp_path, 16, keep=1)
    assert caught.value.where.endswith("pictures-000000000016.safetensors")
    assert "earlier files are intact" in caught.value.fix
    assert names(tmp_path) == [earlier.name] and earlier.read_bytes() == content


def test_a_disk_that_takes_no_more_is_a_clear_error(tmp_path: Path) -> None:
    earlier = write(tmp_path, 8)
    with largest_file(500), pytest.raises(UserError, match="cannot write"):
        write(tmp_path, 16, keep=1)
    assert names(tmp_path) == [earlier.name]


def test_a_place_that_cannot_be_a_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write"):
        write(tmp_path / "file" / "checkpoints", 8)


def test_files_that_are_no_checkpoints_are_clear_errors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1)}, model)
    for path, expected in ((model, "not a readable"), (tmp_path / "none", "no such checkpoint")):
        with pytest.raises(UserError, match=expected) as caught:
            checkpoint.load(path)
        assert caught.value.where == str(path)
