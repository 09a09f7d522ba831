"""WebDataset shards: the same pictures as from folders, and nothing else from a tar file."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from facemeld.data.folders import scan_domains
from facemeld.data.shards import ShardPicture, pictures_in
from facemeld.data.store import load_pictures
from facemeld.errors import UserError


def write_shard(path: Path, members: dict[str, bytes]) -> Path:
    """As WebDataset's TarWriter lays them out: a member for each part of a sample, in USTAR."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def sharded(faces: Path, tmp_path: Path) -> Path:
    """The drawn faces, four a shard, each with a description beside it."""
    root = tmp_path / "shards"
    for domain in ("cat", "dog"):
        files = sorted((faces / domain).iterdir())
        for start in range(0, len(files), 4):
            members = {}
            for file in files[start : start + 4]:
                members[file.name] = file.read_bytes()
                members[f"{file.stem}.json"] = json.dumps({"domain": domain}).encode()
            write_shard(root / domain / f"{start // 4:06d}.tar", members)
    return root


def test_shards_give_the_pictures_of_the_folders(sharded: Path, faces: Path) -> None:
    folders = scan_domains(sharded)
    assert folders.domains == ("cat", "dog") and [len(f) for f in folders.files] == [8, 5]
    mine, theirs = load_pictures(folders, 16), load_pictures(scan_domains(faces), 16)
    for a, b in zip(mine.pictures, theirs.pictures, strict=True):
        assert np.array_equal(a, b)


def test_files_and_shards_may_lie_side_by_side(sharded: Path, faces: Path) -> None:
    (sharded / "dog" / "more.png").write_bytes((faces / "dog" / "00.png").read_bytes())
    assert [len(files) for files in scan_domains(sharded).files] == [8, 6]


def test_only_plain_members_that_are_pictures_count(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", {"../../etc/1.png": b"x", "2.txt": b"y", ".3.png": b""})
    with tarfile.open(shard, "a") as archive:
        for name, kind in (("4.png", tarfile.SYMTYPE), ("5.png", tarfile.FIFOTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    (only,) = pictures_in(shard)
    assert only.name == "../../etc/1.png" and only.read_bytes() == b"x"
    assert list(tmp_path.iterdir()) == [shard]


def test_a_broken_picture_is_named_with_its_shard(sharded: Path) -> None:
    write_shard(sharded / "dog" / "z.tar", {"broken.jpg": b"no picture"})
    with pytest.raises(UserError, match="1 of 14 pictures cannot be read") as caught:
        load_pictures(scan_domains(sharded), 16)
    assert "dog/z.tar/broken.jpg" in caught.value.where


def test_a_picture_over_the_limit_is_refused_without_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = tmp_path / "a.tar"
    with shard.open("wb") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that is not there
    picture = ShardPicture(shard, "huge.png", 512, (1 << 40) - 512)
    assert len(picture.read_bytes()) == 50_000_001


@pytest.mark.parametrize("cut", [100, 700, 1500])
def test_a_shard_that_is_cut_off_is_refused(cut: int, tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", {"1.png": bytes(600), "2.png": bytes(600)})
    shard.write_bytes(shard.read_bytes()[:cut])
    with pytest.raises(UserError, match="this shard cannot be read"):
        pictures_in(shard)


def test_a_compressed_shard_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("1.png"))
    with pytest.raises(UserError, match="cannot be read") as caught:
        pictures_in(tmp_path / "a.tar")
    assert "not a compressed one" in caught.value.fix
