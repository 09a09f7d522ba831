"""The demo on a tiny model: every file is there, marked, and explained."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from facemeld.fusion.demo import bundled_faces, run_demo
from facemeld.images import is_marked_synthetic, read_settings


def test_every_file_is_written_and_explained(projected_model: Path, tmp_path: Path) -> None:
    paths = run_demo(tmp_path / "results" / "demo", model=projected_model)
    *pictures, text = paths
    assert sorted(paths) == sorted((tmp_path / "results" / "demo").iterdir())
    assert text.name == "README.txt"
    explained = text.read_text(encoding="utf-8")
    for path in pictures:
        assert f"{path.name}: " in explained and is_marked_synthetic(path)
        assert read_settings(path)["model"] == "projected"
    assert {"random_cat.png", "random_dog.png", "sheet.jpg"} < {p.name for p in pictures}
    side = len(bundled_faces()) + 1
    with Image.open(tmp_path / "results" / "demo" / "sheet.jpg") as sheet:
        assert sheet.width == sheet.height == side * 128 + (side - 1) * 2


def test_every_bundled_face_has_a_licence_line() -> None:
    faces = bundled_faces()
    licences = (faces[0].parent / "LICENSES.md").read_text(encoding="utf-8")
    assert len(faces) >= 8
    assert [f.name for f in faces if f.name not in licences] == []
