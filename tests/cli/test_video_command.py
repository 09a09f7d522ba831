"""facemeld video: what it writes, tells, and refuses before it begins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemeld.cli import main
from facemeld.images import read_settings
from facemeld.images.video_read import open_video
from facemeld.images.video_write import write_video


@pytest.fixture
def source(faces: Path) -> list[str]:
    return ["video", "--source", str(faces / "cat" / "00.png")]


def film(path: Path, frames: int = 6) -> Path:
    """A wall without any face."""
    wall = Image.fromarray(np.random.default_rng(0).integers(80, 99, (60, 80, 3), np.uint8))
    write_video([wall] * frames, path, fps=10, settings=None)
    return path


def test_a_walk_is_written_told_and_described(
    source, faces: Path, projected_model: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "new" / "walk.mp4"
    main(
        [*source, "--reference", str(faces / "dog"), "--model", str(projected_model)]
        + ["--seconds", "0.4", "--hold", "0", "--fps", "10", "--out", str(out)]
    )
    told = capsys.readouterr()
    assert told.out.split() == [str(out)] and "17/17 frames" in told.err
    assert len(list(open_video(out).frames())) == 17
    main(["info", str(out), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["synthetic"] and facts["settings"] == read_settings(out)
    assert [r["name"] for r in facts["settings"]["video"]["references"]][-1] == "04.png"


def test_a_source_video_is_fused_frame_by_frame(
    faces: Path, projected_model: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out.gif"
    main(
        ["video", "--source", str(film(tmp_path / "in.mp4")), "--model", str(projected_model)]
        + ["--reference", str(faces / "dog" / "00.png"), "--no-keep-settings"]
        + ["--out", str(out), "--json"]
    )
    assert json.loads(capsys.readouterr().out)[0]["settings"]["video"]["kind"] == "follow"
    assert open_video(out).count == 6 and read_settings(out) is None


MISTAKES = {
    "another suffix": (["--out", "x.avi"], "cannot be written as '.avi'"),
    "a fast GIF": (["--out", "x.gif", "--fps", "90"], "GIF files are written with"),
    "one look": (["--out", "x.mp4"], "two stops"),
    "a folder without pictures": (["--out", "x.mp4", "--reference", "{empty}"], "no pictures"),
    "weights": (["--out", "x.mp4", "--weights", "1"], "without weights"),
    "seeds for nothing": (["--out", "x.mp4", "--seed", "1", "2"], "add --latent"),
    "paste back of a picture": (["--out", "x.mp4", "--paste-back"], "only into a source video"),
    "unknown domain": (["--out", "x.mp4", "--domain", "cta"], "did you mean 'cat'"),
    "a video among pictures": (["--out", "x.mp4", "--source", "{film}", "{film}"], "goes alone"),
    "a video with a course": (
        ["--out", "x.mp4", "--source", "{film}", "--loop"],
        "has its own course",
    ),
    "a broken video": (["--out", "x.mp4", "--source", "{broken}"], "not a video"),
    "the input as the output": (["--out", "{film}", "--source", "{film}"], "is the input"),
    "a film too fast for a GIF": (["--out", "x.gif", "--source", "{fast}"], "frames a second"),
    "a video without a face": (
        ["--out", "x.mp4", "--source", "{film}", "--align", "human"],
        "in any frame",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_error_and_nothing_is_written(
    name: str, source, faces: Path, projected_model: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path / "home"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    places = {
        "empty": tmp_path / "empty",
        "film": film(tmp_path / "film.mp4"),
        "broken": tmp_path / "broken.mp4",
        "fast": tmp_path / "fast.mp4",
    }
    write_video([Image.new("RGB", (16, 16))] * 3, places["fast"], fps=100, settings=None)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    options, expected = MISTAKES[name]
    options = [option.format(**places) for option in options]
    command = [*source, "--reference", str(faces / "dog" / "00.png")]
    with pytest.raises(SystemExit) as caught:
        main([*command, "--model", str(projected_model), *options])
    assert caught.value.code == 2
    told = capsys.readouterr()
    assert expected in told.err and told.out == ""
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
