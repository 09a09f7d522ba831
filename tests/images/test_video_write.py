"""Videos hold the frames that were written, for as long as they should, marked, in any length."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

from facemeld.errors import UserError
from facemeld.images import is_marked_synthetic, read_settings
from facemeld.images.video_write import VIDEO_SUFFIXES, check_video_target, write_video

SETTINGS = {"name": "Zoë <&> 臉", "numbers": [1, 0.5]}


def drawn(number: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A disc that goes to the right over a dark wall, and grows warmer."""
    image = Image.new("RGB", size, (20, 40, 60))
    x = 10 + 2 * number
    ImageDraw.Draw(image).ellipse((x - 8, 16, x + 8, 32), fill=(120 + 4 * number, 120, 60))
    return image


def read_back(path: Path) -> tuple[list[np.ndarray], float]:
    """The frames, and how many seconds they take."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            return frames, float(stream.duration * stream.time_base)
    frames, milliseconds = [], 0
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")))
            milliseconds += image.info["duration"]
    return frames, milliseconds / 1000


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
@pytest.mark.parametrize("fps", [12, 30, Fraction(24000, 1001)])
def test_frames_and_durations_are_read_back(suffix: str, fps, tmp_path: Path) -> None:
    path = tmp_path / f"new/folder/clip{suffix}"
    originals = [drawn(number) for number in range(20)]
    assert write_video(iter(originals), path, fps=fps, settings=SETTINGS) == 20
    frames, seconds = read_back(path)
    assert len(frames) == 20
    assert seconds == pytest.approx(20 / fps, abs=0.006)
    for frame, original in zip(frames, originals):
        assert np.abs(frame.astype(int) - np.asarray(original)).mean() < 3
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_videos_are_marked_and_hold_their_settings(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip{suffix}"
    write_video([drawn(0)], path, fps=5, settings=SETTINGS)
    assert is_marked_synthetic(path) and read_settings(path) == SETTINGS
    write_video([drawn(0)], path, fps=5, settings=None)
    assert is_marked_synthetic(path) and read_settings(path) is None


def test_players_read_the_mark_of_an_mp4_in_its_comment(tmp_path: Path) -> None:
    write_video([drawn(0)], tmp_path / "clip.mp4", fps=5, settings=SETTINGS)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert "trainedAlgorithmicMedia" in container.metadata["comment"]


def test_an_mp4_of_odd_sides_loses_a_row_and_a_column(tmp_path: Path) -> None:
    write_video([drawn(0, (63, 49))], tmp_path / "clip.mp4", fps=5, settings=None)
    frames, _ = read_back(tmp_path / "clip.mp4")
    assert frames[0].shape == (48, 62, 3)


MEASURE = """
import resource, sys
import numpy as np
from PIL import Image
from facemeld.images.video_write import write_video

def frames(count):
    random = np.random.default_rng(0)
    for _ in range(count):
        small = random.integers(0, 256, (15, 20, 3), dtype=np.uint8)
        yield Image.fromarray(small).resize((160, 120), Image.Resampling.NEAREST)

for count in (60, 300):
    write_video(frames(count), sys.argv[1], fps=25, settings=None)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_memory_does_not_grow_with_length(suffix: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEASURE, str(tmp_path / f"clip{suffix}")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    short, long = map(int, done.stdout.split())
    assert long - short < 6  # MB; 240 frames are 14


def broken() -> Iterator[Image.Image]:
    yield drawn(0)
    raise UserError("the source ended early")


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_nothing_is_left_of_a_video_that_fails(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(b"before")
    with pytest.raises(UserError, match="ended early"):
        write_video(broken(), path, fps=5, settings=None)
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "fps", "fix"),
    [
        ("clip.mp5", 25, "did you mean '.mp4'"),
        ("clip.gif", 60, ".mp4"),
        ("clip.webp", 0, "another"),
    ],
)
def test_what_a_format_cannot_hold_is_told_before(name: str, fps: float, fix: str) -> None:
    with pytest.raises(UserError) as caught:
        check_video_target(name, fps)
    assert fix in caught.value.fix


def test_without_pyav_an_mp4_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError) as caught:
        check_video_target("clip.mp4")
    assert "facemeld[video]" in caught.value.fix
    assert write_video([drawn(0)] * 2, tmp_path / "clip.gif", fps=5, settings=None) == 2


def test_no_frames_and_too_large_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no frames"):
        write_video([], tmp_path / "clip.gif", fps=5, settings=None)
    with pytest.raises(UserError, match="too many"):
        write_video([Image.new("RGB", (16_384, 1))], tmp_path / "c.webp", fps=5, settings=None)


@pytest.mark.parametrize("content", [b"", b"\0\0\0\1ftyp", b"\xff" * 40, b"\0\0\0\5uuid" * 9])
def test_settings_of_damaged_files_are_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    assert read_settings(path) is None and not is_marked_synthetic(path)
