"""facemeld prepare and facemeld download, as a person runs them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from drawn_faces import write_faces
from loopback_server import serving
from PIL import Image

import facemeld
from facemeld.cli import main
from facemeld.data.published import DATA_SETS, WEIGHTS, Weights
from facemeld.faces.align import aligned, alignment
from facemeld.faces.detect import FaceFinder


def test_prepare_says_what_was_kept_and_what_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_faces(tmp_path / "in")
    (source / "cat" / "notes\n.txt").write_text("words")
    arguments = ["prepare", str(source), str(tmp_path / "out"), "--size", "32"]
    arguments += ["--processes", "1", "--validation", "0"]
    main(arguments)
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0].split() == ["cat", "8", "train", "0", "val"]
    assert lines[1].split() == ["dog", "5", "train", "0", "val"]
    assert lines[2:4] == [
        "1 files were left out:",
        "      1  this is not a picture that can be read",
    ]
    assert "14/14 pictures" in told.err
    main(arguments + ["--json"])
    told = capsys.readouterr()
    facts = json.loads(told.out)
    assert facts["kept"] == {"train": {"cat": 8, "dog": 5}, "val": {}}
    assert facts["left_out"] == {"this is not a picture that can be read": 1}


def test_prepare_aligns_faces(tmp_path: Path) -> None:
    faces = Path(facemeld.__file__).parent / "assets" / "faces"
    portrait = next(p for p in sorted(faces.rglob("*")) if "woman" in p.name)
    (tmp_path / "in" / "woman").mkdir(parents=True)
    with Image.open(portrait) as image:
        wide = Image.new("RGB", (2 * image.width, image.height), "grey")
        wide.paste(image.convert("RGB"), (image.width // 4, 0))
    wide.save(tmp_path / "in" / "woman" / "1.png")
    Image.radial_gradient("L").convert("RGB").save(tmp_path / "in" / "woman" / "none.png")
    main(
        ["prepare", str(tmp_path / "in"), str(tmp_path / "out"), "--size", "64"]
        + ["--align", "human", "--processes", "1", "--smallest", "32", "--validation", "0"]
    )
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    found, missing = map(json.loads, lines)
    assert missing["rejected"] == "no face was found"
    how = alignment(FaceFinder("human").find(wide)[0], 64)
    assert found["transform"]["matrix"] == [[round(x, 4) for x in row] for row in how.matrix]
    with Image.open(tmp_path / "out" / found["result"]) as result:
        assert result.tobytes() == aligned(wide, how).tobytes()


def test_download_lists_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path))
    main(["download"])
    listed = capsys.readouterr().out
    for name, entry in {**WEIGHTS, **DATA_SETS}.items():
        assert f"{name} " in listed and entry.purpose in listed and entry.licence in listed
        remarks = next(line for line in listed.splitlines() if entry.purpose in line)
        assert ("needs --accept-licence" in remarks) == entry.accept
        assert ("recorded at the first download" in remarks) == (entry.sha256 is None)
    main(["download", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["wing"]["pinned"] is False and rows["wing"]["path"] is None
    assert rows["wing"]["accept"] is True and rows["yunet"]["accept"] is False
    assert rows["efficientnet-lite0"]["path"].endswith("efficientnet-lite0-57934424.pth")


def test_download_fetches_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path))
    content = b"numbers" * 9999
    with serving(content) as server:
        entry = Weights(
            purpose="for this test",
            file="tiny.pth",
            licence="CC0-1.0",
            sha256=hashlib.sha256(content).hexdigest(),
            url=server.url,
        )
        monkeypatch.setitem(WEIGHTS, "tiny", entry)
        main(["download", "tiny"])
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'weights' / 'tiny.pth'}\n"
    assert "licence: CC0-1.0" in told.err and "as published" in told.err
    assert (tmp_path / "weights" / "tiny.pth").read_bytes() == content


def test_offline_is_three_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path))
    with serving(b"") as server:
        url = server.url
    entry = Weights(purpose="for this test", file="tiny.pth", licence="CC0-1.0", url=url)
    monkeypatch.setitem(WEIGHTS, "tiny", entry)
    with pytest.raises(SystemExit) as caught:
        main(["download", "tiny"])
    told = capsys.readouterr()
    assert caught.value.code == 2 and told.out == ""
    assert "error: no connection to 127.0.0.1" in told.err and "Traceback" not in told.err
