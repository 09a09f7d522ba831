"""Writing videos frame by frame, with their provenance: MP4, GIF and animated WebP.

Nothing is kept but the frame at hand, so memory does not grow with length. Pillow would collect all
frames of a GIF or a WebP; here it encodes each, and the file around them is written as they come.
MP4 needs PyAV (``facemeld[video]``), which brings FFmpeg's libraries.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import GifImagePlugin, Image

from facemeld.errors import UserError, did_you_mean
from facemeld.files import write_whole
from facemeld.images.mp4_packet import append_packet
from facemeld.images.read import shown, to_rgb
from facemeld.images.write import SYNTHETIC, encode_picture, provenance_packet

if TYPE_CHECKING:
    from facemeld.images.sound import Sound

VIDEO_SUFFIXES = (".mp4", ".gif", ".webp")
_FASTEST = {".mp4": 240, ".gif": 50, ".webp": 240}  # browsers slow faster GIFs down
_LARGEST_SIDE = {".mp4": 8192, ".gif": 16_383, ".webp": 16_383}
_LARGEST_RIFF = 2**32 - 2
_ENCODERS = {  # the first that PyAV's build has
    "libx264": {"crf": "16", "preset": "medium"},
    "libopenh264": {"rc_mode": "quality"},
    "mpeg4": {"qscale": "2"},
}
_BT709 = 1  # as FFmpeg numbers matrices, primaries and transfers


def check_video_target(path: str | Path, fps: float | Fraction | None = None) -> None:
    """UserError if no video can be written there, as far as can be said without frames.

    Args:
        path: ends in .mp4, .gif or .webp.
        fps: frames a second, if known yet.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in VIDEO_SUFFIXES:
        raise UserError(
            f"videos cannot be written as '{shown(suffix)}'",
            where=shown(path),
            fix=did_you_mean(suffix, VIDEO_SUFFIXES),
        )
    if fps is not None and not 0.1 <= fps <= _FASTEST[suffix]:
        raise UserError(
            f"{float(fps):g} frames a second, but {suffix[1:].upper()} files are written with "
            f"0.1 to {_FASTEST[suffix]}",
            where=shown(path),
            fix="ask for another number of frames a second"
            + (", or write an .mp4" if suffix == ".gif" else ""),
        )
    if suffix == ".mp4":
        _encoder()


def write_video(
    frames: Iterable[Image.Image],
    path: str | Path,
    *,
    fps: float | Fraction,
    settings: dict[str, Any] | None,
    sound: Sound | None = None,
) -> int:
    """Writes frames as they come; the file appears whole or not at all, marked as synthetic.

    MP4 is H.264 where PyAV's build has it, with BT.709 colours; sides that are not even lose their
    last row or column, which its colour subsampling cannot hold. GIFs get a palette for each frame,
    and play for ever, as animated WebPs do.

    Args:
        frames: at least one, all of one size; read once, one after the other.
        path: ends in .mp4, .gif or .webp; missing folders are made.
        fps: frames a second.
        settings: JSON values that say how the video was made, or None to keep them private.
        sound: to be heard with the frames, from its start on; only an MP4 can hold it.

    Returns:
        How many frames were written.

    Raises:
        UserError: another suffix, too many frames a second or pixels for the format, PyAV is not
            installed, or a place that cannot be written to; and what ``frames`` raises.
    """
    path = Path(path)
    check_video_target(path, fps)
    suffix = path.suffix.lower()
    if sound is not None and suffix != ".mp4":
        raise ValueError(f"a {suffix} holds no sound")
    packet = provenance_packet(settings)
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise UserError("there are no frames to write", where=shown(path))
    if max(first.size) > _LARGEST_SIDE[suffix]:
        raise UserError(
            f"{first.width} x {first.height} pixels are too many for this kind of file "
            f"(at most {_LARGEST_SIDE[suffix]} a side)",
            where=shown(path),
            fix="ask for a smaller size",
        )
    same = _of_one_size(chain([first], iterator), first.size)
    fps = Fraction(fps).limit_denominator(1_000_000)
    written = 0

    def write(partial: Path) -> None:
        nonlocal written
        if suffix == ".mp4":
            written = _write_mp4(same, partial, fps, settings, packet, sound)
            return
        with partial.open("wb") as file:
            write = _write_gif if suffix == ".gif" else _write_webp
            written = write(same, file, first.size, fps, packet)

    write_whole(path, write)
    return written


def _of_one_size(frames: Iterable[Image.Image], size: tuple[int, int]) -> Iterator[Image.Image]:
    for frame in frames:
        if frame.size != size:
            raise ValueError(f"a frame of {frame.size} in a video of {size}")
        yield to_rgb(frame)


def _ticks(number: int, fps: Fraction, a_second: int) -> int:
    """How long frame ``number`` stays, rounded so that the sum does not drift."""
    return round((number + 1) * a_second / fps) - round(number * a_second / fps)


# -- GIF -----------------------------------------------------------------------------------------


def _write_gif(
    frames: Iterable[Image.Image],
    file: BinaryIO,
    size: tuple[int, int],
    fps: Fraction,
    packet: bytes,
) -> int:
    file.write(b"GIF89a" + struct.pack("<HHBBB", *size, 0, 0, 0))
    file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", 0, 0))  # for ever
    file.write(b"!\xfe")  # a comment, in blocks of at most 255 bytes
    for start in range(0, len(packet), 255):
        block = packet[start : start + 255]
        file.write(bytes([len(block)]) + block)
    file.write(b"\0")
    count = 0
    for count, frame in enumerate(frames, 1):
        # Dithering would boil: its noise is another in each frame.
        indexed = frame.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        duration = 10 * _ticks(count - 1, fps, 100)
        parts = GifImagePlugin.getdata(indexed, duration=duration, include_color_table=True)
        file.writelines(parts)
    file.write(b";")
    return count


# -- WebP ----------------------------------------------------------------------------------------


def _write_webp(
    frames: Iterable[Image.Image],
    file: BinaryIO,
    size: tuple[int, int],
    fps: Fraction,
    packet: bytes,
) -> int:
    """RIFF chunks as in the WebP container specification; each frame is a whole picture."""
    has_animation, has_xmp = 0x02, 0x04
    extent = _three_bytes(size[0] - 1) + _three_bytes(size[1] - 1)
    file.write(b"RIFF\0\0\0\0WEBP")
    file.write(_chunk(b"VP8X", bytes([has_animation | has_xmp, 0, 0, 0]) + extent))
    file.write(_chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, 0)))
    count = 0
    for count, frame in enumerate(frames, 1):
        picture = encode_picture(frame, "WEBP", settings=None, synthetic=False, quality=90)
        duration = _three_bytes(_ticks(count - 1, fps, 1000))
        not_blended = b"\x02"
        file.write(_chunk(b"ANMF", bytes(6) + extent + duration + not_blended + picture[12:]))
        if file.tell() > _LARGEST_RIFF - len(packet) - 16:
            raise UserError(
                "the result is over 4 GB, more than a WebP can hold",
                fix="write an .mp4, or a shorter video",
            )
    file.write(_chunk(b"XMP ", packet))
    total = file.tell()
    file.seek(4)
    file.write(struct.pack("<I", total - 8))
    return count


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _three_bytes(value: int) -> bytes:
    return value.to_bytes(3, "little")


# -- MP4 -----------------------------------------------------------------------------------------


def import_av():
    """PyAV.

    Raises:
        UserError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise UserError(
            "reading and writing such videos needs PyAV",
            fix="pip install 'facemeld[video]', or use .gif or .webp, which do without",
        ) from None
    return av


def _encoder() -> str:
    av = import_av()
    for name in _ENCODERS:
        if name in av.codecs_available:
            return name
    raise UserError(
        "this build of PyAV can write no MP4", fix="pip install --force-reinstall av, or use .webp"
    )


def _write_mp4(
    frames: Iterable[Image.Image],
    path: Path,
    fps: Fraction,
    settings: dict[str, Any] | None,
    packet: bytes,
    sound: Sound | None,
) -> int:
    av = import_av()
    from av.video.reformatter import ColorRange, Colorspace

    from facemeld.images.sound import SoundTrack

    name = _encoder()
    count = 0
    # faststart: the index first, so that a browser plays before it has the whole file
    options = {"movflags": "+faststart"}
    with ExitStack() as stack:
        container = stack.enter_context(av.open(str(path), "w", format="mp4", options=options))
        container.metadata["comment"] = _comment(settings)
        stream = container.add_stream(name, rate=fps, options=_ENCODERS[name])
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
        track = stack.enter_context(closing(SoundTrack(container, sound))) if sound else None
        for count, picture in enumerate(frames, 1):
            even = [max(2, side - side % 2) for side in picture.size]
            if count == 1:
                stream.width, stream.height = even
            frame = av.VideoFrame.from_image(picture.crop((0, 0, *even))).reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            frame.pts, frame.time_base = count - 1, 1 / fps
            container.mux(stream.encode(frame))
            if track is not None:
                track.write_until(count / fps)
        container.mux(stream.encode())
    append_packet(path, packet)
    return count


def _comment(settings: dict[str, Any] | None) -> str:
    """What players show; the XMP packet says the same in the standard's words."""
    about = {"synthetic": SYNTHETIC, "settings": settings}
    return json.dumps(about, ensure_ascii=True, allow_nan=False)
