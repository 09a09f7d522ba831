"""One finished run of each recipe, shared by the tests of this folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_runs import RECIPES, tiny_config

from facemeld.training.loop import train


@pytest.fixture(scope="session", params=RECIPES)
def recipe_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def finished(recipe_name: str, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run from start to end, for reading."""
    out = tmp_path_factory.mktemp("runs") / recipe_name
    assert train(tiny_config(recipe_name, faces), out) == out / "model"
    return out


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, for changing."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
