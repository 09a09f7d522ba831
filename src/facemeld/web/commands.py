"""A fusion of the page as a command line that gives the same picture."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping

from facemeld.fusion.inputs import Input
from facemeld.fusion.looks import Looks
from facemeld.fusion.request import Controls

RESULT = "result.png"
_FOLDER = "results"


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line, and the file that it writes, both relative to the folder of its inputs."""

    line: str
    writes: str


def command_for(model: str, source: Input, looks: Looks, controls: Controls) -> Command:
    """`facemeld fuse` with an option for every control that has not its usual value.

    Args:
        model: bundled model or model folder.
        source: as all other pictures, the name is that of a file in the current folder.
        looks: all other pictures.
        controls: everything else; at most one variation.
    """
    usual = Controls()
    words = ["facemeld", "fuse", "--model", model, "--source", str(source.name)]
    if looks.references:
        words += ["--reference", *(str(r.name) for r in looks.references)]
    for level, reference in looks.levels.items():
        words += [f"--{level}", str(reference.name)]
    if looks.regions:
        words.append("--region")
        words += [f"{_name(where)}={reference.name}" for where, reference in looks.regions]
    if looks.second_source is not None:
        words += ["--second-source", str(looks.second_source.name)]
    out = RESULT
    for name, value in _values(controls).items():
        if name == "variations" and value:
            # The command line counts variations; the last of them is the one that is meant.
            (number,) = value
            words += ["--variations", str(number)]
            if number > 1:
                out = _FOLDER
        elif value != getattr(usual, name):
            words.append("--" + name.replace("_", "-"))
            if isinstance(value, tuple):
                words += [repr(v) for v in value]
            elif value is not True:
                words.append(str(value))
    writes = out
    if out == _FOLDER:
        stem = str(source.name).rpartition(".")[0]
        writes = f"{_FOLDER}/001_{stem}_variation{controls.variations[0]}.png"
    return Command(shlex.join([*words, "--out", out]), writes)


def _values(controls: Controls) -> Mapping[str, object]:
    return {field.name: getattr(controls, field.name) for field in dataclasses.fields(controls)}


def _name(where: Input | str) -> str:
    return where if isinstance(where, str) else str(where.name)
