"""Writing pictures with their provenance: that they are synthetic, and how to make them again.

All formats carry it in an XMP packet (GIF in its comment): the IPTC property that marks media made
by a trained model (`Iptc4xmpExt:DigitalSourceType`), the tool, and the settings as JSON.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import zlib
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

from PIL import Image

from facemeld.errors import UserError, did_you_mean
from facemeld.images.mp4_packet import read_packet
from facemeld.images.read import DEFAULT_LIMITS, open_header, read_file, shown, to_rgb

SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
FORMAT_OF_SUFFIX = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_FACEMELD = "urn:facemeld:xmp:1:"
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="{iptc}"
    xmlns:facemeld="{facemeld}">
   <xmp:CreatorTool>{tool}</xmp:CreatorTool>
   <Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>{settings}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
_LARGEST_PACKET = 1_000_000  # bytes; foreign packets beyond this are not parsed
_LARGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # pixels; what the encoders accept
_LARGEST_JPEG_PACKET = 65_502  # bytes; one JPEG segment


def write_picture(
    image: Image.Image,
    path: str | Path,
    *,
    settings: dict[str, Any] | None,
    quality: int = 95,
) -> None:
    """Write an image in the format of the path's suffix, marked as synthetic.

    The file appears whole or not at all. Metadata of `image` (place, camera) is not written.

    Args:
        image: of any mode; written as RGB, transparent parts white.
        path: ends in .png, .jpg, .jpeg or .webp; missing folders are made.
        settings: JSON values that reproduce the picture, or None to keep them private.
        quality: of JPEG and WebP, 1 to 100.

    Raises:
        UserError: another suffix, a picture or settings too large for the format, or a place that
            cannot be written to.
        TypeError, ValueError: settings that are not JSON.
    """
    path = Path(path)
    kind = FORMAT_OF_SUFFIX.get(path.suffix.lower())
    if kind is None:
        raise UserError(
            f"pictures cannot be written as '{shown(path.suffix)}'",
            where=shown(path),
            fix=did_you_mean(path.suffix, tuple(FORMAT_OF_SUFFIX)),
        )
    if max(image.size) > _LARGEST_SIDE.get(kind, max(image.size)):
        raise UserError(
            f"{image.width} x {image.height} pixels are too many for {kind} "
            f"(at most {_LARGEST_SIDE[kind]} a side)",
            where=shown(path),
            fix="write a .png",
        )
    packet = provenance_packet(settings)
    if kind == "JPEG" and len(packet) > _LARGEST_JPEG_PACKET:
        raise UserError(
            f"the settings are too long for a JPEG ({len(packet)} bytes)",
            where=shown(path),
            fix="write a .png, or leave the settings out",
        )
    _replace(path, _encode(to_rgb(image), kind, packet, quality))


def encode_picture(
    image: Image.Image,
    kind: str,
    *,
    settings: dict[str, Any] | None,
    synthetic: bool = True,
    quality: int = 95,
) -> bytes:
    """An image as a file's content, for where it is not written as one: a page, a download.

    Args:
        image: of any mode.
        kind: PNG, JPEG or WEBP.
        settings: as for ``write_picture``; only of synthetic pictures.
        synthetic: mark it as made by a model; a plot of numbers is not.
        quality: of JPEG and WebP, 1 to 100.
    """
    packet = provenance_packet(settings) if synthetic else b""
    return _encode(to_rgb(image), kind, packet, quality)


def encode_photograph(image: Image.Image, suffix: str, *, quality: int = 95) -> bytes:
    """The content of a file of this suffix, without metadata and without a mark.

    For pictures that nobody generated. PNG and WebP are lossless, and made to be fast: photographs
    come out within 3 % of the usual settings, in a quarter of the time.

    Args:
        image: RGB.
        suffix: .png, .jpg, .jpeg or .webp.
        quality: of JPEG, 1 to 100.
    """
    buffer = io.BytesIO()
    kind = FORMAT_OF_SUFFIX[suffix]
    if kind == "PNG":
        image.save(buffer, kind, compress_level=1, compress_type=zlib.Z_RLE)
    elif kind == "JPEG":
        image.save(buffer, kind, quality=quality, subsampling="4:4:4", optimize=True)
    else:
        image.save(buffer, kind, lossless=True, method=0)
    return buffer.getvalue()


def read_settings(path: str | Path) -> dict[str, Any] | None:
    """The settings that `write_picture` put into a file, or None if it has none.

    Raises:
        UserError: the file is no readable picture or video.
    """
    text = _properties(path).get(f"{_FACEMELD} settings")
    try:
        settings = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return settings if isinstance(settings, dict) else None


def is_marked_synthetic(path: str | Path) -> bool:
    """Whether a file says that a trained model made it, by facemeld or any other tool.

    Raises:
        UserError: the file is no readable picture or video.
    """
    return _properties(path).get(f"{_IPTC} DigitalSourceType", "").strip() == SYNTHETIC


def provenance_packet(settings: dict[str, Any] | None) -> bytes:
    """The XMP packet that every result carries, in UTF-8.

    Args:
        settings: JSON values, or None to keep them private.
    """
    element = ""
    if settings is not None:
        # ASCII JSON escapes what XML cannot hold: control characters and lone surrogates.
        text = escape(json.dumps(settings, ensure_ascii=True, allow_nan=False))
        element = f"\n   <facemeld:settings>{text}</facemeld:settings>"
    try:
        tool = f"facemeld {metadata.version('facemeld')}"
    except metadata.PackageNotFoundError:  # run from a source folder
        tool = "facemeld"
    packet = _PACKET.format(
        iptc=_IPTC, facemeld=_FACEMELD, tool=tool, source_type=SYNTHETIC, settings=element
    )
    return packet.encode()


def _encode(image: Image.Image, kind: str, packet: bytes, quality: int) -> bytes:
    buffer = io.BytesIO()
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        if packet:
            info.add_itxt("XML:com.adobe.xmp", packet.decode())
        image.save(buffer, kind, pnginfo=info)
    elif kind == "JPEG":
        # Full colour resolution: the usual halving smears the edges of small, coloured features.
        image.save(buffer, kind, quality=quality, subsampling="4:4:4", optimize=True, xmp=packet)
    else:
        image.save(buffer, kind, quality=quality, xmp=packet)
    return buffer.getvalue()


def _replace(path: Path, content: bytes) -> None:
    """Put content at path at once: after a crash the old file or the new one is there, whole."""
    temporary = path.parent / f".facemeld-{secrets.token_hex(6)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"the picture cannot be written: {reason}",
            where=shown(path),
            fix="choose a place that can be written to and has room",
        ) from error


def _properties(path: str | Path) -> dict[str, str]:
    """The simple XMP properties of a file, keyed by 'namespace name'; empty if it has none."""
    if Path(path).suffix.lower() == ".mp4":
        packet = _packet_of_mp4(Path(path))
    else:
        content = read_file(path, max_bytes=DEFAULT_LIMITS.max_bytes)
        with open_header(content, where=shown(path)) as image:
            packet = image.info.get("xmp") or image.info.get("comment", b"")
    if isinstance(packet, str):
        packet = packet.encode()
    return _parse(packet) if len(packet) <= _LARGEST_PACKET else {}


def _packet_of_mp4(path: Path) -> bytes:
    try:
        return read_packet(path, most=_LARGEST_PACKET)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"the video cannot be read: {reason}", where=shown(path)) from error


def _parse(packet: bytes) -> dict[str, str]:
    """Elements with text, and attributes, of an XMP packet; what is not well-formed counts as none.

    A document type is refused, and with it every entity that could expand without bound.
    """
    properties: dict[str, str] = {}
    open_elements: list[tuple[str, list[str]]] = []
    parser = expat.ParserCreate(namespace_separator=" ")

    def start(name: str, attributes: dict[str, str]) -> None:
        properties.update(attributes)
        open_elements.append((name, []))

    def text(data: str) -> None:
        if open_elements:
            open_elements[-1][1].append(data)

    def end(_: str) -> None:
        name, parts = open_elements.pop()
        properties[name] = "".join(parts)

    def refuse(*_: object) -> None:
        raise ValueError("XMP with a document type")

    parser.StartElementHandler = start
    parser.CharacterDataHandler = text
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(packet.strip(b"\0 \r\n\t"), True)
    except (expat.ExpatError, ValueError):
        return {}
    return properties
