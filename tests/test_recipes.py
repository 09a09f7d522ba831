"""Recipes are runnable files: each is valid, and a preset's recipe is that preset."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from facemeld.config import TrainingConfig, from_dict, preset, presets, read_toml
from facemeld.networks.bundle import build_discriminator, load_model, save_model

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_valid_and_says_what_it_cost(path: Path) -> None:
    config = from_dict(TrainingConfig, read_toml(path), where=str(path))
    assert config.problems() == []
    if path.stem in presets():
        assert config == preset(path.stem)
    header = path.read_text(encoding="utf-8").split("\n\n")[0].lower()
    assert header.startswith("#")
    assert "cost" in header and "result" in header


def blended(model: Path, data: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What the script that made the bundled model does with a model and itself."""
    given = ["--before", model, "--after", model, "--share", 0.5, "--data", data, "--out", out]
    return run_blend(*given, *options)


def run_blend(*options: object) -> subprocess.CompletedProcess[str]:
    return run_script("faces_blend.py", *options)


def run_script(name: str, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, RECIPES[0].parent / name, *options]
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)


def test_faces_are_blended(projected_model: Path, faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    changes = ["--move", "dog", "cat", "1", "--spread", "cat", "1.5", "--match", "2"]
    done = blended(projected_model, faces, out, *changes)
    assert done.returncode == 0 and "energy distance of codes to pictures" in done.stdout
    before = load_file(projected_model / "model.safetensors")
    after = load_file(out / "model.safetensors")
    changed = {n for n, v in after.items() if abs(v - before[n].astype(v.dtype)).max() > 1e-3}
    assert {"style_encoder.heads.bias", "style_encoder.heads.weight"} <= changed
    assert not any(name.startswith("generator.") for name in changed)


def test_moves_and_matching_need_pictures(projected_model: Path, tmp_path: Path) -> None:
    given = ["--before", projected_model, "--after", projected_model, "--share", "0.5"]
    done = run_blend(*given, "--out", tmp_path / "out", "--match", "2")
    assert done.returncode == 1 and "--match need the training pictures" in done.stderr


def test_discriminators_are_averaged_where_both_models_have_one(
    projected_model: Path, tmp_path: Path
) -> None:
    networks = load_model(projected_model)
    weights = build_discriminator(networks.config).state_dict()
    for name, factor in (("before", 0), ("after", 2)):
        scaled = {n: w * factor for n, w in weights.items()}
        save_model(networks, tmp_path / name, card="", discriminator=scaled)
    for before, expected in ((tmp_path / "before", 0.5), (projected_model, 2)):
        out = tmp_path / f"out-{expected}"
        given = ["--before", before, "--after", tmp_path / "after", "--share", "0.25"]
        done = run_blend(*given, "--out", out)
        assert done.returncode == 0, done.stderr
        for name, found in load_file(out / "discriminator.safetensors").items():
            np.testing.assert_allclose(found, expected * weights[name].numpy(), atol=2e-3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("--move", "dgo", "cat", "1"), "did you mean 'dog'"),
        (("--move", "dog", "cat", "much"), "'much' is not a number"),
        (("--spread", "dgo", "1"), "did you mean 'dog'"),
    ],
)
def test_what_cannot_be_blended_is_told(
    change: tuple[str, ...], told: str, projected_model: Path, faces: Path, tmp_path: Path
) -> None:
    done = blended(projected_model, faces, tmp_path / "out", *change)
    assert done.returncode == 1 and told in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_faces_get_wider_styles_and_keep_their_discriminator(
    projected_model: Path, faces: Path, tmp_path: Path
) -> None:
    networks, model, out = load_model(projected_model), tmp_path / "model", tmp_path / "out"
    weights = build_discriminator(networks.config).state_dict()
    save_model(networks, model, card="", discriminator=weights)
    given = ["--model", model, "--entries", "2", "--fit", "3", "--match", "2", "--data", faces]
    done = run_script("faces_widen.py", *given, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "of the new entries" in done.stdout and "energy distance" in done.stdout
    assert load_model(out).config.style_size == networks.config.style_size + 2
    assert (out / "discriminator.safetensors").is_file()
    again = run_script("faces_widen.py", *given, "--out", out)
    assert again.returncode == 1 and "something already" in again.stderr
