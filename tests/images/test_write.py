"""Written pictures are whole, marked as synthetic, and carry the settings that made them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from full_disk import largest_file
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from facemeld.errors import UserError
from facemeld.images import is_marked_synthetic, read_picture, read_settings, write_picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".PNG")
RED = Image.new("RGB", (40, 30), (200, 20, 30))
SETTINGS = {
    "source": "a <b>&\"'ü 貓\n\x00\ud800.jpg",
    "weights": [0.7, 0.3],
    "seed": 1,
    "domain": None,
    "nested": {"]]>": "<!-- -->"},
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_settings_and_mark_survive(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"face{suffix}"
    write_picture(RED, path, settings=SETTINGS)
    assert read_settings(path) == SETTINGS
    assert is_marked_synthetic(path)
    assert read_picture(path).size == RED.size
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_settings_can_be_kept_private_but_not_the_mark(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"face{suffix}"
    write_picture(RED, path, settings=None)
    assert read_settings(path) is None
    assert is_marked_synthetic(path)


def test_png_is_exact_and_jpeg_keeps_full_colour_resolution(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    write_picture(Image.fromarray(pixels), tmp_path / "a.png", settings=None)
    assert np.array_equal(np.asarray(read_picture(tmp_path / "a.png")), pixels)
    write_picture(RED, tmp_path / "a.jpg", settings=None)
    with Image.open(tmp_path / "a.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3


def test_the_packet_is_what_other_tools_expect(tmp_path: Path) -> None:
    write_picture(RED, tmp_path / "a.jpg", settings=None)
    with Image.open(tmp_path / "a.jpg") as image:
        packet = ElementTree.fromstring(image.info["xmp"])
    source_type = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert (
        packet.findtext(f".//{source_type}")
        == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    tool = packet.findtext(".//{http://ns.adobe.com/xap/1.0/}CreatorTool")
    assert tool.startswith("facemeld")


def test_private_metadata_of_the_image_is_left_out(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x010F] = "camera maker"
    buffer = io.BytesIO()
    RED.save(buffer, "JPEG", exif=tags, comment="my secret")
    with Image.open(buffer) as image:
        for suffix in SUFFIXES:
            path = tmp_path / f"face{suffix}"
            write_picture(image, path, settings=None)
            assert b"camera maker" not in path.read_bytes()
            assert b"my secret" not in path.read_bytes()


def test_plain_pictures_have_neither(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".gif"):
        RED.save(tmp_path / f"a{suffix}")
        assert read_settings(tmp_path / f"a{suffix}") is None
        assert not is_marked_synthetic(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    "packet",
    [
        "not xml",
        "<a><b></a>",
        "\0\0",
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "yyyyyyyy"><!ENTITY z "&x;&x;">]><a>&z;</a>',
        '<a xmlns:f="urn:facemeld:xmp:1:"><f:settings>{"a":</f:settings></a>',
        '<a xmlns:f="urn:facemeld:xmp:1:"><f:settings>[1]</f:settings></a>',
        '<a xmlns:f="urn:facemeld:xmp:1:"><f:settings>' + "[" * 200_000 + "</f:settings></a>",
        '<a xmlns:f="urn:facemeld:xmp:1:"><f:settings>{}</f:settings>' + " " * 1_000_000 + "</a>",
    ],
)
def test_foreign_packets_are_no_settings(tmp_path: Path, packet: str) -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet, zip=True)
    RED.save(tmp_path / "a.png", pnginfo=info)
    assert read_settings(tmp_path / "a.png") is None
    assert not is_marked_synthetic(tmp_path / "a.png")


def test_entities_are_refused_even_when_the_settings_are_well_formed(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_itxt(
        "XML:com.adobe.xmp",
        '<!DOCTYPE a [<!ENTITY x "1">]>'
        '<a xmlns:f="urn:facemeld:xmp:1:"><f:settings>{"a": &x;}</f:settings></a>',
    )
    RED.save(tmp_path / "a.png", pnginfo=info)
    assert read_settings(tmp_path / "a.png") is None


def test_unknown_suffixes_name_the_known_ones(tmp_path: Path) -> None:
    for name in ("a.jpgg", "a", "a.tga"):
        with pytest.raises(UserError) as caught:
            write_picture(RED, tmp_path / name, settings=None)
        assert ".webp" in caught.value.fix and name in caught.value.where
    assert os.listdir(tmp_path) == []


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_picture(RED, tmp_path / "a" / "b" / "c.png", settings=None)
    assert read_picture(tmp_path / "a" / "b" / "c.png").size == RED.size


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16_384), (".jpg", 65_501)])
def test_too_many_pixels_for_a_format(tmp_path: Path, suffix: str, side: int) -> None:
    with pytest.raises(UserError, match=f"{side} x 1 pixels are too many"):
        write_picture(Image.new("RGB", (side, 1)), tmp_path / f"a{suffix}", settings=None)


def test_settings_too_long_for_jpeg(tmp_path: Path) -> None:
    settings = {"references": ["x" * 100] * 1000}
    with pytest.raises(UserError, match="too long for a JPEG"):
        write_picture(RED, tmp_path / "a.jpg", settings=settings)
    write_picture(RED, tmp_path / "a.png", settings=settings)
    assert read_settings(tmp_path / "a.png") == settings


def test_settings_must_be_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_picture(RED, tmp_path / "a.png", settings={"loss": float("nan")})
    with pytest.raises(TypeError):
        write_picture(RED, tmp_path / "a.png", settings={"path": Path("a")})
    assert os.listdir(tmp_path) == []


def test_a_full_disk_keeps_the_old_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_picture(RED, path, settings={"seed": 1})
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8))
    with (
        largest_file(4096),
        pytest.raises(UserError, match="cannot be written: File too large") as caught,
    ):
        write_picture(noise, path, settings={"seed": 2})
    assert str(path) == caught.value.where
    assert read_settings(path) == {"seed": 1}
    assert os.listdir(tmp_path) == ["a.png"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "file" / "a.png", tmp_path / "folder.png", tmp_path / "nul\0.png"):
        with pytest.raises(UserError, match="cannot be written"):
            write_picture(RED, path, settings=None)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]


def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write anywhere")
        with pytest.raises(UserError, match="cannot be written: Permission denied"):
            write_picture(RED, tmp_path / "a.png", settings=None)
    finally:
        tmp_path.chmod(0o700)


def test_reading_settings_of_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("words")
    for name in ("a.png", "missing.png"):
        with pytest.raises(UserError):
            read_settings(tmp_path / name)
