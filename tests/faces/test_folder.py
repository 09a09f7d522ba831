"""A folder of anything ends with a report and every good face, and its input is untouched."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from drawn_portraits import portrait
from PIL import Image

from facemeld.errors import UserError
from facemeld.faces.detect import FaceFinder
from facemeld.faces.folder import RECORD, SHEET, AlignOptions, align_folder
from facemeld.images import read_picture

NAMES = ("a.jpg", "a.png", "Ünï cödé 猫.png", "new\nline.png", "sheet.png", "a.face2.png")


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder("human")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    picture = portrait(96)
    for name in NAMES:
        picture.save(folder / name)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(folder / "deep" / "turned.jpg", exif=exif)
    (folder / "deep" / "er" / "link.png").symlink_to(folder / "a.png")
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "text.jpg").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:500])
    (folder / "notes.txt").write_text("notes")
    (folder / "dead.png").symlink_to(folder / "nowhere.png")
    Image.new("RGB", (2, 1)).save(folder / "tiny.png")
    Image.new("L", (9000, 9000)).save(folder / "huge.png")
    return folder


def fingerprint(folder: Path) -> dict[str, str]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.is_symlink()]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def entries(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / RECORD).read_text().splitlines()][1:]


def test_every_good_picture_is_kept_and_every_other_reported(photographs, tmp_path, finder):
    before, out = fingerprint(photographs), tmp_path / "out"
    told = []
    report = align_folder(
        photographs,
        out,
        AlignOptions(kind="human", size=32),
        finder,
        progress=lambda done, total: told.append((done, total)),
    )
    assert fingerprint(photographs) == before
    assert report.faces == 8 and report.kinds == {"human": 8}
    assert dict(report.problems).keys() == {
        "text.jpg", "cut.png", "dead.png", "tiny.png", "huge.png",
    }  # fmt: skip
    assert report.others == 1 and told[-1] == (13, 13)
    written = {entry["source"]: out / entry["file"] for entry in entries(out) if "file" in entry}
    assert len(set(written.values())) == 8
    for path in written.values():
        assert read_picture(path).size == (32, 32)
    upright = read_picture(written["deep/turned.jpg"])
    colours = [picture.getpixel((16, 20)) for picture in (upright, read_picture(written["a.jpg"]))]
    assert max(abs(a - b) for a, b in zip(*colours)) < 30, "turned by its EXIF tag"
    assert read_picture(out / SHEET).width > 32

    again = align_folder(photographs, out, AlignOptions(kind="human", size=32), finder)
    assert again == report


def test_goes_on_where_it_was_cut(photographs, tmp_path, finder):
    options = AlignOptions(kind="human", size=32)
    for name in ("huge.png", "cut.png", "dead.png"):
        (photographs / name).unlink()
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    align_folder(photographs, whole, options, finder)
    lines = (whole / RECORD).read_bytes().splitlines(keepends=True)
    cut.mkdir()
    (cut / RECORD).write_bytes(b"".join(lines[:4]) + lines[4][:30])
    for entry in entries(whole)[:3]:
        if "file" in entry:
            (cut / entry["file"]).write_bytes((whole / entry["file"]).read_bytes())
    align_folder(photographs, cut, options, finder)
    assert (cut / RECORD).read_bytes() == (whole / RECORD).read_bytes()
    assert {p.name for p in cut.rglob("*")} == {p.name for p in whole.rglob("*")}


def test_what_becomes_of_a_photograph_without_a_face(tmp_path, finder):
    source = tmp_path / "in"
    source.mkdir()
    Image.new("RGB", (60, 40), "teal").save(source / "plain.png")
    skipped = align_folder(source, tmp_path / "a", AlignOptions(kind="human"), finder)
    assert skipped.problems == [("plain.png", "no face was found")]
    options = AlignOptions(kind="human", on_missing="centre", size=20)
    assert align_folder(source, tmp_path / "b", options, finder).kinds == {"centre": 1}
    assert read_picture(tmp_path / "b" / "plain.png").size == (20, 20)
    with pytest.raises(UserError, match="no face was found"):
        align_folder(source, tmp_path / "c", AlignOptions(kind="human", on_missing="fail"), finder)


def test_folders_that_do_not_fit_are_refused(tmp_path, finder):
    source = tmp_path / "in"
    source.mkdir()
    Image.new("RGB", (60, 40)).save(source / "plain.png")
    options = AlignOptions(kind="human")
    (tmp_path / "alias").symlink_to(source)
    for out in (source, source / "out", tmp_path / "alias" / "out"):
        with pytest.raises(UserError, match="inside the input"):
            align_folder(source, out, options, finder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        align_folder(source, other, options, finder)
    out = tmp_path / "out"
    align_folder(source, out, options, finder)
    with pytest.raises(UserError, match="other options"):
        align_folder(source, out, AlignOptions(kind="human", size=99), finder)
    with pytest.raises(UserError, match="no such folder"):
        align_folder(tmp_path / "nowhere", tmp_path / "x", options, finder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures"):
        align_folder(tmp_path / "empty", tmp_path / "x", options, finder)
    assert os.listdir(source) == ["plain.png"]
