"""A source video fused frame by frame: which frames, which faces, and what happens without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_faces import draw_face
from PIL import Image
from sounding_film import FPS, film

from facemeld.errors import UserError
from facemeld.faces.align import Alignment, aligned
from facemeld.fusion.follow import follow
from facemeld.fusion.looks import read_looks
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.fusion.request import Controls
from facemeld.images.video_read import VideoFile, open_video
from facemeld.images.video_write import write_video

SIDE = 24


def scene(left: int) -> Image.Image:
    """A face of 24 px on a wall, that far from the left."""
    image = Image.new("RGB", (80, 40), (90, 60, 120))
    image.paste(draw_face("cat", 0).resize((SIDE, SIDE)), (left, 8))
    return image


def place(left: int) -> Alignment:
    return Alignment(((16 / SIDE, 0, -left * 16 / SIDE), (0, 16 / SIDE, -8 * 16 / SIDE)), 16, None)


@pytest.fixture
def video(tmp_path: Path) -> VideoFile:
    """Twenty frames in which the face goes to the right."""
    path = tmp_path / "source.webp"
    write_video((scene(5 + 2 * n) for n in range(20)), path, fps=10, settings=None)
    return open_video(path)


def known_places(lost=()):
    """Tracks without looking: the face is where it was drawn, but for the frames named."""
    numbers = iter(range(100))

    def track(frame: Image.Image) -> Alignment | None:
        number = next(numbers)
        return None if number in lost else place(5 + 2 * number)

    return track


def away(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other)).max())


def test_each_frame_is_the_fusion_of_its_face(pipe: FusionPipeline, dogs, video) -> None:
    looks = read_looks([dogs[0], dogs[1]])
    controls = Controls(weights=(3.0, 1.0), colour_match=0.5)
    clip = follow(pipe, video, looks, controls, track=known_places())
    results = list(clip.frames)
    assert len(results) == clip.count == 20 and clip.fps == 10
    for number, frame in enumerate(video.frames()):
        face = aligned(frame, place(5 + 2 * number))
        single = pipe(face, [dogs[0], dogs[1]], weights=[3, 1], colour_match=0.5)
        assert away(results[number], single.images[0]) <= 1


def test_without_a_track_the_frames_are_the_faces(pipe: FusionPipeline, dogs, video) -> None:
    results = list(follow(pipe, video, read_looks([dogs[0]]), fps=5).frames)
    frames = list(video.frames())[::2]
    assert len(results) == 10
    for result, frame in zip(results, frames):
        assert away(result, pipe(frame, dogs[0]).images[0]) <= 1


def test_pasted_back_only_the_face_changes(pipe: FusionPipeline, dogs, video) -> None:
    clip = follow(pipe, video, read_looks([dogs[0]]), track=known_places(), paste_back=True)
    for number, (result, frame) in enumerate(zip(clip.frames, video.frames())):
        changed = np.abs(np.asarray(result).astype(int) - np.asarray(frame)).max(-1)
        left = 5 + 2 * number
        assert changed[:, : left - 1].max(initial=0) == changed[:, left + SIDE + 1 :].max() == 0
        assert changed[8 : 8 + SIDE, left : left + SIDE].max() > 20


def test_the_own_style_is_that_of_the_first_face(pipe: FusionPipeline, dogs, video) -> None:
    controls = Controls(strength=0, domain="dog", source_domain="cat")
    clip = follow(pipe, video, read_looks([dogs[0]]), controls, track=known_places())
    faces = [aligned(f, place(5 + 2 * n)) for n, f in enumerate(video.frames())]
    for result, face in zip(clip.frames, faces, strict=True):
        assert away(result, pipe(face, faces[0], domain="cat").images[0]) <= 1


def test_frames_without_a_face_follow_the_rule(pipe: FusionPipeline, dogs, video) -> None:
    looks, lost, missing = read_looks([dogs[0]]), {0, 1, 7, 8, 19}, []
    whole = list(follow(pipe, video, looks, track=known_places()).frames)
    clip = follow(
        pipe, video, looks, track=known_places(lost), on_missing=lambda: missing.append(1)
    )
    results = list(clip.frames)
    assert len(missing) == 5
    assert len(results) == 18  # nothing before the first face
    wanted = [2, 3, 4, 5, 6, 6, 6, *range(9, 19), 18]
    assert all(away(r, whole[n]) <= 1 for r, n in zip(results, wanted, strict=True))
    clip = follow(pipe, video, looks, track=known_places(lost), paste_back=True)
    for number, (result, frame) in enumerate(zip(clip.frames, video.frames(), strict=True)):
        assert (away(result, frame) == 0) == (number in lost)


def test_the_sound_begins_with_the_first_frame(pipe: FusionPipeline, dogs, tmp_path: Path) -> None:
    heard = open_video(film(tmp_path / "film.mp4", "aac"))
    looks = read_looks([dogs[0]])
    for paste_back, start in ((False, 3 / FPS), (True, 0)):
        track = known_places({0, 1, 2, 9})
        clip = follow(pipe, heard, looks, track=track, paste_back=paste_back)
        assert clip.settings["video"]["sound"] and len(list(clip.frames)) > 10
        assert float(clip.sound.start) == pytest.approx(start)
    silent = follow(pipe, heard, looks, sound=False)
    assert silent.sound is None and not silent.settings["video"]["sound"]


def test_a_video_without_any_face_is_an_error(pipe: FusionPipeline, dogs, video) -> None:
    with pytest.raises(UserError, match="in any frame"):
        list(
            follow(pipe, video, read_looks([dogs[0]]), track=lambda f: None, paste_back=True).frames
        )


def test_settings_tell_what_was_done(pipe: FusionPipeline, dogs, video) -> None:
    looks = read_looks([dogs[0]])
    settings = follow(pipe, video, looks, track=known_places(), paste_back=True).settings
    assert settings["video"]["source"]["name"] == "source.webp"
    assert settings["video"]["references"][0]["name"] == "00.png"
    assert settings["video"]["paste_back"] and settings["video"]["fps"] == 10
    assert settings["weights"] == (1.0,)
