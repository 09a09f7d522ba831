"""Near duplicates: what counts as a copy, what does not, and which one stays."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_faces import draw_face
from PIL import Image, ImageEnhance, ImageOps

import facemeld
from facemeld.data.duplicates import Copy, Signature, near_duplicates, signature

BUNDLED = sorted((Path(facemeld.__file__).parent / "assets" / "faces").rglob("*.jpg"))
BUNDLED += sorted((Path(facemeld.__file__).parent / "assets" / "faces").rglob("*.png"))


@pytest.fixture(scope="module")
def faces() -> list[Image.Image]:
    """The bundled faces, people, animals and anime, 128 px."""
    images = [Image.open(path).convert("RGB") for path in BUNDLED]
    return [ImageOps.fit(image, (128, 128), Image.Resampling.LANCZOS) for image in images]


def encoded(image: Image.Image, kind: str, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return Image.open(buffer).convert("RGB")


def resized(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.BICUBIC)


def cropped(image: Image.Image, pixels: int) -> Image.Image:
    box = (pixels, pixels, image.width - pixels, image.height - pixels)
    return image.crop(box).resize(image.size, Image.Resampling.LANCZOS)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the same": lambda image: image,
    "JPEG of low quality": lambda image: encoded(image, "JPEG", 40),
    "WebP": lambda image: encoded(image, "WEBP", 50),
    "half the size": lambda image: resized(image, 64),
    "three times the size": lambda image: resized(image, 384),
    "a border less": lambda image: cropped(image, 1),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.15),
    "a little brighter": lambda image: image.point(lambda v: min(255, v + 6)),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("mirrored", [False, True])
def test_copies_are_recognised(faces: list[Image.Image], way: str, mirrored: bool) -> None:
    for face in faces:
        copy = COPIES[way](ImageOps.mirror(face) if mirrored else face)
        found = near_duplicates([signature(face), signature(copy)])
        assert found and found[1].of == 0 and found[1].mirrored == mirrored


def test_different_faces_are_not_copies(faces: list[Image.Image]) -> None:
    assert len(faces) >= 12
    assert near_duplicates([signature(face) for face in faces]) == {}


def test_drawings_in_other_colours_are_not_copies() -> None:
    drawing = draw_face("cat", 3, 128)
    red, green, blue = drawing.split()
    other = Image.merge("RGB", (blue, green, red))
    assert near_duplicates([signature(drawing), signature(other)]) == {}


def test_the_signature_of_a_mirrored_picture_is_the_mirrored_signature(
    faces: list[Image.Image],
) -> None:
    for face in faces:
        found = near_duplicates([signature(face), signature(ImageOps.mirror(face))])
        assert found == {1: Copy(0, 0, True)}


def test_the_earliest_that_stays_is_named_and_copies_do_not_chain() -> None:
    signs = np.ones(256, bool)
    tiny = np.full((8, 8, 3), 100, np.uint8)
    rows = []
    for flipped in (0, 40, 80, 0):  # each 40 signs from the one before
        row = signs.copy()
        row[1 : 1 + flipped] = False
        rows.append(Signature(row, tiny, 9.0))
    assert near_duplicates(rows) == {1: Copy(0, 40, False), 3: Copy(0, 0, False)}


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch, faces: list[Image.Image]) -> None:
    looks = [signature(face) for face in faces] * 3
    whole = near_duplicates(looks)
    assert len(whole) == 2 * len(faces)
    monkeypatch.setattr("facemeld.data.duplicates._BLOCK", 7)
    assert near_duplicates(looks) == whole
    monkeypatch.setattr("facemeld.data.duplicates._TILE", 5)
    assert near_duplicates(looks) == whole


def test_memory_does_not_grow_with_the_square(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facemeld.data.duplicates._TILE", 512)
    random = np.random.default_rng(0)
    signs = random.integers(0, 2, (9000, 256)).astype(bool)
    tiny = np.zeros((8, 8, 3), np.uint8)
    looks = [Signature(row, tiny, 9.0) for row in signs]
    tracemalloc.start()
    try:
        assert near_duplicates(looks) == {}
        assert tracemalloc.get_traced_memory()[1] < 20e6  # a block against all would take 37 MB
    finally:
        tracemalloc.stop()


def test_signatures_travel_as_text(faces: list[Image.Image]) -> None:
    look = signature(faces[0])
    again = Signature.unpack(look.pack())
    assert np.array_equal(again.signs, look.signs) and np.array_equal(again.tiny, look.tiny)
    assert look.pack().isascii() and len(look.pack()) == 2 * (32 + 192)


def test_no_pictures_and_one() -> None:
    assert near_duplicates([]) == {}
    assert near_duplicates([signature(draw_face("cat", 0))]) == {}
