"""Videos of faces that turn into each other: from source to source, from look to look, or both.

A source is encoded once, each frame costs a pass of the decoder. Frames are made as they are asked
for and not kept, so memory does not grow with length; ``images.video_write`` writes them.

Shapes: N frames at once, L levels, R regions, S style size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facemeld.fusion.inputs import Input, Picture, as_list, identity_of, read_input
from facemeld.fusion.looks import Looks
from facemeld.fusion.passes import (
    Encoded,
    between,
    decode,
    encode_sources,
    finished,
    look_codes,
    mix_pair,
    style_codes,
)
from facemeld.fusion.provenance import made_by
from facemeld.fusion.request import Controls, check_walk
from facemeld.fusion.timing import Step, Timing
from facemeld.images.read import centre_square

if TYPE_CHECKING:
    from facemeld.fusion.pipeline import FusionPipeline
    from facemeld.images.sound import Sound

AT_ONCE = 8
"""Frames that the decoder takes at once."""


@dataclass(frozen=True)
class Clip:
    """A video that is made while its frames are read, once."""

    frames: Iterator[Image.Image] = field(repr=False)
    """RGB, all of one size."""
    count: int | None
    """How many there will be, if that is known."""
    fps: float
    settings: dict = field(repr=False)
    """What made it, as JSON values."""
    sound: Sound | None = None
    """To be heard with the frames."""


def walk(
    pipe: FusionPipeline,
    sources: Picture | Sequence[Picture],
    references: Picture | Sequence[Picture] = (),
    *,
    looks: Looks = Looks(),
    controls: Controls = Controls(),
    timing: Timing = Timing(),
    seeds: Sequence[int] = (),
) -> Clip:
    """From stop to stop: several looks of one source, several sources under one look or their
    own, or as many sources as looks, side by side.

    At a stop, the frame is the fusion of its source and look. On the way, contents are blended
    linearly and styles as ``controls.interpolation`` says.

    Args:
        pipe: the model.
        sources: read as their turn comes.
        references: each a look; without any, and without latent looks, the sources' own.
        looks: references for levels and regions, and a second source, the same for all frames.
        controls: as for one picture, without weights and variations.
        timing: of the video.
        seeds: of latent looks, if ``controls.latent``; its own seed if none are given.

    Raises:
        UserError: see ``check_walk``; unreadable pictures.
    """
    sources, references = as_list(sources), as_list(references)
    stops = check_walk(
        len(sources),
        len(references),
        controls,
        timing,
        pipe.backend.config,
        looks=looks,
        seeds=len(seeds),
    )
    if controls.latent:
        seeds = list(seeds) or [controls.seed]
    bases = _bases(pipe, references, seeds, controls)
    about = {
        "kind": "walk",
        "sources": [identity_of(source) for source in sources],
        "references": [identity_of(reference) for reference in references],
        "seeds": list(seeds) if controls.latent else [],
        **dataclasses.asdict(timing),
    }
    walker = _Walk(pipe, sources, bases, looks, controls)
    return Clip(
        walker.frames(timing, stops),
        timing.frames(stops),
        timing.fps,
        video_settings(pipe, looks, controls, about),
    )


def video_settings(pipe: FusionPipeline, looks: Looks, controls: Controls, about: dict) -> dict:
    """What a video's file says about how it was made.

    Args:
        pipe: the model.
        looks: what is the same for all frames.
        controls: likewise.
        about: what is special to videos, as JSON values.
    """

    def told(given: Input | str | None):
        return identity_of(given) if isinstance(given, Input) else given

    asked = dataclasses.asdict(controls)
    del asked["variations"]
    return {
        **made_by(pipe),
        "video": about,
        "levels": {level: told(r) for level, r in looks.levels.items()},
        "regions": [[told(where), told(r)] for where, r in looks.regions],
        "second_source": told(looks.second_source),
        **asked,
    }


def _bases(
    pipe: FusionPipeline, references: Sequence[Picture], seeds: Sequence[int], controls: Controls
) -> list[np.ndarray | None]:
    """The style of each look, 1 S, or None for the sources' own."""
    if controls.latent:
        return [pipe.encodings.latent_style(controls.domain, s, controls.truncation) for s in seeds]
    return [pipe.encodings.unit(pipe.styles_of([r], controls.domain)) for r in references] or [None]


@dataclass(frozen=True)
class _Source:
    picture: Image.Image
    """Square, as the model sees it."""
    encoded: Encoded


class _Walk:
    """Makes the frames; holds the sources of those that are made at once."""

    def __init__(
        self,
        pipe: FusionPipeline,
        sources: list[Picture],
        bases: list[np.ndarray | None],
        looks: Looks,
        controls: Controls,
    ) -> None:
        self.pipe, self.sources, self.bases = pipe, sources, bases
        self.looks = dataclasses.replace(looks, references=[])
        self.controls = dataclasses.replace(controls, latent=False)
        self.codes = look_codes(pipe.encodings, self.looks, self.controls, [])
        self.known: dict[int, _Source] = {}

    def frames(self, timing: Timing, stops: int) -> Iterator[Image.Image]:
        """One after the other; where nothing moves, the same picture again."""
        steps = timing.steps(stops)
        made: dict[Step, Image.Image] = {}
        while at_once := list(islice(steps, AT_ONCE)):
            made = {step: made[step] for step in at_once if step in made}
            new = [step for step in dict.fromkeys(at_once) if step not in made]
            made |= zip(new, self._pictures(new, stops) if new else [])
            yield from (made[step] for step in at_once)

    def _pictures(self, steps: Sequence[Step], stops: int) -> list[Image.Image]:
        ends = [(s.stop, (s.stop + 1) % stops if s.share else s.stop) for s in steps]
        self._know({self._source_at(stop) for pair in ends for stop in pair})
        here, there = ([self.known[self._source_at(s)] for s in side] for side in zip(*ends))
        ways = list(zip(here, there, (step.share for step in steps)))
        encoded = [between(self.pipe, h.encoded, t.encoded, x, self.controls) for h, t, x in ways]
        codes = dataclasses.replace(self.codes, base=self._bases_at(steps, ends))
        styles = style_codes(self.pipe, encoded, codes, self.controls)
        pictures = decode(self.pipe, encoded, styles, self.controls)
        return [
            finished(picture, Image.blend(h.picture, t.picture, x), self.controls)
            for picture, (h, t, x) in zip(pictures, ways)
        ]

    def _bases_at(
        self, steps: Sequence[Step], ends: Sequence[tuple[int, int]]
    ) -> np.ndarray | None:
        """The styles of the looks. -> N S, or None for the sources' own"""
        if self.bases == [None]:
            return None
        only = len(self.bases) == 1
        pairs = [[self.bases[0 if only else stop] for stop in pair] for pair in ends]
        encodings = self.pipe.encodings
        return np.concatenate(
            [
                mix_pair(encodings, *pair, step.share, self.controls) if step.share else pair[0]
                for pair, step in zip(pairs, steps)
            ]
        )

    def _source_at(self, stop: int) -> int:
        return stop if len(self.sources) > 1 else 0

    def _know(self, wanted: set[int]) -> None:
        """Encodes the sources that are new, and forgets those that have been."""
        self.known = {index: self.known[index] for index in wanted if index in self.known}
        own_style = self.controls.strength < 1 or self.bases == [None]
        for index in sorted(wanted - self.known.keys()):
            source = read_input(self.sources[index])
            (encoded,) = encode_sources(
                self.pipe, [source], self.looks, self.controls, own_style=own_style
            )
            picture = centre_square(source.image, self.pipe.image_size)
            self.known[index] = _Source(picture, encoded)
