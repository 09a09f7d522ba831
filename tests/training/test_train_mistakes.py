"""Runs that cannot start: each mistake told at once, before hours are spent."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from drawn_faces import write_faces
from PIL import Image
from tiny_runs import tiny_config

from facemeld.errors import UserError
from facemeld.training.loop import train


def broken_pictures(root: Path) -> Path:
    write_faces(root)
    (root / "cat" / "03.png").write_bytes(b"no picture")
    return root


def test_unreadable_pictures_are_refused_or_skipped(tmp_path: Path) -> None:
    data = broken_pictures(tmp_path / "data")
    config = tiny_config("starganv2", data, pictures=8)
    with pytest.raises(UserError, match="1 of 13 pictures cannot be read") as caught:
        train(config, tmp_path / "run")
    assert "03.png" in caught.value.where
    train(dataclasses.replace(config, on_unreadable="skip"), tmp_path / "run")
    assert "| cat | 7 |" in (tmp_path / "run" / "model" / "README.md").read_text()


def test_all_impossible_options_are_reported_before_anything_is_made(
    faces: Path, tmp_path: Path
) -> None:
    config = tiny_config("lean", faces, batch_size=1, ema=2.0, precision="fp8", processes=0)
    with pytest.raises(UserError) as caught:
        train(config, tmp_path / "run")
    assert all(name in caught.value.what for name in ("batch_size", "ema", "precision"))
    assert not (tmp_path / "run").exists()


def test_a_number_of_ranks_that_does_not_divide_the_batch_is_refused(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job")
    monkeypatch.setenv("WORLD_SIZE", "3")
    for recipe, words in (("starganv2", "8 sources .* evenly by 3"), ("lean", "4 sources .* by 3")):
        with pytest.raises(UserError, match=words):
            train(tiny_config(recipe, faces), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_a_data_folder_nothing_is_scanned(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training pictures"):
        train(tiny_config("lean"), tmp_path / "run")


def test_unknown_favoured_targets_are_told(faces: Path, tmp_path: Path) -> None:
    config = tiny_config("lean", faces, favoured_targets=("dog", "dgo"))
    with pytest.raises(UserError, match="no domain named 'dgo'") as caught:
        train(config, tmp_path / "run")
    assert "did you mean 'dog'" in caught.value.fix and not (tmp_path / "run").exists()


def test_one_domain_is_too_few(tmp_path: Path) -> None:
    data = write_faces(tmp_path / "data", {"cat": 2})
    with pytest.raises(UserError, match="at least 2 domains"):
        train(tiny_config("lean", data), tmp_path / "run")


def test_samples_may_come_from_other_pictures(faces: Path, tmp_path: Path) -> None:
    held_out = write_faces(tmp_path / "held out", {"dog": 3, "bird": 1}, first=50)
    config = tiny_config("starganv2", faces, pictures=8, samples_from=str(held_out))
    train(config, tmp_path / "run")
    with Image.open(tmp_path / "run" / "model" / "samples.jpg") as sheet:
        # of the domain dog alone: a source, a reference, and two latent codes
        assert sheet.width == 4 * 16 + 3 * 2


def test_samples_of_other_domains_are_refused(faces: Path, tmp_path: Path) -> None:
    other = write_faces(tmp_path / "other", {"bird": 2})
    with pytest.raises(UserError, match="none of the domains") as caught:
        train(tiny_config("starganv2", faces, samples_from=str(other)), tmp_path / "run")
    assert caught.value.where == str(other)


def test_a_run_folder_that_is_a_file_is_refused(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match="cannot write"):
        train(tiny_config("starganv2", faces), tmp_path / "run")


def test_masked_skips_train_with_masks_or_not_at_all(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path / "empty"))
    config = tiny_config("starganv2", faces, pictures=8)
    skips = dict(skips="masked", skip_resolutions=(16,))
    config = dataclasses.replace(config, network=dataclasses.replace(config.network, **skips))
    with pytest.raises(UserError, match="no landmark network is at hand"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()

    asked: list[int] = []

    def masker(pictures: torch.Tensor) -> torch.Tensor:
        asked.append(len(pictures))
        return torch.full((len(pictures), 2, 256, 256), float(len(asked) != 2))

    monkeypatch.setattr("facemeld.training.loop.load_masker", lambda weights_dir: masker)
    with pytest.raises(UserError, match="no landmarks are found in pictures of dog,"):
        train(config, tmp_path / "run")  # the second to be asked about are the dogs
    assert 1 < asked[0] <= 16 and not (tmp_path / "run").exists()
    model = train(config, tmp_path / "run")
    assert len(asked) > 4 and (model / "samples.jpg").is_file()
