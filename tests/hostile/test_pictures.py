"""Files made to hurt whoever reads them, and broken ones: one clear error each, at little cost."""

from __future__ import annotations

import io
import os
import signal
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from facemeld.errors import UserError
from facemeld.images import PictureLimits, read_picture, read_settings


@pytest.fixture(autouse=True)
def ten_seconds() -> Iterator[None]:
    """No test here may block."""

    def stop(*_: object) -> None:
        raise TimeoutError("reading a hostile picture took more than 10 seconds")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@contextmanager
def at_most_megabytes(limit: float) -> Iterator[None]:
    """Bound what Python and zlib take beyond what is taken already."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit * 1e6
    finally:
        tracemalloc.stop()


def chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def png(
    width: int, height: int, data: bytes = b"", *, before: bytes = b"", after: bytes = b""
) -> bytes:
    """An 8-bit grey PNG of these scan lines, with extra chunks around them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + header + before + data + after + chunk(b"IEND", b"")


def tiff(tile: int, data: bytes) -> bytes:
    """A grey TIFF of one pixel, in one deflated tile of tile x tile pixels."""
    longs = {256: 1, 257: 1, 322: tile, 323: tile, 324: 8, 325: len(data)}
    shorts = {258: 8, 259: 8, 262: 1, 277: 1}
    entries = [(tag, 4, struct.pack("<I", value)) for tag, value in longs.items()]
    entries += [(tag, 3, struct.pack("<HH", value, 0)) for tag, value in shorts.items()]
    data += bytes(len(data) % 2)
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in sorted(entries):
        directory += struct.pack("<HHI", tag, kind, 1) + value
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4)


def deflated_zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(10**6)) for _ in range(megabytes)) + packer.flush()


def photo(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def refused(source: str | Path | bytes, words: str, **options: object) -> UserError:
    with pytest.raises(UserError, match=words) as caught:
        read_picture(source, **options)
    if isinstance(source, str | Path):
        assert Path(source).name in caught.value.where
    assert "\n" not in caught.value.what + caught.value.where
    return caught.value


@pytest.mark.parametrize(
    ("width", "height"),
    [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (10_000, 10_000), (8001, 8000), (30_001, 1)],
)
def test_too_many_pixels_are_refused_unread(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png(width, height))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(tmp_path / "bomb.png", "too many pixels")


def test_limits_can_be_set() -> None:
    content = png(20, 10, bytes(10 * 21))
    assert read_picture(content).size == (20, 10)
    refused(content, "too many pixels", limits=PictureLimits(max_pixels=199))
    refused(content, "too many pixels", limits=PictureLimits(max_side=19))
    refused(content, "over the limit", limits=PictureLimits(max_bytes=len(content) - 1))
    with pytest.raises(UserError, match="too many pixels"):
        read_picture(Image.new("L", (20, 10)), limits=PictureLimits(max_pixels=199))


def test_a_small_tiff_with_a_huge_tile() -> None:
    assert read_picture(tiff(16, zlib.compress(b"\x80" * 256))).getpixel((0, 0)) == (128,) * 3
    refused(tiff(20_000, zlib.compress(bytes(10**6))), "too many pixels")


@pytest.mark.parametrize("place", ["before", "after"])
def test_inflating_text_and_profiles(place: str) -> None:
    bomb = deflated_zeros(300)
    for name, head in ((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0")):
        content = png(1, 1, b"\0\x80", **{place: chunk(name, head + bomb)})
        with at_most_megabytes(20):
            try:
                assert read_picture(content).size == (1, 1)  # left out,
            except UserError as error:
                assert "damaged" in error.what  # or refused; never inflated


def test_many_text_chunks_within_the_limit_of_each() -> None:
    piece = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**6), 9))
    content = png(1, 1, b"\0\x80", before=piece * 500)
    with at_most_megabytes(150):
        refused(content, "damaged")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_truncated(tmp_path: Path, kind: str, share: float) -> None:
    content = photo(kind)
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "truncated or damaged|not a picture that can be read")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.filterwarnings("ignore:Tag data larger than file")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_flipped_bytes_end_in_a_picture_or_an_error(kind: str) -> None:
    random = np.random.default_rng(1)
    for _ in range(60):
        content = np.frombuffer(photo(kind), np.uint8).copy()
        where = random.integers(0, min(len(content), 400), 8)
        content[where] = random.integers(0, 256, 8)
        try:
            assert read_picture(content.tobytes()).mode == "RGB"
        except UserError as error:
            assert error.what


def test_things_that_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("these are words")
    refused(tmp_path / "words.png", "not a picture that can be read")
    (tmp_path / "empty.jpg").touch()
    refused(tmp_path / "empty.jpg", "empty")
    (tmp_path / "folder.jpg").mkdir()
    refused(tmp_path / "folder.jpg", "a folder, not a picture")
    refused(tmp_path / "missing.jpg", "no such file")
    refused(str(tmp_path / "missing" / "x.jpg"), "no such file")
    refused(b"", "empty")
    with pytest.raises(UserError):
        read_picture("nul\0.jpg")


def test_other_formats_are_not_even_tried() -> None:
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    refused(program, "not a picture that can be read")
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PCX")
    refused(buffer.getvalue(), "not a picture that can be read")


def test_pipes_and_devices_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    refused(tmp_path / "pipe.jpg", "pipe or a device")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    refused(tmp_path / "zero.jpg", "pipe or a device")
    with pytest.raises(UserError):
        read_settings(tmp_path / "pipe.jpg")


def test_large_files_are_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.write(png(1, 1, b"\0\x80"))
        file.truncate(10**12)
    refused(path, "over the limit of 50 MB")


def test_no_pixels() -> None:
    refused(png(0, 5), "no pixels|not a picture|damaged")
    with pytest.raises(UserError, match="no pixels"):
        read_picture(Image.new("RGB", (0, 5)))


def test_one_pixel_is_a_picture() -> None:
    assert read_picture(png(1, 1, b"\0\x80")).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize(
    "name", ["new\nline.png", "貓 picture.png", "\x1b[31mred.png", "\udcff.png"]
)
def test_strange_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(png(1, 1, b"\0\x80"))
    assert read_picture(path).size == (1, 1)
    path.write_bytes(b"no picture")
    with pytest.raises(UserError) as caught:
        read_picture(path)
    assert caught.value.where.isprintable() and "png" in caught.value.where
