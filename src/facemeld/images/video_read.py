"""Reading videos that anybody may have sent, frame by frame: upright, RGB, within limits.

GIF and WebP are read by Pillow, all others by PyAV (``facemeld[video]``).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from PIL import Image

from facemeld.errors import UserError
from facemeld.images.read import DEFAULT_LIMITS, open_header, read_file, shown, to_rgb
from facemeld.images.video_write import import_av

PILLOW_SUFFIXES = (".gif", ".webp")
SUFFIXES = frozenset(
    (
        *PILLOW_SUFFIXES,
        ".mp4",
        ".m4v",
        ".mov",
        ".3gp",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".ts",
    )
)
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts"
_UPRIGHT = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    -180: Image.Transpose.ROTATE_180,
    -90: Image.Transpose.ROTATE_270,
}
_SHOWN_MILLISECONDS = 100  # of a GIF's frame that says 0, as browsers do


@dataclass(frozen=True, kw_only=True)
class VideoLimits:
    """What a video may cost before it is refused."""

    max_pixels: int = 16_000_000
    """Largest width times height of a frame."""
    max_frames: int = 36_000
    """20 minutes at 30 frames a second."""


@dataclass(frozen=True)
class VideoFile:
    """A video whose header was read and found within limits."""

    path: Path
    fps: Fraction
    """Frames a second: the mean, or for GIF and WebP what the first frame says."""
    count: int | None
    """How many frames its header speaks of, if it does."""
    limits: VideoLimits

    def frames(self, fps: Fraction | None = None) -> Iterator[Image.Image]:
        """RGB frames, upright, evenly in time; one that lasts longer comes again as the same.

        Args:
            fps: so many a second; as many as the video has if not given.

        Raises:
            UserError: damaged, over the limits, or without a frame.
        """
        fps = fps or self.fps
        timed = _pillow_frames if self.path.suffix.lower() in PILLOW_SUFFIXES else _av_frames
        number = 0
        for number, frame in enumerate(_evenly(timed(self), fps), 1):
            if number > self.limits.max_frames:
                raise _too_long(self.path, self.limits)
            yield frame
        if number == 0:
            raise UserError("no frame of the video can be read", where=shown(self.path))


def is_video(path: Path) -> bool:
    """Whether a file is meant as a video: a known suffix; GIF and WebP if they hold several
    frames."""
    suffix = path.suffix.lower()
    if suffix not in PILLOW_SUFFIXES:
        return suffix in SUFFIXES
    try:
        with Image.open(path, formats=("GIF", "WEBP")) as image:
            return getattr(image, "is_animated", False)
    except Exception:  # noqa: BLE001 - what is wrong with it, reading it as a picture will tell
        return False


def open_video(path: str | Path, *, limits: VideoLimits = VideoLimits()) -> VideoFile:
    """Reads a video's header; decodes nothing.

    Raises:
        UserError: missing, not a video, damaged, too large or too long; or PyAV is not installed.
    """
    path = Path(path)
    _check_regular(path)
    if path.suffix.lower() in PILLOW_SUFFIXES:
        content = read_file(path, max_bytes=DEFAULT_LIMITS.max_bytes)
        with open_header(content, where=shown(path)) as image:
            width, height = image.size
            count = getattr(image, "n_frames", 1)
            image.load()
            milliseconds = image.info.get("duration") or _SHOWN_MILLISECONDS
        fps = Fraction(1000, int(milliseconds) or _SHOWN_MILLISECONDS)
    else:
        with opened(path) as (_, stream):
            width, height = stream.width, stream.height
            fps = stream.average_rate or stream.guessed_rate
            if not fps or not width or not height:
                raise _not_a_video(path)
            seconds = stream.duration * stream.time_base if stream.duration else None
            count = stream.frames or (round(seconds * fps) if seconds else None)
    if width * height > limits.max_pixels:
        raise UserError(
            f"the video has too many pixels: {width} x {height} is over the limit of "
            f"{limits.max_pixels / 1e6:g} megapixels",
            where=shown(path),
            fix="shrink it first",
        )
    if count is not None and count > limits.max_frames:
        raise _too_long(path, limits)
    return VideoFile(path, Fraction(fps), count, limits)


Timed = Iterator[tuple[float, float, Image.Image]]
"""Begin and end in seconds, and the frame."""


def _evenly(timed: Timed, fps: Fraction) -> Iterator[Image.Image]:
    """At each tick the frame that is shown then; begins may be late by a quarter of a tick, since
    files round them."""
    shown_now, number, end = None, 0, 0.0
    for start, end, image in timed:
        while shown_now is not None and (number + 0.25) / fps < start:
            yield shown_now
            number += 1
        shown_now = image
    while shown_now is not None and (number + 0.25) / fps < end:
        yield shown_now
        number += 1


def _pillow_frames(video: VideoFile) -> Timed:
    content = read_file(video.path, max_bytes=DEFAULT_LIMITS.max_bytes)
    start = 0.0
    with open_header(content, where=shown(video.path)) as image:
        for number in range(video.count or 1):
            try:
                image.seek(number)
                image.load()
                frame = to_rgb(image)
            except Exception as error:  # Pillow's decoders raise many kinds on hostile bytes
                raise _damaged(video.path) from error
            end = start + (image.info.get("duration") or _SHOWN_MILLISECONDS) / 1000
            yield start, end, frame
            start = end


def _av_frames(video: VideoFile) -> Timed:
    first = None
    size = None
    with opened(video.path) as (container, stream):
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(video.limits.max_pixels)}
        for frame in container.decode(stream):
            time = frame.time or 0.0
            first = time if first is None else first
            image = frame.to_image()
            if (turn := _UPRIGHT.get(frame.rotation)) is not None:
                image = image.transpose(turn)
            size = size or image.size
            if image.size != size:
                raise UserError(
                    "the frames of the video have different sizes",
                    where=shown(video.path),
                    fix="convert it to one size",
                )
            yield time - first, time - first + float(1 / video.fps), image


@contextmanager
def opened(path: Path):
    """PyAV's container and video stream; what FFmpeg says of them becomes a UserError."""
    av = import_av()
    # Playlists and the like, which name further files and addresses, are not containers.
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        with av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
            if not container.streams.video:
                raise UserError("the file holds no video", where=shown(path))
            yield container, container.streams.video[0]
    except av.error.FFmpegError as error:
        raise _not_a_video(path) from error
    except OSError as error:
        raise UserError(f"the video cannot be read: {error.strerror}", where=shown(path)) from error


def _check_regular(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise UserError("there is no such file", where=shown(path), fix="check the path") from error
    if not stat.S_ISREG(mode):
        raise UserError("this is not a file", where=shown(path))


def _not_a_video(path: Path) -> UserError:
    return UserError(
        "this is not a video that can be read, or it is damaged",
        where=shown(path),
        fix=f"use one of these: {', '.join(sorted(SUFFIXES))}",
    )


def _damaged(path: Path) -> UserError:
    return UserError(
        "the video is truncated or damaged", where=shown(path), fix="get a whole copy of it"
    )


def _too_long(path: Path, limits: VideoLimits) -> UserError:
    return UserError(
        f"the video is too long: over the limit of {limits.max_frames} frames",
        where=shown(path),
        fix="cut it first, or ask for fewer frames a second",
    )
