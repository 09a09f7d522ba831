"""A source video fused frame by frame, its face followed and, if wanted, put back into it.

Shapes: N frames at once, S style size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facemeld.errors import UserError
from facemeld.fusion.inputs import Input, identity_of
from facemeld.fusion.looks import Looks
from facemeld.fusion.passes import decode, encode_sources, finished, look_codes, style_codes
from facemeld.fusion.request import Controls, check_looks
from facemeld.fusion.video import AT_ONCE, Clip, video_settings
from facemeld.images.read import shown
from facemeld.images.sound import Sound, sound_of
from facemeld.images.video_read import VideoFile

if TYPE_CHECKING:
    from facemeld.faces.align import Alignment
    from facemeld.fusion.pipeline import FusionPipeline

Track = Callable[[Image.Image], "Alignment | None"]


def follow(
    pipe: FusionPipeline,
    video: VideoFile,
    looks: Looks,
    controls: Controls = Controls(),
    *,
    track: Track | None = None,
    align: str | None = None,
    paste_back: bool = False,
    fps: float | None = None,
    sound: bool = True,
    on_missing: Callable[[], None] = lambda: None,
) -> Clip:
    """Fuses each frame with one look.

    Where a frame has no face that ``track`` can tell, the result is the frame as it is with
    ``paste_back``; else the fused picture before it again, and nothing before the first face.

    Args:
        pipe: the model.
        video: gives pose and layout; where its own style is an ingredient, that of the first face.
        looks: as for one picture; the references are mixed.
        controls: likewise, without variations.
        track: gives the place of the face in each frame (``faces.track``). Without it, the centre
            square of each frame is the face.
        align: the kind of face that the track looks for, as the settings say it.
        paste_back: give the frames with the fused face in them; needs ``track``.
        fps: frames a second; the video's own if not given.
        sound: take the video's sound along, if it has any.
        on_missing: is called for each frame without a face.

    Raises:
        UserError: what does not fit together; while frames are read: damaged or too long, or no
            face in any frame.
    """
    if controls.variations:
        raise UserError("a video has no variations", where="variations")
    if paste_back and track is None:
        raise ValueError("only a face that was found can be put back")
    shares = check_looks(looks, controls, pipe.backend.config)
    rate = video.fps if fps is None else Fraction(fps).limit_denominator(1000)
    count = None if video.count is None else round(video.count * rate / video.fps)
    heard = sound_of(video.path) if sound else None
    about = {
        "kind": "follow",
        "source": identity_of(video.path),
        "references": [identity_of(reference) for reference in looks.references],
        "fps": float(rate),
        "align": align,
        "paste_back": paste_back,
        "sound": heard is not None,
    }
    asked = dataclasses.replace(controls, weights=tuple(shares) or None)
    fuser = _FrameFuser(pipe, looks, controls, shares)
    frames = _results(fuser, video, rate, track, paste_back, on_missing, heard)
    return Clip(frames, count, rate, video_settings(pipe, looks, asked, about), heard)


@dataclass
class _Frame:
    picture: Image.Image
    how: Alignment | None
    again: bool
    """The same picture as the frame before."""


def _results(
    fuser: _FrameFuser,
    video: VideoFile,
    fps: Fraction,
    track: Track | None,
    paste_back: bool,
    on_missing: Callable[[], None],
    sound: Sound | None,
) -> Iterator[Image.Image]:
    """One picture for each frame, or none for those before the first face, whose sound is left
    out, too."""
    frames = _placed(video.frames(fps), track)
    last: Image.Image | None = None
    found = False
    while at_once := list(islice(frames, AT_ONCE)):
        with_face = [f for f in at_once if not f.again and (track is None or f.how is not None)]
        fused = iter(fuser(with_face))
        for frame in at_once:
            if track is not None and frame.how is None:
                on_missing()
                last = frame.picture if paste_back else last
            elif not frame.again:
                found = True
                last = _put_back(frame, next(fused)) if paste_back else next(fused)
            if last is not None:
                yield last
            elif sound is not None:
                sound.start += 1 / fps
    if not found:
        raise UserError(
            "no face was found in any frame",
            where=shown(video.path),
            fix="name the kind of face, or leave finding out if the frames are faces already",
        )


def _placed(frames: Iterator[Image.Image], track: Track | None) -> Iterator[_Frame]:
    last: _Frame | None = None
    for picture in frames:
        again = last is not None and picture is last.picture
        how = None
        if track is not None:
            how = last.how if again else track(picture)
        last = _Frame(picture, how, again)
        yield last


def _put_back(frame: _Frame, fused: Image.Image) -> Image.Image:
    from facemeld.faces.paste import paste_back

    return paste_back(frame.picture, fused, frame.how)


class _FrameFuser:
    """Fuses some frames at once; keeps the look, and the own style of the first face."""

    def __init__(
        self, pipe: FusionPipeline, looks: Looks, controls: Controls, shares: Sequence[float]
    ) -> None:
        self.pipe, self.looks, self.controls = pipe, looks, controls
        self.codes = look_codes(pipe.encodings, looks, controls, shares)
        self.wants_own = controls.strength < 1 or self.codes.base is None
        self.own: np.ndarray | None = None

    def __call__(self, frames: Sequence[_Frame]) -> list[Image.Image]:
        if not frames:
            return []
        sources = [Input(self._face(frame)) for frame in frames]
        unknown = self.wants_own and self.own is None
        encoded = encode_sources(self.pipe, sources, self.looks, self.controls, own_style=unknown)
        if unknown:
            self.own = encoded[0].own
        encoded = [dataclasses.replace(e, own=self.own) for e in encoded]
        styles = style_codes(self.pipe, encoded, self.codes, self.controls)
        pictures = decode(self.pipe, encoded, styles, self.controls)
        return [
            finished(picture, source.image, self.controls)
            for picture, source in zip(pictures, sources)
        ]

    def _face(self, frame: _Frame) -> Image.Image:
        if frame.how is None:
            return frame.picture
        from facemeld.faces.align import aligned

        return aligned(frame.picture, frame.how)
