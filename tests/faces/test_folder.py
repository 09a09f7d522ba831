"""A folder of anything ends with a report and every good face, and its input is untouched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from drawn_portraits import portrait
from PIL import Image

from facemeld.errors import UserError
from facemeld.faces import folder as module
from facemeld.faces.folder import RECORD, SHEET, AlignOptions, align_folder
from facemeld.images import read_picture

LONG = "x" * 251 + ".png"  # as long as file systems take
NAMES = ("a.jpg", "a.png", "Ünï cödé 猫.png", "new\nline.png", "sheet.png", "a.face2.png", LONG)
BAD = {
    "text.jpg": "not a picture",
    "notes.txt": "not a picture",
    "cut.png": "truncated",
    "dead.png": "no such file",
    "circle.png": "cannot be read",
    "tiny.png": "no face",
    "line.png": "no face",
    "huge.png": "too many pixels",
    "empty": "0 bytes",
    "pipe.png": "pipe",
    "deep/loop": "a link to a folder",
}
OPTIONS = AlignOptions(kind="human", size=32)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    picture = portrait(96)
    for name in NAMES:
        picture.save(folder / name)
    picture.save(folder / "noending", "PNG")
    picture.save(os.fsencode(folder) + b"/\xff\xfe.png", "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(folder / "deep" / "turned.jpg", exif=exif)
    (folder / "deep" / "er" / "link.png").symlink_to(folder / "a.png")
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "b.png").mkdir()
    picture.save(folder / "b.png" / "inside.png")
    picture.save(folder / "b.jpg")
    (folder / "text.jpg").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:500])
    (folder / "notes.txt").write_text("notes")
    (folder / "empty").touch()
    (folder / "dead.png").symlink_to(folder / "nowhere.png")
    (folder / "circle.png").symlink_to("circle.png")
    os.mkfifo(folder / "pipe.png")
    (folder / ".hidden.png").write_text("not looked at")
    Image.new("RGB", (2, 1)).save(folder / "tiny.png")
    Image.new("RGB", (20000, 1)).save(folder / "line.png")
    Image.new("L", (9000, 9000)).save(folder / "huge.png")
    return folder


def fingerprint(folder: Path) -> dict[str, str]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.is_symlink()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def entries(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / RECORD).read_text().splitlines()][1:]


def align(source: Path, out: Path, options: AlignOptions = OPTIONS, **more):
    return align_folder(source, out, options, processes=1, **more)


def test_every_good_picture_is_kept_and_every_other_reported(photographs, tmp_path):
    before, out = fingerprint(photographs), tmp_path / "out"
    told = []
    report = align(photographs, out, progress=lambda *done: told.append(done))
    assert fingerprint(photographs) == before
    assert dict(report.problems).keys() == BAD.keys()
    for name, words in BAD.items():
        assert words in dict(report.problems)[name], name
    good = len(NAMES) + 6
    assert report.faces == good and report.kinds == {"human": good}
    assert report.photographs == good + 2 and report.files == good + len(BAD)
    assert told[-1] == (report.files, report.files)
    written = {entry["source"]: out / entry["file"] for entry in entries(out) if "file" in entry}
    assert len(set(written.values())) == good
    for path in written.values():
        assert read_picture(path).size == (32, 32)
    assert read_picture(out / SHEET).width > 32

    state = fingerprint(out)
    assert align(photographs, out) == report
    assert fingerprint(out) == state


def test_photographs_are_turned_by_their_exif_tag(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    portrait(96).save(source / "upright.png")
    portrait(96).transpose(Image.Transpose.ROTATE_90).save(source / "turned.png", exif=exif)
    align(source, tmp_path / "out")
    upright, turned = (tmp_path / "out" / f"{name}.png" for name in ("upright", "turned"))
    assert upright.read_bytes() == turned.read_bytes()


@pytest.mark.parametrize("processes", [1, 2])
def test_goes_on_where_it_was_cut(photographs, tmp_path, processes):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    align(photographs, whole)
    shutil.copytree(whole, cut)
    lines = (whole / RECORD).read_bytes().splitlines(keepends=True)
    next(cut / entry["file"] for entry in entries(cut) if "file" in entry).unlink()
    (cut / RECORD).write_bytes(b"".join(lines[:4]) + lines[4][:30])
    align_folder(photographs, cut, OPTIONS, processes=processes)
    assert fingerprint(cut) == fingerprint(whole)


def test_what_is_done_is_not_done_again(photographs, tmp_path, monkeypatch):
    read, looked_at = module.read_picture, []

    def noted(path: Path) -> Image.Image:
        if path.is_relative_to(photographs):
            looked_at.append(path)
        return read(path)

    def stop(done: int, total: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "read_picture", noted)
    with pytest.raises(KeyboardInterrupt):
        align(photographs, tmp_path / "out", progress=stop)
    cut = set(looked_at)
    looked_at.clear()
    align(photographs, tmp_path / "out")
    again = {path.relative_to(photographs).as_posix() for path in cut & set(looked_at)}
    unreadable = {name for name, words in BAD.items() if words != "no face"}
    assert cut and looked_at and again <= unreadable


def test_what_could_not_be_read_is_tried_again(two_folders, tmp_path, monkeypatch):
    source, out = two_folders[0], tmp_path / "out"
    options, read = AlignOptions(kind="human", on_missing="centre", size=32), module.read_picture

    def broken(path: Path) -> Image.Image:
        raise UserError("the disk is out of order")

    monkeypatch.setattr(module, "read_picture", broken)
    assert align(source, out, options).problems == [("1.png", "the disk is out of order")]
    monkeypatch.setattr(module, "read_picture", read)
    assert align(source, out, options).problems == []


def test_what_becomes_of_a_photograph_without_a_face(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    Image.new("RGB", (60, 40), "teal").save(source / "plain.png")
    skipped = align(source, tmp_path / "a")
    assert skipped.problems == [("plain.png", "no face was found")]
    options = AlignOptions(kind="human", on_missing="centre", size=20)
    assert align(source, tmp_path / "b", options).kinds == {"centre": 1}
    assert read_picture(tmp_path / "b" / "plain.png").size == (20, 20)
    for processes in (1, 2):
        with pytest.raises(UserError, match="no face was found") as caught:
            options = AlignOptions(kind="human", on_missing="fail")
            align_folder(source, tmp_path / f"c{processes}", options, processes=processes)
        assert caught.value.where.endswith("plain.png") and "--on-missing" in caught.value.fix


@pytest.fixture
def two_folders(tmp_path: Path) -> tuple[Path, Path]:
    """With different photographs of the same name."""
    for name, colour in (("one", "teal"), ("two", "red")):
        (tmp_path / name).mkdir()
        Image.new("RGB", (60, 40), colour).save(tmp_path / name / "1.png")
    return tmp_path / "one", tmp_path / "two"


def refused(source: Path, out: Path, words: str, options: AlignOptions = OPTIONS) -> None:
    before = fingerprint(out)
    with pytest.raises(UserError, match=words):
        align(source, out, options)
    assert fingerprint(out) == before


def test_a_folder_of_other_photographs_is_refused(two_folders, tmp_path):
    one, two = two_folders
    options = AlignOptions(kind="human", on_missing="centre", size=32)
    align(one, tmp_path / "out", options)
    assert align(one, tmp_path / "out", options).faces == 1
    refused(two, tmp_path / "out", "the photographs have changed", options)
    (one / "2.png").write_bytes((two / "1.png").read_bytes())
    refused(one, tmp_path / "out", "the photographs have changed", options)
    (one / "2.png").unlink()
    os.utime(one / "1.png", ns=(0, 0))
    refused(one, tmp_path / "out", "the photographs have changed", options)


def test_other_options_and_other_detectors_are_refused(two_folders, tmp_path):
    source, out = two_folders[0], tmp_path / "out"
    align(source, out)
    refused(source, out, "size was 32, is 99", AlignOptions(kind="human", size=99))
    lines = (out / RECORD).read_text().splitlines(keepends=True)
    header = json.loads(lines[0])
    assert header["detectors"] == ["cascade of human faces"]
    header["detectors"] = ["yunet"]
    (out / RECORD).write_text("".join([json.dumps(header) + "\n", *lines[1:]]))
    refused(source, out, "detectors was yunet, is cascade of human faces")


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"options": 1, "input": 2}', "words"])
def test_a_folder_of_something_else_is_refused(two_folders, tmp_path, record):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    refused(two_folders[0], out, "not empty, and holds no faces.jsonl")
    (out / RECORD).write_text(record)
    refused(two_folders[0], out, "not empty, and holds no faces.jsonl")


def test_folders_that_do_not_fit_are_refused(two_folders, tmp_path):
    source, _ = two_folders
    (tmp_path / "alias").symlink_to(source)
    for out in (source, source / "out", tmp_path / "alias" / "out", tmp_path, source / ".."):
        refused(source, out, "in the folder of the photographs, or around it")
    refused(tmp_path / "nowhere", tmp_path / "x", "no such folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", tmp_path / "x", "no files in this folder")
    refused(source, source / "1.png" / "x", "folder of the photographs")
    (tmp_path / "file").write_text("mine")
    refused(source, tmp_path / "file", "a file, not a folder")
    assert os.listdir(source) == ["1.png"] and not (tmp_path / "x").exists()
