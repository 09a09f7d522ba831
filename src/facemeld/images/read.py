"""Reading pictures that anybody may have sent: upright, RGB, within limits, or one clear error."""

from __future__ import annotations

import io
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from facemeld.errors import UserError
from facemeld.images.profiles import in_srgb

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
    + (".heic", ".heif", ".hif")
)
_HEIC_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
)
"""What stands behind ``ftyp`` at the beginning of a HEIC file."""
_HEIC = "HEIF"  # Pillow's name of the format

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 322, 323

_warnings_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class PictureLimits:
    """What a picture may cost before it is refused, unread."""

    max_bytes: int = 50_000_000
    """Largest file, in bytes."""
    max_pixels: int = 64_000_000
    """Largest width times height; Pillow refuses more than 178 million in any case."""
    max_side: int = 30_000
    """Largest width or height, in pixels."""


DEFAULT_LIMITS = PictureLimits()


def is_picture_name(path: str | Path) -> bool:
    """Whether a folder's file is meant as a picture: a known suffix, and not hidden."""
    path = Path(path)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def shown(path: str | Path) -> str:
    """A path as it may be printed: one line, without control characters or broken Unicode."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def read_picture(
    source: str | Path | bytes | Image.Image,
    *,
    limits: PictureLimits = DEFAULT_LIMITS,
    enough: int | None = None,
    margin: int = 3,
) -> Image.Image:
    """The picture as 8-bit RGB, upright; transparent parts become white.

    An animated file gives its first frame; a Pillow image gives the frame that it is at, and is
    not changed. Size limits are checked on the header, before anything is decoded.

    Args:
        source: a file, a file's content, or an open Pillow image.
        limits: what to refuse.
        enough: the side, in pixels, that the caller will shrink the picture to. Large JPEGs are
            then decoded at 1/2, 1/4 or 1/8, but never below ``margin`` times that side.
        margin: the larger, the nearer to the full decoding after shrinking: about 50 dB with 3.
            With 1 there may be nothing left for the antialiasing filter to do.

    Raises:
        UserError: missing, not a file, empty, too large, not a picture, damaged, or no pixels.
    """
    if isinstance(source, Image.Image):
        _check_size(source, limits, "picture in memory")
        return _decode(source, "picture in memory")
    if isinstance(source, bytes):
        content, where = source, "picture in memory"
    else:
        content, where = read_file(source, max_bytes=limits.max_bytes), shown(source)
    if not content:
        raise UserError("the picture is empty (0 bytes)", where=where)
    if len(content) > limits.max_bytes:
        raise _too_many_bytes(limits.max_bytes, where)
    with open_header(content, where=where, limits=limits) as image:
        if enough is not None:
            image.draft(None, (margin * enough, margin * enough))
        return _decode(image, where)


def check_picture(path: str | Path, *, limits: PictureLimits = DEFAULT_LIMITS) -> None:
    """Raises what `read_picture` would raise for a file's size and header; decodes nothing."""
    content = read_file(path, max_bytes=limits.max_bytes)
    if not content:
        raise UserError("the picture is empty (0 bytes)", where=shown(path))
    open_header(content, where=shown(path), limits=limits).close()


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """The largest centred square of an image, resized to size x size pixels with Lanczos.

    An image that is of this size already is given back itself.
    """
    if image.size == (size, size):
        return image
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    # Cropped first: resize(box=...) would let pixels from outside the box bleed in.
    square = image.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.LANCZOS)


def read_file(path: str | Path, *, max_bytes: int) -> bytes:
    """The content of a regular file; pipes and devices, which could block, are not opened.

    Raises:
        UserError: missing, not a regular file, unreadable, or over `max_bytes`.
    """
    where = shown(path)
    try:
        path = Path(path)
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UserError(
                "this is a folder, not a picture", where=where, fix="name one picture inside it"
            )
        if not stat.S_ISREG(status.st_mode):
            raise UserError("this is a pipe or a device, not a picture", where=where)
        with path.open("rb") as file:
            # One byte more than allowed tells "too large" even while the file grows. As much as
            # that is asked for only then, since the memory for it is taken first.
            content = file.read(min(status.st_size, max_bytes) + 1)
            if len(content) > status.st_size:
                content += file.read(max_bytes + 1 - len(content))
    except FileNotFoundError:
        raise UserError("there is no such file", where=where, fix="check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"the file cannot be read: {reason}", where=where) from error
    if len(content) > max_bytes:
        raise _too_many_bytes(max_bytes, where)
    return content


def open_header(
    content: bytes, *, where: str, limits: PictureLimits = DEFAULT_LIMITS
) -> Image.Image:
    """The picture with its header read and its size checked, nothing decoded yet.

    Raises:
        UserError: not a picture of a known format, damaged, or over the limits.
    """
    try:
        with _without_warnings():
            image = _open(content, where)
        _check_size(image, limits, where)
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels("it", limits, where) from error
    except UnidentifiedImageError as error:
        raise UserError(
            "this is not a picture that can be read",
            where=where,
            fix=f"use one of these formats: {', '.join(FORMATS)}, HEIC",
        ) from error
    except Exception as error:  # Pillow's parsers raise many kinds on hostile bytes
        raise _damaged(where) from error
    return image


def _open(content: bytes, where: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        if content[4:8] != b"ftyp" or content[8:12] not in _HEIC_BRANDS:
            raise
    _learn_heic(where)
    return Image.open(io.BytesIO(content), formats=(_HEIC,))


def _learn_heic(where: str) -> None:
    """Teaches Pillow to read what iPhones write, by libheif.

    Raises:
        UserError: the package that can is not there.
    """
    if _HEIC in Image.OPEN:
        return
    try:
        import pillow_heif
    except ImportError:
        raise UserError(
            "this is a HEIC picture, and what reads those is not installed",
            where=where,
            fix="pip install 'facemeld[heic]', or export it as JPEG",
        ) from None
    pillow_heif.register_heif_opener()


def to_rgb(image: Image.Image) -> Image.Image:
    """A loaded image of any Pillow mode as a new 8-bit RGB image without metadata.

    Colours are converted to sRGB by the ICC profile, if there is one. Transparency is composited on
    white. Deep grey keeps its proportions: 16-bit values are divided by 257; 32-bit and float
    values by the least of the usual full scales that holds them.
    """
    profile = image.info.get("icc_profile")
    if image.mode.startswith(("I", "F")):
        image = _deep_grey(image)
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        if profile:
            transparency = image.getchannel("A")
            image = _by_profile(image, profile, grey)
            image.putalpha(transparency)
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    elif profile:
        image = _by_profile(image, profile, grey)
    image = image.convert("RGB")
    image.info = {}
    return image


def _by_profile(image: Image.Image, profile: bytes, grey: bool) -> Image.Image:
    """Another image in sRGB, without transparency."""
    if image.mode != "CMYK":
        image = image.convert("RGB")
    return in_srgb(image.getchannel(0) if grey else image, profile).convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """Modes I, I;16* and F as mode L."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    if image.mode.startswith("I;16"):
        full = 65535.0
    else:
        brightest = float(values.max())
        scales = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        full = next((scale for scale in scales if brightest <= scale), brightest)
    values = np.rint(values.clip(0.0, full) * (255.0 / full))
    return Image.fromarray(values.astype(np.uint8))


def _decode(image: Image.Image, where: str) -> Image.Image:
    try:
        image.load()
        turn = _UPRIGHT.get(orientation(image))
        picture = to_rgb(image)
        return picture.transpose(turn) if turn is not None else picture
    except Exception as error:  # Pillow's decoders raise many kinds on hostile bytes
        raise _damaged(where) from error


def orientation(image: Image.Image) -> int:
    """How an opened picture lies, 1 (upright) to 8, as EXIF counts; a PNG is decoded for it."""
    try:
        with _without_warnings():
            return image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - broken EXIF leaves the pixels readable, as they lie
        return 1


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep Pillow's remarks on metadata and sizes from appearing beside our own errors."""
    # catch_warnings swaps a list that all threads share: one thread at a time.
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_size(image: Image.Image, limits: PictureLimits, where: str) -> None:
    sides = [image.size]
    if hasattr(image, "tag_v2"):
        # A TIFF is decoded tile by tile, and a tile may be far larger than the picture.
        tags = image.tag_v2
        sides.append((tags.get(_TIFF_TILE_WIDTH, 1), tags.get(_TIFF_TILE_HEIGHT, 1)))
    for width, height in sides:
        if width < 1 or height < 1:
            raise UserError(f"the picture has no pixels ({width} x {height})", where=where)
        if width * height > limits.max_pixels or max(width, height) > limits.max_side:
            raise _too_many_pixels(f"{width} x {height}", limits, where)


def _too_many_pixels(size: str, limits: PictureLimits, where: str) -> UserError:
    return UserError(
        f"the picture has too many pixels: {size} is over the limit of "
        f"{limits.max_pixels / 1e6:g} megapixels or {limits.max_side} pixels a side",
        where=where,
        fix="shrink it first",
    )


def _too_many_bytes(max_bytes: int, where: str) -> UserError:
    return UserError(
        f"the file is over the limit of {max_bytes / 1e6:g} MB", where=where, fix="shrink it first"
    )


def _damaged(where: str) -> UserError:
    return UserError(
        "the picture is truncated or damaged", where=where, fix="get a whole copy of it"
    )
