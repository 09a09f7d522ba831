"""The models of the page, and what it makes with them."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from facemeld.config import NetworkConfig
from facemeld.errors import UserError
from facemeld.faces.detect import FaceFinder
from facemeld.faces.paste import paste_back
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.fusion.timing import Timing
from facemeld.fusion.video import walk
from facemeld.images.video_write import write_video
from facemeld.networks.model_folder import read_network_config
from facemeld.web.commands import command_for, repeat_command
from facemeld.web.made import Made
from facemeld.web.portraits import Portrait
from facemeld.web.wishes import Wish, controls_of, looks_of

_MODELS_AT_ONCE = 2


@dataclass(frozen=True)
class Offered:
    """A model of the page."""

    folder: Path
    named: str
    """What the command line calls it."""


class Engine:
    """Loads models when they are first used, and keeps two of them.

    Args:
        models: by what the page calls them; the first is the usual one.
        device: where the networks run.
        backend: what computes them on the CPU; ``auto`` takes the fastest.
    """

    def __init__(
        self, models: Mapping[str, Offered], *, device: str = "cpu", backend: str = "auto"
    ) -> None:
        self.models = dict(models)
        self._device = device
        self._backend = backend
        self._pipes: OrderedDict[str, FusionPipeline] = OrderedDict()

    @cached_property
    def finder(self) -> FaceFinder:
        """Finds faces of all kinds."""
        return FaceFinder()

    def config(self, model: str) -> NetworkConfig:
        """What the model of this name is; nothing is loaded.

        Raises:
            UserError: it is not one of the page's models.
        """
        if model not in self.models:
            raise UserError("no such model", where=model, fix=", ".join(self.models))
        return read_network_config(self.models[model].folder)

    def pipe(self, model: str) -> FusionPipeline:
        """The model of this name, loaded.

        Raises:
            UserError: it is not one of the page's models.
        """
        if model not in self._pipes:
            self.config(model)
            self._pipes[model] = FusionPipeline.from_pretrained(
                self.models[model].folder, device=self._device, backend=self._backend
            )
        self._pipes.move_to_end(model)
        while len(self._pipes) > _MODELS_AT_ONCE:
            self._pipes.popitem(last=False)
        return self._pipes[model]

    def fuse(self, source: Portrait, references: Sequence[Portrait], wish: Wish) -> Made:
        """What the page shows, through the same calls as the command line's.

        Raises:
            UserError: the wish cannot be granted.
        """
        pipe, named = self.pipe(wish.model), self.models[wish.model].named
        given = source.as_face if wish.paste_back else source.as_input
        looks, controls = looks_of(references, wish), controls_of(wish)
        result = pipe.fuse([given], looks, controls)
        image, settings = result.images[0], result.settings[0]
        if wish.paste_back:
            # As the command line's --paste-back does, which would look for the face anew.
            image = paste_back(source.photograph, image, source.how)
            face = source.in_photograph.settings()
            settings = settings | {"aligned": [face], "paste_back": True}
            command = repeat_command(named)
        else:
            computed = (pipe.backend.name, self._device)
            command = command_for(named, computed, given, looks, controls)
        return Made(
            image=image,
            settings=settings,
            wish=wish,
            source=source,
            references=tuple(references),
            command=command,
        )

    def film(
        self,
        source: Portrait,
        references: Sequence[Portrait],
        wish: Wish,
        timing: Timing,
        on_frame: Callable[[int, int], None],
    ) -> Made:
        """A video from the look of one reference to the next.

        Args:
            source: gives pose and layout.
            references: looks, of which at least two have a weight.
            wish: everything else.
            timing: of the video.
            on_frame: told how many frames are made, and of how many; may raise to end the work.

        Raises:
            UserError: the wish cannot be granted.
        """
        pipe, named = self.pipe(wish.model), self.models[wish.model].named
        wish = replace(wish, weights=tuple(float(weight > 0) for weight in wish.weights))
        given, looks, controls = source.as_input, looks_of(references, wish), controls_of(wish)
        computed = (pipe.backend.name, self._device)
        command = command_for(named, computed, given, looks, controls, timing)
        shared = replace(looks, references=[])
        clip = walk(pipe, given, looks.references, looks=shared, controls=controls, timing=timing)
        first: list[Image.Image] = []

        def frames() -> Iterator[Image.Image]:
            for number, frame in enumerate(clip.frames):
                on_frame(number, clip.count)
                first[:] = first or [frame]
                yield frame

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "video.mp4"
            write_video(frames(), path, fps=clip.fps, settings=clip.settings)
            video = path.read_bytes()
        return Made(
            image=first[0],
            settings=clip.settings,
            wish=wish,
            source=source,
            references=tuple(references),
            command=command,
            timing=timing,
            video=video,
        )
