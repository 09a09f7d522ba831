"""Archives made to write elsewhere, to fill the disk, or broken: refused, and nothing stays."""

from __future__ import annotations

import contextlib
import io
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facemeld.data.unpack import ArchiveLimits, unpack, unpack_one
from facemeld.errors import UserError

BAD_NAMES = (
    "../escape",
    "a/../../escape",
    "/escape",
    "//escape",
    "C:/escape",
    "C:\\escape",
    "..\\escape",
    "a//b",
    "new\nline",
    "\x1b[31mred",
    "..",
    "x" * 300,
    "d/" * 1500 + "x",
)


def zip_of(path: Path, *files: tuple[str, bytes], mode: int = 0, **options: int) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in files:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = options.get("compression", zipfile.ZIP_STORED)
            archive.writestr(info, content)
    return path


def tar_of(path: Path, *files: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, link="") -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def refused(archive: Path, words: str, **limits: int) -> None:
    into = archive.parent / "out"
    before = {p: p.read_bytes() for p in archive.parent.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match=words) as caught:
        unpack(archive, into, limits=ArchiveLimits(**limits))
    assert "\n" not in caught.value.what and caught.value.what.isprintable()
    assert {p: p.read_bytes() for p in archive.parent.rglob("*") if p.is_file()} == before
    assert not into.exists() and not list(archive.parent.parent.glob("escape*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    return tmp_path / "deep" / "er"


@pytest.mark.parametrize(
    ("make", "suffix"), [(zip_of, ".zip"), (tar_of, ".tar"), (tar_of, ".tar.gz")]
)
def test_good_archives_are_unpacked(folder: Path, make: Callable[..., Path], suffix: str) -> None:
    archive = make(folder / f"a{suffix}", ("x/1.jpg", b"one"), ("x/y/貓 2.jpg", b"two"))
    seen = []
    assert unpack(archive, folder / "out", progress=seen.append) == 2 and seen == [1, 2]
    assert (folder / "out" / "x" / "1.jpg").read_bytes() == b"one"
    assert (folder / "out" / "x" / "y" / "貓 2.jpg").read_bytes() == b"two"


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_elsewhere_or_are_too_long_are_refused(folder: Path, name: str) -> None:
    refused(zip_of(folder / "a.zip", ("good.jpg", b"x"), (name, b"x")), "holds the file name")
    refused(tar_of(folder / "a.tar", ("good.jpg", b"x"), (name, b"x")), "holds the file name")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_links_and_devices_are_refused(folder: Path, kind: bytes) -> None:
    refused(tar_of(folder / "a.tar", ("x", b""), kind=kind, link="/etc"), "a link or a device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_a_zip_are_refused(folder: Path, kind: int) -> None:
    refused(zip_of(folder / "a.zip", ("x", b"/etc"), mode=kind | 0o777), "a link or a device")


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_nothing_is_overwritten(folder: Path, make: Callable[..., Path]) -> None:
    suffix = ".zip" if make is zip_of else ".tar"
    with pytest.warns(UserWarning) if make is zip_of else contextlib.nullcontext():
        twice = make(folder / f"a{suffix}", ("x", b"one"), ("x", b"two"))
    refused(twice, "twice")
    refused(make(folder / f"b{suffix}", ("x", b"one"), ("x/y", b"two")), "twice")
    (folder / "there").mkdir()
    (folder / "there" / "mine").write_bytes(b"mine")
    good = make(folder / f"c{suffix}", ("x", b"one"))
    with pytest.raises(UserError, match="there already"):
        unpack(good, folder / "there")
    assert [p.name for p in (folder / "there").iterdir()] == ["mine"]


def test_bombs_are_stopped_on_the_way(folder: Path) -> None:
    zeros = bytes(20_000_000)
    deflated = zip_of(folder / "a.zip", ("x", zeros), compression=zipfile.ZIP_DEFLATED)
    assert deflated.stat().st_size < 50_000
    refused(deflated, "far too large")
    refused(tar_of(folder / "a.tar.gz", ("x", zeros)), "far too large")
    refused(zip_of(folder / "b.zip", ("x", bytes(9)), ("y", bytes(9))), "far too large", total=17)
    with pytest.raises(UserError, match="far too large"):
        unpack_one(deflated, "x", folder / "one", most_bytes=10**6)


def test_an_archive_larger_than_the_disk_is_refused_before_it_is_unpacked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zip_of(folder / "a.zip", ("x", bytes(3_000_000)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    refused(archive, "no room: 3 MB are to be unpacked, 1 MB are free")


def test_a_zip_that_lies_about_sizes_is_found_out(folder: Path) -> None:
    path = zip_of(folder / "a.zip", ("x", bytes(100_000)), compression=zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    lie = content.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lie != content
    path.write_bytes(lie)
    refused(path, "damaged")


def test_too_many_files_are_refused(folder: Path) -> None:
    archive = zip_of(folder / "a.zip", *((f"{i}", b"") for i in range(20)))
    refused(archive, "more than 19 files", files=19)
    refused(tar_of(folder / "a.tar", *((f"{i}", b"") for i in range(20))), "than 19", files=19)


def test_encrypted_files_are_refused(folder: Path) -> None:
    path = zip_of(folder / "a.zip", ("x", b"secret"))
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(bytes(content))
    refused(path, "encrypted")


@pytest.mark.parametrize("share", [0.99, 0.7, 0.3, 0.01])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_cut_archives_are_refused(folder: Path, kind: str, share: float) -> None:
    make = zip_of if kind == "zip" else tar_of
    noise = [(f"{i}", bytes((i * j * j) % 251 for j in range(5000))) for i in range(1, 20)]
    path = make(folder / f"a.{kind}", *noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content.rstrip(b"\0")) * share)])
    refused(path, "damaged|refused")


def test_flipped_bytes_end_in_files_or_an_error(folder: Path) -> None:
    random = np.random.default_rng(0)
    for kind, make in (("zip", zip_of), ("tar.gz", tar_of)):
        content = make(folder / f"a.{kind}", ("x/1", b"one" * 99), ("x/2", b"two")).read_bytes()
        for trial in range(60):
            flipped = np.frombuffer(content, np.uint8).copy()
            flipped[random.integers(0, len(flipped), 4)] = random.integers(0, 256, 4)
            path = folder / f"{trial}.{kind}"
            path.write_bytes(flipped.tobytes())
            try:
                unpack(path, folder / f"out {trial} {kind}")
            except UserError as error:
                assert "refused" in error.what
    outside = [p for p in folder.parent.rglob("*") if p.is_file() and folder not in p.parents]
    assert outside == []


def test_things_that_are_no_archives(folder: Path) -> None:
    for content in (b"", b"text", b"PK", b"PK\3\4" + bytes(100), b"\x1f\x8b" + bytes(9)):
        (folder / "a.zip").write_bytes(content)
        refused(folder / "a.zip", "damaged or not an archive")


def test_one_file_is_taken_out_by_its_exact_name(folder: Path) -> None:
    archive = zip_of(folder / "a.zip", ("a/x", b"one"), ("x", b"two"))
    unpack_one(archive, "x", folder / "x")
    assert (folder / "x").read_bytes() == b"two"
    with pytest.raises(UserError, match="no file y"):
        unpack_one(archive, "y", folder / "y")


def test_the_rest_of_a_cut_unpacking_is_cleared_away(folder: Path) -> None:
    (folder / "out.partial").mkdir()
    (folder / "out.partial" / "stale").touch()
    unpack(zip_of(folder / "a.zip", ("x", b"one")), folder / "out")
    assert [p.name for p in (folder / "out").iterdir()] == ["x"]
    assert not (folder / "out.partial").exists()
