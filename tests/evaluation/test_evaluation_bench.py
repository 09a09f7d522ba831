"""The bench of evaluation: its numbers fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from facemeld.evaluation.bench import bench


def test_speed_and_parts_fit_together(resnet_model: Path, judges_dir: Path) -> None:
    found = bench(resnet_model, sources=10, outputs=2, weights_dir=judges_dir)
    assert found["fakes"] == 40 and found["image_size"] == 16
    each = found["milliseconds_per_picture"]
    assert each == pytest.approx(1000 / found["pictures_per_second"])
    parts = found["milliseconds_by_part"]
    named = ("generator", "inception", "lpips", "fusion scores", "smoothness", "distances")
    assert set(parts) == set(named)
    assert min(parts.values()) > 0 and sum(parts.values()) <= each
    assert found["peak_memory_mb"] > 50
