"""Recipes are runnable files: each is valid, and a preset's recipe is that preset."""

from __future__ import annotations

from pathlib import Path

import pytest

from facemeld.config import TrainingConfig, from_dict, preset, presets, read_toml

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
