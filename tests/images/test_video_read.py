"""Videos are read evenly in time, upright, within limits; others are refused in a sentence."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from facemeld.errors import UserError
from facemeld.images.video_read import VideoLimits, is_video, open_video
from facemeld.images.video_write import VIDEO_SUFFIXES, write_video


def grey(number: int, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Lighter from frame to frame, with a dark left half."""
    image = Image.new("RGB", size, (60 + 8 * number,) * 3)
    image.paste((0, 0, 0), (0, 0, size[0] // 2, size[1]))
    return image


def numbers(frames) -> list[int]:
    """Which of the grey frames these are."""
    return [round((np.asarray(f)[:, 30:].mean() - 60) / 8) for f in frames]


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_what_was_written_is_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip{suffix}"
    write_video(map(grey, range(12)), path, fps=20, settings=None)
    assert is_video(path)
    video = open_video(path)
    assert video.fps == 20 and video.count == 12
    assert numbers(video.frames()) == list(range(12))
    assert numbers(video.frames(Fraction(10))) == [0, 2, 4, 6, 8, 10]
    twice = list(video.frames(Fraction(40)))
    assert numbers(twice) == sorted([*range(12)] * 2) and twice[0] is twice[1]


def test_frames_of_unequal_length_keep_their_time(tmp_path: Path) -> None:
    path = tmp_path / "slow.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 30)
        for number, tick in enumerate((0, 3, 4, 10)):
            frame = av.VideoFrame.from_image(grey(number)).reformat(format="yuv420p")
            frame.pts, frame.time_base = tick, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    shown = numbers(open_video(path).frames(Fraction(30)))
    assert shown[:11] == [0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 3]


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((0, 1, -1, 0), Image.Transpose.ROTATE_270),
        ((-1, 0, 0, -1), Image.Transpose.ROTATE_180),
        ((0, -1, 1, 0), Image.Transpose.ROTATE_90),
    ],
)
def test_videos_of_turned_phones_are_upright(matrix, turn, tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    write_video([grey(3)] * 2, path, fps=10, settings=None)
    plain = next(open_video(path).frames())

    def rows(a: int, b: int, c: int, d: int) -> bytes:
        values = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
        return b"".join(v.to_bytes(4, "big", signed=True) for v in values)

    content = path.read_bytes()
    header = content.index(b"tkhd")
    place = content.index(rows(1, 0, 0, 1), header)
    path.write_bytes(content[:place] + rows(*matrix) + content[place + 36 :])
    turned = next(open_video(path).frames())
    assert np.array_equal(np.asarray(turned), np.asarray(plain.transpose(turn)))


def test_a_still_picture_is_no_video(tmp_path: Path) -> None:
    for name in ("still.webp", "still.gif", "still.png"):
        grey(0).save(tmp_path / name)
        assert not is_video(tmp_path / name)
    assert not is_video(tmp_path / "missing.webp") and is_video(Path("any.MOV"))


# -- what is refused ----------------------------------------------------------------------------


def playlist(path: Path) -> None:
    secret = path.with_name("secret.mp4")
    write_video([grey(0)] * 2, secret, fps=5, settings=None)
    path.write_text(f"#EXTM3U\n#EXTINF:1,\n{secret.name}\n#EXT-X-ENDLIST\n")


def concatenation(path: Path) -> None:
    secret = path.with_name("secret.mp4")
    write_video([grey(0)] * 2, secret, fps=5, settings=None)
    path.write_text(f"ffconcat version 1.0\nfile {secret}\n")


def cut(path: Path) -> None:
    write_video([grey(0)] * 9, path, fps=5, settings=None)
    path.write_bytes(path.read_bytes()[:200])


def sound(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


HOSTILE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello"),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "folder": lambda path: path.mkdir(),
    "missing": lambda path: None,
    "playlist": playlist,
    "concatenation": concatenation,
    "cut": cut,
    "sound": sound,
}


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_video_is_refused(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip{suffix}"
    if suffix == ".gif" and name in ("cut", "sound"):
        path = tmp_path / "clip.mp4"
    HOSTILE[name](path)
    with pytest.raises(UserError) as caught:
        list(open_video(path).frames())
    assert str(path) in caught.value.where


def test_a_damaged_middle_is_told(tmp_path: Path) -> None:
    path = tmp_path / "clip.webp"
    write_video(map(grey, range(12)), path, fps=20, settings=None)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        list(open_video(path).frames())


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
@pytest.mark.parametrize(
    ("limit", "what"), [("max_pixels", "too many pixels"), ("max_frames", "too long")]
)
def test_limits_hold_before_decoding(suffix: str, limit: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip{suffix}"
    write_video(map(grey, range(12)), path, fps=20, settings=None)
    with pytest.raises(UserError, match=what):
        open_video(path, limits=VideoLimits(**{limit: 11}))


def test_a_frame_that_lasts_for_ever_does_not(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    grey(0).save(
        buffer, "GIF", save_all=True, append_images=[grey(5), grey(9)], duration=[20, 600_000, 20]
    )
    path = tmp_path / "clip.gif"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="too long"):
        for _ in open_video(path, limits=VideoLimits(max_frames=100)).frames():
            pass
