"""Caches of decoded pictures: equal to decoding, used while valid, made anew when not."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from facemeld.data.cache import cache_folder, cached_pictures, open_cache
from facemeld.data.folders import scan_domains
from facemeld.data.shards import Sample, write_shard
from facemeld.data.store import PictureStore, load_pictures
from facemeld.errors import UserError

SIZE = 16


@pytest.fixture
def root(faces: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(faces, tmp_path / "pictures"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def fill(root: Path, cache: Path, **options) -> tuple[PictureStore, bool]:
    """The pictures, and whether they had to be decoded."""
    made = []
    store = cached_pictures(
        scan_domains(root), SIZE, cache, on_making=lambda: made.append(True), **options
    )
    return store, bool(made)


def same(a: PictureStore, b: PictureStore) -> bool:
    return a.domains == b.domains and all(map(np.array_equal, a.pictures, b.pictures))


def test_a_cache_gives_what_decoding_gives_and_is_made_once(root: Path, cache: Path) -> None:
    first, made = fill(root, cache)
    again, made_again = fill(root, cache)
    plain = load_pictures(scan_domains(root), SIZE)
    assert made and not made_again
    assert same(first, plain) and same(again, plain)
    assert isinstance(again.pictures[0], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        again.pictures[0][0] = 0


def test_of_several_at_once_one_makes_the_cache(root: Path, cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fill(root, cache), range(4)))
    assert sorted(made for _, made in found) == [False, False, False, True]
    assert all(same(store, found[0][0]) for store, _ in found)


def test_a_cache_of_an_earlier_way_of_decoding_is_not_used(root: Path, cache: Path) -> None:
    fill(root, cache)
    (manifest,) = cache.glob("*.json")
    manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 1'))
    assert open_cache(scan_domains(root), SIZE, cache) is None
    assert fill(root, cache)[1]


def test_changed_files_are_noticed(root: Path, cache: Path) -> None:
    fill(root, cache)
    file = sorted((root / "cat").iterdir())[0]
    os.utime(file, ns=(0, 0))
    assert fill(root, cache)[1]
    file.rename(file.with_name("aa.png"))
    assert fill(root, cache)[1]
    file.with_name("aa.png").unlink()
    store, made = fill(root, cache)
    assert made and same(store, load_pictures(scan_domains(root), SIZE))


def test_another_size_has_a_cache_of_its_own(root: Path, cache: Path) -> None:
    fill(root, cache)
    assert open_cache(scan_domains(root), 8, cache) is None
    assert cached_pictures(scan_domains(root), 8, cache).pictures[0].shape[1:] == (8, 8, 3)
    assert not fill(root, cache)[1]


@pytest.mark.parametrize("damage", ["truncated", "altered", "no manifest", "broken manifest"])
def test_a_damaged_cache_is_made_anew(root: Path, cache: Path, damage: str) -> None:
    fill(root, cache)
    (pixels,), (manifest,) = cache.glob("*.pixels"), cache.glob("*.json")
    content = bytearray(pixels.read_bytes())
    if damage == "truncated":
        pixels.write_bytes(content[:-1])
    elif damage == "altered":
        content[100] ^= 255
        pixels.write_bytes(content)
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:-20])
    store, made = fill(root, cache)
    assert made and same(store, load_pictures(scan_domains(root), SIZE))


def test_skipped_files_are_remembered_and_refused_where_asked(root: Path, cache: Path) -> None:
    (root / "dog" / "bad.png").write_bytes(b"no picture")
    first, _ = fill(root, cache, on_unreadable="skip")
    again, made = fill(root, cache, on_unreadable="skip")
    assert not made and same(first, again)
    assert again.skipped == first.skipped and again.skipped[0][0] == root / "dog" / "bad.png"
    with pytest.raises(UserError, match="1 of .* pictures cannot be read"):
        fill(root, cache)


def test_pictures_in_shards_are_cached_too(faces: Path, tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "shards"
    for domain in ("cat", "dog"):
        (root / domain).mkdir(parents=True)
        files = sorted((faces / domain).iterdir())
        write_shard(root / domain / "0.tar", [Sample(f.stem, f, 0) for f in files])
    shard, bad = root / "dog" / "1.tar", tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    write_shard(shard, [Sample("bad", bad, 0)])
    first, _ = fill(root, cache, on_unreadable="skip")
    again, made = fill(root, cache, on_unreadable="skip")
    assert not made and same(first, again) and same(again, load_pictures(scan_domains(faces), SIZE))
    assert again.skipped == first.skipped and again.skipped[0][0].shard == shard
    os.utime(shard, ns=(0, 0))
    assert fill(root, cache, on_unreadable="skip")[1]


def test_an_interrupted_cache_leaves_nothing(root: Path, cache: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(root, cache, progress=interrupt)
    assert [file.suffix for file in cache.iterdir()] == [".lock"]


def test_where_caches_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACEMELD_HOME", raising=False)
    assert cache_folder("", tmp_path / "run") == tmp_path / "run" / ".cache"
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path / "home"))
    assert cache_folder("", tmp_path / "run") == tmp_path / "home" / "cache"
    assert cache_folder("elsewhere", tmp_path / "run") == Path("elsewhere")
