"""The sound of a source video is heard in the new one, where and as it was."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from sounding_film import BEEP, FPS, SECONDS, film

from facemeld.errors import UserError
from facemeld.images.sound import Sound, sound_of
from facemeld.images.video_write import write_video


def listen(path: Path) -> tuple[str, float, float]:
    """The kind of sound, when the beep begins, and how long all of it takes."""
    with av.open(str(path)) as container:
        (audio,) = container.streams.audio
        parts, begin = [], None
        for frame in container.decode(audio):
            begin = frame.time if begin is None else begin
            parts.append(frame.to_ndarray().astype(float).reshape(-1))
            largest = np.iinfo(np.int16).max if frame.format.name.startswith("s16") else 1.0
    heard = np.abs(np.concatenate(parts)) / largest
    name, rate = audio.codec_context.name, audio.rate
    return name, begin + float(np.argmax(heard > 0.2)) / rate, begin + len(heard) / rate


@pytest.mark.parametrize(
    ("source", "codec", "kept"),
    [("a.mp4", "aac", "aac"), ("a.mkv", "pcm_s16le", "aac"), ("a.mkv", "flac", "aac")],
)
@pytest.mark.parametrize("start", [Fraction(0), Fraction(1, 2)])
def test_the_beep_comes_where_it_came(
    source: str, codec: str, kept: str, start: Fraction, tmp_path: Path
) -> None:
    sound = sound_of(film(tmp_path / source, codec))
    sound.start = start
    frames = [Image.new("RGB", (32, 16), "red")] * int(FPS * (SECONDS - start))
    write_video(frames, tmp_path / "new.mp4", fps=FPS, settings=None, sound=sound)
    name, beep, end = listen(tmp_path / "new.mp4")
    assert name == kept and beep == pytest.approx(BEEP - start, abs=0.08)
    assert end == pytest.approx(SECONDS - start, abs=0.15)
    with av.open(str(tmp_path / "new.mp4")) as container:
        assert len(list(container.decode(container.streams.video[0]))) == len(frames)


def test_a_shorter_video_has_less_sound(tmp_path: Path) -> None:
    sound = sound_of(film(tmp_path / "a.mp4", "aac"))
    frames = [Image.new("RGB", (32, 16))] * FPS
    write_video(frames, tmp_path / "new.mp4", fps=FPS, settings=None, sound=sound)
    assert listen(tmp_path / "new.mp4")[2] == pytest.approx(1, abs=0.15)


def test_videos_without_sound_have_none(tmp_path: Path) -> None:
    assert sound_of(film(tmp_path / "a.mp4", None)) is None
    write_video([Image.new("RGB", (8, 8))] * 2, tmp_path / "a.gif", fps=5, settings=None)
    assert sound_of(tmp_path / "a.gif") is None


def test_a_sound_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", "aac")
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UserError) as caught:
        frames = [Image.new("RGB", (8, 8))] * 3
        write_video(frames, tmp_path / "new.mp4", fps=5, settings=None, sound=Sound(path))
    assert caught.value.where == str(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"], "nothing half-written"
