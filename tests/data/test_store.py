"""All pictures of a data set in memory: the right ones, in order, whatever the workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemeld.data.folders import scan_domains
from facemeld.data.store import load_pictures
from facemeld.errors import UserError
from facemeld.images import centre_square, read_picture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two domains, pictures of several sizes and formats."""
    random = np.random.default_rng(0)
    for domain, count in (("cat", 5), ("dog", 3)):
        (tmp_path / domain).mkdir()
        for i in range(count):
            pixels = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).resize((240, 180 + 10 * i), Image.Resampling.BICUBIC)
            image.save(tmp_path / domain / f"{i}.{('png', 'jpg')[i % 2]}")
    return tmp_path


def test_pictures_are_cropped_resized_and_in_order(root: Path) -> None:
    folders = scan_domains(root)
    store = load_pictures(folders, 24)
    assert store.domains == ("cat", "dog") and store.skipped == ()
    assert [pictures.shape for pictures in store.pictures] == [(5, 24, 24, 3), (3, 24, 24, 3)]
    for files, pictures in zip(folders.files, store.pictures, strict=True):
        assert pictures.dtype == np.uint8
        for file, picture in zip(files, pictures, strict=True):
            expected = centre_square(read_picture(file, enough=24, margin=2), 24)
            assert np.array_equal(picture, np.asarray(expected))


@pytest.mark.parametrize("side", [64, 256])
def test_jpegs_are_decoded_at_a_fraction_and_nearer_to_lanczos_than_bilinear(
    tmp_path: Path, side: int
) -> None:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (side // 2, side // 2, 3), dtype=np.uint8)
    large = Image.fromarray(coarse).resize((2 * side, 2 * side), Image.Resampling.BICUBIC)
    for domain in ("a", "b"):
        (tmp_path / domain).mkdir()
        large.save(tmp_path / domain / "1.jpg", quality=95)
    (ours,) = load_pictures(scan_domains(tmp_path), side).pictures[0]
    with Image.open(tmp_path / "a" / "1.jpg") as whole:
        best = np.asarray(whole.resize((side, side), Image.Resampling.LANCZOS), float)
        official = np.asarray(whole.resize((side, side), Image.Resampling.BILINEAR), float)
    assert np.abs(ours - best).mean() < np.abs(official - best).mean()
    with Image.open(tmp_path / "a" / "1.jpg") as half:
        half.draft(None, (side, side))
        assert half.size == (side, side)
        assert np.array_equal(ours, np.asarray(half)) == (side == 256), "only where it is worth it"
    assert np.array_equal(ours, best) == (side == 64)


def test_the_number_of_workers_changes_nothing(root: Path) -> None:
    (root / "cat" / "1.broken.jpg").write_bytes(b"no")
    one, many = (
        load_pictures(scan_domains(root), 16, workers=n, on_unreadable="skip") for n in (1, 7)
    )
    assert one.skipped == many.skipped
    for first, second in zip(one.pictures, many.pictures, strict=True):
        assert np.array_equal(first, second)


def test_progress_counts_to_the_total(root: Path) -> None:
    seen: list[tuple[int, int]] = []
    load_pictures(scan_domains(root), 8, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 8) for done in range(1, 9)]


def test_unreadable_pictures_are_all_listed_and_refused(root: Path) -> None:
    (root / "cat" / "0.png").write_bytes((root / "cat" / "0.png").read_bytes()[:200])
    (root / "dog" / "zero.jpg").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        load_pictures(scan_domains(root), 8)
    assert caught.value.what == "2 of 9 pictures cannot be read"
    assert "0.png: the picture is truncated or damaged" in caught.value.where
    assert "zero.jpg: the picture is empty" in caught.value.where


def test_only_ten_unreadable_pictures_are_named(root: Path) -> None:
    for i in range(13):
        (root / "dog" / f"bad{i:02}.jpg").write_text("no picture")
    with pytest.raises(UserError, match="13 of 21 pictures") as caught:
        load_pictures(scan_domains(root), 8)
    where = caught.value.where
    assert where.count("bad") == 10 and where.endswith("and 3 more")


def test_unreadable_pictures_can_be_skipped(root: Path) -> None:
    whole = load_pictures(scan_domains(root), 8)
    (root / "cat" / "1.jpg").write_text("no picture")
    (root / "cat" / "3.jpg").write_bytes(b"")
    store = load_pictures(scan_domains(root), 8, on_unreadable="skip")
    assert np.array_equal(store.pictures[0], whole.pictures[0][[0, 2, 4]])
    assert np.array_equal(store.pictures[1], whole.pictures[1])
    assert [file.name for file, _ in store.skipped] == ["1.jpg", "3.jpg"]
    assert all("picture" in reason for _, reason in store.skipped)


def test_a_domain_must_keep_a_picture(root: Path) -> None:
    for file in (root / "dog").iterdir():
        file.write_bytes(b"")
    with pytest.raises(UserError, match="no picture of these domains can be read: dog") as caught:
        load_pictures(scan_domains(root), 8, on_unreadable="skip")
    assert "0.png" in caught.value.where


def test_an_interruption_ends_at_once(root: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_pictures(scan_domains(root), 8, progress=interrupt)
