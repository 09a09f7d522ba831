"""Pictures of every kind become upright RGB with the values that a person would expect."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from facemeld.errors import UserError
from facemeld.images import centre_square, is_picture_name, read_picture


def pattern(width: int = 24, height: int = 16) -> np.ndarray:
    """H W 3: red grows to the right, green downwards, so that every turn is told apart."""
    y, x = np.mgrid[:height, :width]
    return np.stack((x * 255 // (width - 1), y * 255 // (height - 1), 0 * x + 60), 2).astype("u1")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


SEEN = {  # what a viewer shows of stored pixels, by EXIF orientation
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: np.rot90(stored, 2),
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored.transpose(1, 0, 2), 2),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", SEEN)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_honoured(kind: str, orientation: int) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(Image.fromarray(pattern()), kind, exif=exif(orientation), **options)
    assert np.array_equal(np.asarray(read_picture(content)), SEEN[orientation](pattern()))


@pytest.mark.parametrize("orientation", [6, 8])
@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])
def test_exif_orientation_of_lossy_formats(kind: str, orientation: int) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    content = encoded(Image.fromarray(pattern()), kind, exif=exif(orientation), quality=95)
    seen = np.asarray(read_picture(content)).astype(int)
    assert seen.shape == (24, 16, 3)
    assert np.abs(seen - SEEN[orientation](pattern())).mean() < 4


def test_broken_exif_leaves_the_picture_readable() -> None:
    content = encoded(Image.fromarray(pattern()), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert np.array_equal(np.asarray(read_picture(content)), pattern())


def test_grey_becomes_rgb() -> None:
    grey = pattern()[:, :, 0]
    seen = np.asarray(read_picture(encoded(Image.fromarray(grey), "PNG")))
    assert np.array_equal(seen, np.repeat(grey[:, :, None], 3, 2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    seen = np.asarray(read_picture(encoded(Image.fromarray(levels * 257), kind)))
    assert np.array_equal(seen[:, :, 1], levels)


def test_dark_16_bit_grey_stays_dark() -> None:
    dark = Image.fromarray(np.full((4, 4), 10 * 257, np.uint16))
    assert read_picture(encoded(dark, "PNG")).getpixel((0, 0)) == (10, 10, 10)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.float32([[0.0, 0.5, 1.0]]), [0, 128, 255]),
        (np.float32([[0.0, 100.0, 255.0]]), [0, 100, 255]),
        (np.float32([[-5.0, np.nan, 1.0]]), [0, 0, 255]),
        (np.int32([[0, 100, 200]]), [0, 100, 200]),
        (np.int32([[0, 257 * 7, 65535]]), [0, 7, 255]),
        (np.int32([[0, 50_000, 100_000]]), [0, 128, 255]),
    ],
)
def test_32_bit_and_float_grey_keep_their_proportions(
    values: np.ndarray, expected: list[int]
) -> None:
    seen = np.asarray(read_picture(encoded(Image.fromarray(values), "TIFF")))
    assert seen[0, :, 0].tolist() == expected


def test_transparency_is_composited_on_white() -> None:
    half_red = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert read_picture(encoded(half_red, "PNG")).getpixel((0, 0)) == (255, 127, 127)
    half_black = Image.new("LA", (4, 4), (0, 128))
    assert read_picture(encoded(half_black, "PNG")).getpixel((0, 0)) == (127, 127, 127)
    assert read_picture(half_black.convert("La")).getpixel((0, 0)) == (127, 127, 127)


def test_palette_with_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 255, 10, 200, 30])
    image.putpixel((1, 0), 1)
    seen = read_picture(encoded(image, "PNG", transparency=0))
    assert [seen.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (10, 200, 30)]


def test_cmyk_jpeg_is_not_inverted() -> None:
    content = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert b"Adobe" in content  # its marker means that the values are stored inverted
    red, green, blue = read_picture(content).getpixel((8, 8))
    assert red > 250 and green < 5 and blue < 5


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBX", "RGBa", "YCbCr", "HSV", "LAB", "PA"])
def test_every_other_mode_becomes_rgb(mode: str) -> None:
    assert read_picture(Image.new(mode, (3, 2))).mode == "RGB"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_the_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    assert Image.open(io.BytesIO(content)).n_frames == 3
    assert read_picture(content).getpixel((4, 4)) == (255, 0, 0)


def test_a_pillow_image_is_not_changed() -> None:
    image = Image.open(io.BytesIO(encoded(Image.fromarray(pattern()), "PNG", exif=exif(6))))
    before = image.copy()
    read_picture(image).putpixel((0, 0), (1, 2, 3))
    assert image.size == before.size and image.tobytes() == before.tobytes()


def test_metadata_does_not_travel_along() -> None:
    content = encoded(Image.fromarray(pattern()), "PNG", exif=exif(1), dpi=(72, 72))
    assert read_picture(content).info == {}


def test_large_jpegs_decode_smaller_without_visible_difference() -> None:
    content = encoded(Image.fromarray(pattern(2000, 1000)), "JPEG", quality=95)
    fast, full = read_picture(content, enough=64), read_picture(content)
    assert full.size == (2000, 1000)
    assert 3 * 64 <= min(fast.size) < 1000
    fast, full = (np.asarray(centre_square(image, 64)).astype(int) for image in (fast, full))
    assert np.abs(fast - full).max() <= 3


def test_centre_square_cuts_the_long_side_evenly() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    seen = np.asarray(centre_square(Image.fromarray(pixels), 5))
    assert seen.shape == (5, 5, 3) and (seen == 200).all()


def test_a_square_of_the_wanted_size_is_not_touched() -> None:
    square = Image.fromarray(pattern(16, 16))
    assert centre_square(square, 16) is square


def test_a_file_that_grows_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing.png"
    path.write_bytes(encoded(Image.fromarray(pattern()), "PNG"))
    real = os.stat(path)
    shorter = os.stat_result([*real[:6], real.st_size // 2, *real[7:]])
    monkeypatch.setattr(Path, "stat", lambda self, **_: shorter)
    assert read_picture(path).size == (24, 16)


def test_picture_names() -> None:
    assert all(map(is_picture_name, ("a.jpg", "A.JPEG", "x/y.PnG", "a.b.webp", "a\nb.tif")))
    others = (".a.jpg", "x/._a.jpg", "a.txt", "jpg", ".jpg", "a.jpg.zip")
    assert not any(map(is_picture_name, others))


def test_an_unknown_kind_of_file_lists_the_known_ones() -> None:
    with pytest.raises(UserError) as caught:
        read_picture(b"just words")
    assert "JPEG" in caught.value.fix and "WEBP" in caught.value.fix


def test_importing_needs_no_torch() -> None:
    code = "import facemeld.images, facemeld.data.store, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
