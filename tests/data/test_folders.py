"""A folder of domains is found whatever lies beside the pictures, or refused with a hint."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from facemeld.data.folders import scan_domains
from facemeld.errors import UserError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_domains_and_pictures_are_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "dog/b.png", "dog/a.jpg", "cat/10.jpg", "cat/2.JPG", "Ant/x.webp")
    folders = scan_domains(tmp_path)
    assert folders.root == tmp_path
    assert folders.domains == ("Ant", "cat", "dog")
    names = [[file.name for file in files] for files in folders.files]
    assert names == [["x.webp"], ["10.jpg", "2.JPG"], ["a.jpg", "b.png"]]


def test_hidden_and_stray_things_are_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg")
    before = scan_domains(tmp_path)
    touch(tmp_path, "readme.txt", "stray.jpg", ".git/x.jpg", ".DS_Store", "__MACOSX/cat/._1.jpg")
    touch(tmp_path, "cat/notes.txt", "cat/.1.jpg", "cat/Thumbs.db", "cat/.cache/2.jpg", "cat/jpg")
    assert scan_domains(tmp_path) == before


def test_folders_inside_a_domain_are_searched(tmp_path: Path) -> None:
    touch(tmp_path, "cat/z.jpg", "cat/b/2.jpg", "cat/a/c.jpg/1.jpg", "dog/1.jpg")
    found = [str(file.relative_to(tmp_path / "cat")) for file in scan_domains(tmp_path).files[0]]
    assert found == ["z.jpg", os.path.join("a", "c.jpg", "1.jpg"), os.path.join("b", "2.jpg")]


def test_links(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    touch(data, "cat/1.jpg", "dog/1.jpg")
    touch(elsewhere, "2.jpg")
    (data / "cat" / "linked.jpg").symlink_to(elsewhere / "2.jpg")
    (data / "cat" / "folder").symlink_to(elsewhere)
    (data / "cat" / "circle").symlink_to(data)
    (data / "wild").symlink_to(elsewhere)
    (data / "nowhere").symlink_to(tmp_path / "missing")
    folders = scan_domains(data)
    assert folders.domains == ("cat", "dog", "wild")
    assert [file.name for file in folders.files[0]] == ["1.jpg", "linked.jpg"]
    assert [file.name for file in folders.files[2]] == ["2.jpg"]


@pytest.mark.parametrize("name", ["貓 und Hündin", "a b", "new\nline", "'\"$(x)", " spaces "])
def test_strange_names_are_kept_as_they_are(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"{name}/{name}.jpg", "zebra/1.jpg")
    folders = scan_domains(tmp_path)
    assert set(folders.domains) == {name, "zebra"}
    assert tmp_path / name / f"{name}.jpg" in folders.files[folders.domains.index(name)]


def test_too_few_domains(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 2 domains .* found none"):
        scan_domains(tmp_path)
    touch(tmp_path, "cat/1.jpg", "loose.jpg")
    with pytest.raises(UserError, match=r"at least 2 domains .* found 1 \(cat\)"):
        scan_domains(tmp_path)
    assert scan_domains(tmp_path, at_least=1).domains == ("cat",)
    touch(tmp_path, "dog/1.jpg")
    with pytest.raises(UserError, match=r"at least 3 domains .* found 2 \(cat, dog\)"):
        scan_domains(tmp_path, at_least=3)


def test_empty_domains_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/readme.txt")
    (tmp_path / "new\nline").mkdir()
    with pytest.raises(UserError) as caught:
        scan_domains(tmp_path)
    assert caught.value.what == "2 of 3 domains have no pictures: dog, 'new\\nline'"


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    touch(tmp_path, "file.jpg")
    with pytest.raises(UserError, match="there is no such folder"):
        scan_domains(tmp_path / "missing")
    with pytest.raises(UserError, match="this is a file"):
        scan_domains(tmp_path / "file.jpg")


@pytest.mark.parametrize("splits", [("train", "val"), ("Train", "test"), ("train",)])
def test_splits_are_not_domains(tmp_path: Path, splits: tuple[str, ...]) -> None:
    for split in splits:
        touch(tmp_path, f"{split}/cat/1.jpg", f"{split}/dog/1.jpg")
    with pytest.raises(UserError, match="holds splits") as caught:
        scan_domains(tmp_path)
    assert caught.value.fix == f"pass {tmp_path / splits[0]}, whose domains are cat, dog"
    assert scan_domains(tmp_path / splits[0]).domains == ("cat", "dog")


def test_splits_beside_other_folders(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg", "extra/1.jpg")
    with pytest.raises(UserError, match="holds splits"):
        scan_domains(tmp_path)


def test_domains_may_be_called_like_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/steam/1.jpg", "plane/jet/1.jpg")
    assert scan_domains(tmp_path).domains == ("plane", "train")


def test_unreadable_folders(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg", "dog/more/2.jpg")
    (tmp_path / "dog" / "more").chmod(0)
    try:
        if os.access(tmp_path / "dog" / "more", os.R_OK):
            pytest.skip("this user may read anything")
        with pytest.raises(UserError, match="cannot be read: Permission denied"):
            scan_domains(tmp_path)
    finally:
        (tmp_path / "dog" / "more").chmod(0o700)


def test_only_some_domains(tmp_path):
    for name in ("cat", "dog", "empty"):
        (tmp_path / name).mkdir()
    for name in ("cat", "dog"):
        (tmp_path / name / "1.png").touch()
    found = scan_domains(tmp_path, only=("dog", "cat", "dog"))
    assert found.domains == ("cat", "dog")
    with pytest.raises(UserError, match="no domain 'dig'") as raised:
        scan_domains(tmp_path, only=("cat", "dig"))
    assert "dog" in raised.value.fix
