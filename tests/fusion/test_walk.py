"""Walks from stop to stop: what a frame is at a stop, on the way, and how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemeld.errors import UserError
from facemeld.fusion.looks import read_looks
from facemeld.fusion.passes import encode_sources
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.fusion.request import Controls
from facemeld.fusion.timing import Timing
from facemeld.fusion.video import walk

QUICK = Timing(fps=10, seconds=0.6, hold=0.2)


def away(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of any value, 0 to 255."""
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other)).max())


def moves(frames: list[Image.Image]) -> np.ndarray:
    stack = np.stack([np.asarray(frame, np.float64) for frame in frames])
    return np.abs(np.diff(stack, axis=0)).mean((1, 2, 3))


# -- timing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("hold", [0, 0.3])
def test_there_are_as_many_steps_as_said(loop: bool, hold: float) -> None:
    timing = Timing(fps=10, seconds=0.5, hold=hold, loop=loop)
    steps = list(timing.steps(4))
    assert len(steps) == timing.frames(4) == (20 if loop else 16) + 4 * round(10 * hold)
    assert steps[0] == (0, 0)
    assert steps[-1] == ((3, pytest.approx(0.896)) if loop else (3, 0))


def test_smooth_easing_starts_and_ends_slowly() -> None:
    smooth = [s.share for s in Timing(fps=10, seconds=1, hold=0).steps(2)][:10]
    linear = [s.share for s in Timing(fps=10, seconds=1, hold=0, easing="linear").steps(2)][:10]
    assert linear == pytest.approx(np.arange(10) / 10)
    assert smooth[5] == 0.5 and smooth[1] < 0.03 and smooth[9] > 0.97
    assert np.all(np.diff(smooth) > 0)


@pytest.mark.parametrize(
    ("change", "stops", "what"),
    [
        ({"fps": 0}, 2, "fps is 0"),
        ({"seconds": float("nan")}, 2, "seconds is nan"),
        ({"hold": -1}, 2, "hold is -1"),
        ({"easing": "smoth"}, 2, "no easing"),
        ({}, 1, "two stops"),
        ({"seconds": 3600, "fps": 60}, 3, "432091 frames"),
    ],
)
def test_timings_that_make_no_video(change: dict, stops: int, what: str) -> None:
    with pytest.raises(UserError, match=what):
        Timing(**change).check(stops)


# -- frames -------------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["linear", "spherical"])
def test_a_walk_begins_and_ends_with_the_fuse_of_each_reference_alone(
    interpolation: str, pipe: FusionPipeline, cats, dogs
) -> None:
    controls = Controls(interpolation=interpolation, strength=0.8, colour_match=0.3, size=24)
    clip = walk(pipe, cats[0], [cats[1], dogs[1], dogs[2]], controls=controls, timing=QUICK)
    frames = list(clip.frames)
    assert len(frames) == clip.count == 2 * 6 + 1 + 3 * 2

    def alone(reference: Path) -> Image.Image:
        options = {"interpolation": interpolation, "strength": 0.8, "colour_match": 0.3}
        return pipe(cats[0], reference, size=24, **options).images[0]

    assert away(frames[0], alone(cats[1])) <= 1
    assert away(frames[8], alone(dogs[1])) <= 1
    assert away(frames[-1], alone(dogs[2])) <= 1
    assert away(frames[0], frames[-1]) > 20


def test_half_way_is_the_equal_mixture(pipe: FusionPipeline, cats, dogs) -> None:
    frames = list(walk(pipe, cats[0], [cats[1], dogs[1]], timing=replace(QUICK, hold=0)).frames)
    assert away(frames[3], pipe(cats[0], [cats[1], dogs[1]]).images[0]) <= 1


def test_from_source_to_source_contents_and_own_styles_go_along(
    pipe: FusionPipeline, cats, dogs
) -> None:
    frames = list(walk(pipe, [cats[0], dogs[0]], timing=replace(QUICK, hold=0)).frames)
    for frame, source in ((frames[0], cats[0]), (frames[-1], dogs[0])):
        assert away(frame, pipe(source, dogs[1], strength=0).images[0]) <= 1
    half = pipe(cats[0], dogs[1], strength=0, second_source=dogs[0]).images[0]
    assert away(frames[3], half) <= 1


def test_as_many_sources_as_references_go_side_by_side(pipe: FusionPipeline, cats, dogs) -> None:
    frames = list(walk(pipe, cats[:3], dogs[:3], timing=QUICK).frames)
    for place, stop in ((0, 0), (8, 1), (-1, 2)):
        assert away(frames[place], pipe(cats[stop], dogs[stop]).images[0]) <= 1


def test_levels_and_regions_stay(pipe: FusionPipeline, cats, dogs) -> None:
    looks = read_looks((), {"fine": dogs[2]}, [("left", dogs[3])])
    frames = list(walk(pipe, cats[0], [cats[1], dogs[1]], looks=looks, timing=QUICK).frames)
    wanted = pipe(cats[0], dogs[1], levels={"fine": dogs[2]}, regions={"left": dogs[3]})
    assert away(frames[-1], wanted.images[0]) <= 1


def test_latent_looks(pipe: FusionPipeline, cats) -> None:
    controls = Controls(latent=True, domain="dog", truncation=0.8)
    frames = list(walk(pipe, cats[0], controls=controls, timing=QUICK, seeds=[4, 9]).frames)
    for frame, seed in ((frames[0], 4), (frames[-1], 9)):
        alone = pipe(cats[0], latent=True, domain="dog", truncation=0.8, seed=seed)
        assert away(frame, alone.images[0]) <= 1


def test_no_frame_jumps(pipe: FusionPipeline, cats, dogs) -> None:
    timing = Timing(fps=20, seconds=1, hold=0, loop=True)
    frames = list(walk(pipe, cats[0], [cats[1], dogs[1]], timing=timing).frames)
    steps = moves([*frames, frames[0]])
    whole = np.abs(np.asarray(frames[0], float) - np.asarray(frames[20])).mean()
    assert steps.max() < 0.2 * whole


def test_sources_are_read_as_their_turn_comes_and_encoded_once(
    pipe: FusionPipeline, cats, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []

    def counted(pipe, sources, *rest, **options):
        encoded.append(len(sources))
        return encode_sources(pipe, sources, *rest, **options)

    monkeypatch.setattr("facemeld.fusion.video.encode_sources", counted)
    frames = walk(pipe, cats[:5], timing=Timing(fps=10, seconds=2, hold=0)).frames
    assert encoded == []
    next(frames)
    assert sum(encoded) == 2
    assert isinstance(frames, Iterator) and len(list(frames)) == 80
    assert sum(encoded) == 5


def test_settings_name_and_prove_every_picture(pipe: FusionPipeline, cats, dogs) -> None:
    settings = walk(pipe, cats[0], dogs[:2], timing=QUICK).settings
    video = settings["video"]
    assert [entry["name"] for entry in video["references"]] == ["00.png", "01.png"]
    assert len(video["sources"][0]["sha256"]) == 64 and video["seconds"] == 0.6
    assert settings["model_sha256"] == pipe.weights_sha256 and settings["strength"] == 1


@pytest.mark.parametrize(
    ("sources", "references", "options", "what"),
    [
        (3, 2, {}, "3 sources and 2 looks"),
        (0, 2, {}, "no source"),
        (1, 1, {}, "two stops"),
        (1, 2, {"weights": (1.0, 1.0)}, "without weights"),
        (1, 2, {"latent": True, "domain": "cat"}, "takes no references"),
        (2, 0, {"latent": True}, "needs a domain"),
        (2, 0, {"strength": 2}, "strength is 2"),
    ],
)
def test_what_makes_no_walk(
    sources, references, options, what, pipe: FusionPipeline, cats, dogs
) -> None:
    with pytest.raises(UserError, match=what):
        walk(pipe, cats[:sources], dogs[:references], controls=Controls(**options), timing=QUICK)
