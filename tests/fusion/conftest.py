"""What several tests of fusion start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from facemeld.fusion.pipeline import FusionPipeline


@pytest.fixture(scope="module")
def pipe(projected_model: Path) -> FusionPipeline:
    return FusionPipeline.from_pretrained(projected_model)


@pytest.fixture(scope="module")
def cats(faces: Path) -> list[Path]:
    return sorted((faces / "cat").iterdir())


@pytest.fixture(scope="module")
def dogs(faces: Path) -> list[Path]:
    return sorted((faces / "dog").iterdir())
