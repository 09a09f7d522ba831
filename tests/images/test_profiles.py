"""A picture looks the same whatever colours it was stored in."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from icc_profiles import DISPLAY_P3, SRGB, profile
from PIL import Image, ImageCms

from facemeld.errors import UserError
from facemeld.images import is_picture_name, read_picture
from facemeld.images.profiles import LARGEST_PROFILE, in_srgb

P3_RED = (234, 51, 35)  # what Display P3 calls the red that is (255, 0, 0) in sRGB
HEIC = Path(__file__).parent / "data" / "display_p3.heic"


def stored(image: Image.Image, kind: str, icc: bytes, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, icc_profile=icc, **options)
    return buffer.getvalue()


def seen(content: bytes | Image.Image) -> tuple[int, ...]:
    return read_picture(content).getpixel((0, 0))


def near(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_display_p3_becomes_srgb(kind: str) -> None:
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    image = Image.new("RGB", (16, 16), P3_RED)
    content = stored(image, kind, profile(DISPLAY_P3), **options.get(kind, {}))
    assert near(seen(content), (255, 0, 0))
    assert read_picture(content).info == {}


def test_large_jpegs_that_are_decoded_smaller_are_converted_too() -> None:
    image = Image.new("RGB", (900, 900), P3_RED)
    content = stored(image, "JPEG", profile(DISPLAY_P3), quality=95)
    small = read_picture(content, enough=64)
    assert small.width < 900 and near(small.getpixel((9, 9)), (255, 0, 0))


def test_srgb_is_left_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (own, profile(SRGB)):
        content = stored(Image.fromarray(pixels), "PNG", icc)
        assert np.array_equal(np.asarray(read_picture(content)), pixels)


def test_other_modes_by_their_profiles() -> None:
    grey = profile(gamma=1.0)  # linear light: 55 of 255 is half as bright as it looks
    expected = round(255 * (1.055 * (55 / 255) ** (1 / 2.4) - 0.055))
    assert near(seen(stored(Image.new("L", (4, 4), 55), "PNG", grey)), (expected,) * 3)
    half = Image.new("LA", (4, 4), (55, 128))
    mixed = round(expected * 128 / 255 + 255 * 127 / 255)
    assert near(seen(stored(half, "PNG", grey)), (mixed,) * 3)
    half = Image.new("RGBA", (4, 4), (*P3_RED, 128))
    assert near(seen(stored(half, "PNG", profile(DISPLAY_P3))), (255, 127, 127))
    palette = Image.new("RGB", (4, 4), P3_RED).quantize(4)
    assert near(seen(stored(palette, "PNG", profile(DISPLAY_P3))), (255, 0, 0))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_profile_of_other_colours_is_passed_over(mode: str) -> None:
    image = Image.new(mode, (4, 4), 60 if mode == "L" else tuple(range(10, 10 * len(mode) + 1, 10)))
    wrong = profile() if mode == "RGB" else profile(DISPLAY_P3)
    image.info["icc_profile"] = wrong
    assert seen(image) == image.convert("RGB").getpixel((0, 0))


def test_broken_profiles_are_passed_over() -> None:
    whole = profile(DISPLAY_P3)
    image = Image.new("RGB", (4, 4), P3_RED)
    for icc in (b"", b"words", *(whole[:n] for n in range(0, len(whole), 9))):
        assert seen(stored(image, "PNG", icc)) == P3_RED
    assert in_srgb(image, whole + bytes(LARGEST_PROFILE)) is image
    random = np.random.default_rng(0)
    for _ in range(300):
        bytes_changed = np.frombuffer(whole, np.uint8).copy()
        bytes_changed[random.integers(0, len(whole), 6)] = random.integers(0, 256, 6)
        assert in_srgb(image, bytes_changed.tobytes()).mode == "RGB"


def test_heic_without_its_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(UserError, match="a HEIC picture") as caught:
        read_picture(HEIC)
    assert "facemeld[heic]" in caught.value.fix and caught.value.where == str(HEIC)
    assert is_picture_name("IMG_0001.HEIC")


def test_heic_is_read_in_srgb() -> None:
    pytest.importorskip("pillow_heif")
    picture = read_picture(HEIC)
    assert picture.size == (64, 48) and near(picture.getpixel((8, 8)), (255, 0, 0))
    blue = picture.getpixel((56, 8))
    assert blue[2] > 190 and blue[0] < 60
    content = HEIC.read_bytes()
    for size in (20, 200, len(content) // 2, len(content) - 9):
        with pytest.raises(UserError, match="damaged|not a picture"):
            read_picture(content[:size])
