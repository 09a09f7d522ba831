"""A fusion of the page as a command line that gives the same picture."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from pathlib import PurePath

from facemeld.fusion.inputs import Input
from facemeld.fusion.looks import Looks
from facemeld.fusion.request import Controls
from facemeld.fusion.timing import Timing

FUSED = "fused"
"""The result in the archive, without its suffix."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line, and the file that it writes, both relative to the folder of its inputs."""

    line: str
    writes: str


def command_for(
    model: str,
    computed: tuple[str, str],
    source: Input,
    looks: Looks,
    controls: Controls,
    timing: Timing | None = None,
) -> Command:
    """`facemeld fuse`, or `video`, with an option for every control that has not its usual value.

    Args:
        model: bundled model or model folder.
        computed: backend, as in the settings, and device: others may round another way.
        source: as all other pictures, the name is that of a file in the current folder.
        looks: all other pictures.
        controls: everything else; at most one variation.
        timing: of a video.
    """
    backend, device = computed
    words = ["facemeld", "video" if timing else "fuse"]
    words += ["--model", model, "--backend", backend.partition("-")[0]]
    words += [] if device == "cpu" else ["--device", device]
    words += ["--source", str(source.name)]
    if looks.references:
        words += ["--reference", *(str(r.name) for r in looks.references)]
    for level, reference in looks.levels.items():
        words += [f"--{level}", str(reference.name)]
    if looks.regions:
        words.append("--region")
        words += [f"{_name(where)}={reference.name}" for where, reference in looks.regions]
    if looks.second_source is not None:
        words += ["--second-source", str(looks.second_source.name)]
    out = writes = "result.mp4" if timing else "result.png"
    for name, value in _unusual(controls, timing):
        if name == "variations":
            # The command line counts variations; the last of them is the one that is meant.
            (number,) = value
            words += ["--variations", str(number)]
            if number > 1:
                stem = PurePath(str(source.name)).stem
                out, writes = "results", f"results/001_{stem}_variation{number}.png"
            continue
        words.append("--" + name.replace("_", "-"))
        if isinstance(value, tuple):
            words += [str(v) for v in value]
        elif value is not True:
            words.append(str(value))
    return Command(shlex.join([*words, "--out", out]), writes)


def repeat_command(model: str) -> Command:
    """`facemeld fuse --repeat` for a result that knows where in a photograph its face was."""
    words = ["facemeld", "fuse", "--repeat", f"{FUSED}.png", "--model", model]
    return Command(shlex.join([*words, "--out", "result.png"]), "result.png")


def _unusual(*settings: Controls | Timing | None) -> Iterator[tuple[str, object]]:
    """Names and values of the fields that have not their default."""
    for given in settings:
        for field in dataclasses.fields(given) if given else ():
            value = getattr(given, field.name)
            if value != field.default:
                yield field.name, value


def _name(where: Input | str) -> str:
    return where if isinstance(where, str) else str(where.name)
