"""facemeld video: what it writes, tells, and refuses before it begins."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import sounding_film
from drawn_portraits import photograph
from PIL import Image

from facemeld.cli import main
from facemeld.images import read_settings
from facemeld.images.sound import sound_of
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


@pytest.mark.parametrize(
    ("options", "streams"), [(["a.mp4"], 1), (["b.mp4", "--no-sound"], 0), (["c.gif"], None)]
)
def test_the_sound_of_a_source_video_is_kept(
    options: list[str], streams: int | None, faces: Path, projected_model: Path, tmp_path: Path
) -> None:
    source = sounding_film.film(tmp_path / "film.mp4", "aac")
    name, *options = options
    main(
        ["video", "--source", str(source), "--reference", str(faces / "dog" / "00.png")]
        + ["--model", str(projected_model), "--out", str(tmp_path / name), *options]
    )
    if streams is not None:
        with av.open(str(tmp_path / name)) as container:
            assert len(container.streams.audio) == streams
    assert read_settings(tmp_path / name)["video"]["sound"] is (streams == 1)


AGAIN = {
    "looks": ["--source", "{cat}", "--reference", "{dogs}", "--fine", "{cat}", "--fps", "5"]
    + ["--region", "left={dog}", "--feather", "0.1", "--seconds", "0.5", "--easing", "linear"],
    "random looks": ["--source", "{cat}", "--latent", "--domain", "dog", "--seed", "3", "5"]
    + ["--seconds", "0.2", "--hold", "0", "--loop"],
    "found faces": ["--source", "{photograph}", "--reference", "{photograph}", "{dog}"]
    + ["--align", "human", "--seconds", "0.2", "--hold", "0"],
    "a source video": ["--source", "{film}", "--reference", "{dog}", "{cat}", "--weights", "3", "1"]
    + ["--strength", "0.5", "--fps", "5"],
    "a face that is followed": ["--source", "{scene}", "--reference", "{dog}", "--paste-back"]
    + ["--align", "human"],
}


@pytest.mark.parametrize("order", AGAIN)
def test_a_video_is_made_again(
    order: str, faces: Path, projected_model: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path / "home"))
    inside = tmp_path / "in"
    inside.mkdir()
    place = np.array([[0.56, 0, 90.0], [0, 0.56, 20.0]])
    photograph(place, (320, 200)).save(inside / "photograph.png")
    scene = [photograph(place + [[0, 0, n], [0, 0, 0]], (320, 200)) for n in range(0, 8, 2)]
    write_video(scene, inside / "scene.mp4", fps=10, settings=None)
    places = {"cat": faces / "cat" / "00.png", "dog": faces / "dog" / "01.png"}
    places |= {"dogs": faces / "dog", "photograph": inside / "photograph.png"}
    places |= {
        "film": sounding_film.film(inside / "film.mp4", "aac"),
        "scene": inside / "scene.mp4",
    }
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    options = [option.format(**places) for option in AGAIN[order]]
    main(["video", *options, "--model", str(projected_model), "--out", str(first)])
    main(
        ["video", "--repeat", str(first), "--inputs", str(faces), str(inside)]
        + ["--model", str(projected_model), "--out", str(second)]
    )
    assert read_settings(second) == read_settings(first)
    frames = [[frame.tobytes() for frame in open_video(p).frames()] for p in (first, second)]
    assert frames[0] == frames[1] and len(set(frames[0])) > 1
    sounds = [sound_of(path) is not None for path in (first, second)]
    assert sounds == [order == "a source video"] * 2


DAMAGES = {
    "a picture": (lambda s: s.pop("video"), "what fuse made cannot be repeated by video"),
    "no source": (lambda s: s["video"].pop("sources"), "are damaged"),
    "a number for a name": (lambda s: s["video"].update(sources=[3]), "are damaged"),
    "hours": (lambda s: s["video"].update(seconds=3000), "more than 36000"),
    "words for seconds": (lambda s: s["video"].update(seconds="long"), "are damaged"),
    "another file": (lambda s: s["video"]["sources"][0].update(sha256="0"), "SHA-256 differs"),
    "a path": (lambda s: s["video"]["sources"][0].update(name="/etc/passwd"), "was not found"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_settings_of_a_video_are_not_trusted(
    damage: str, source, faces: Path, projected_model: Path, tmp_path: Path, capsys
) -> None:
    first, second = tmp_path / "first.webp", tmp_path / "second.webp"
    model = ["--model", str(projected_model)]
    main(
        [*source, "--reference", str(faces / "dog"), "--seconds", "0.1", "--hold", "0"]
        + [*model, "--out", str(first)]
    )
    settings = read_settings(first)
    change, expected = DAMAGES[damage]
    change(settings)
    write_video([Image.new("RGB", (8, 8))] * 2, first, fps=5, settings=settings)
    with pytest.raises(SystemExit) as caught:
        main(
            ["video", "--repeat", str(first), "--inputs", str(faces), *model, "--out", str(second)]
        )
    assert caught.value.code == 2 and expected in capsys.readouterr().err
    assert not second.exists()


MISTAKES = {
    "repeating with options": (["--out", "x.mp4", "--repeat", "{film}"], "from the video"),
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
