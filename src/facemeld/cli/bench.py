"""The command bench: what a subject costs on this machine.

A subject is a function from the options to a cost (what every subject tells) and facts about what
was measured; a further one is such a function and a line in ``bench``.
"""

from __future__ import annotations

import dataclasses
import json as json_format
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from facemeld.cli.app import app
from facemeld.cli.train import _setting, _training_config
from facemeld.errors import UserError


@dataclass(frozen=True)
class _Options:
    """The options of ``bench``, under the same names."""

    preset: str | None
    config: Path | None
    data: Path | None
    image_size: int | None
    batch_size: int | None
    recipe: str | None
    precision: str | None
    processes: int | None
    set: list[str]
    seconds: float
    iterations: int | None
    weights_dir: Path | None


@app.command
def bench(
    subject: tyro.conf.Positional[Literal["train", "data"]],
    preset: str | None = None,
    config: Path | None = None,
    data: Path | None = None,
    image_size: int | None = None,
    batch_size: int | None = None,
    recipe: str | None = None,
    precision: str | None = None,
    processes: int | None = None,
    set: tyro.conf.UseAppendAction[list[str]] = [],
    seconds: float = 20.0,
    iterations: int | None = None,
    weights_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Measure this machine: train (a run's own steps), or data (decoding, and batches).

    Args:
        subject: what to measure.
        preset: name of a preset, see `facemeld presets` (train).
        config: TOML file with options, like the config.toml of a run (train).
        data: folder with a subfolder of pictures for each domain; else pictures are made up, for
            data as JPEGs of twice the size.
        image_size: side of the pictures in pixels.
        batch_size: pictures an iteration; for data, sources a batch, each with two references.
        recipe: starganv2, fast or lean (train).
        precision: auto, fp32 or bf16 (train).
        processes: worker processes with averaged gradients; 0 chooses (train).
        set: any other option as name=value; may be given several times (train).
        seconds: about how long to measure; at least until everything came round once.
        iterations: measure as many iterations instead (train).
        weights_dir: folder to look in first for published weights (train).
        json: print as JSON.
    """
    given = dict(locals())
    options = _Options(**{f.name: given[f.name] for f in dataclasses.fields(_Options)})
    for name in ("image_size", "batch_size", "seconds", "iterations"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise UserError(f"{name} is {value}, but must be above 0", where=f"bench {subject}")
    subjects = {"train": _train, "data": _data}
    cost, facts = subjects[subject](options)
    facts = {"measured": subject} | facts | dataclasses.asdict(cost)
    if json:
        print(json_format.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if value is not None:
            print(f"{name:28} {value:.4g}" if isinstance(value, float) else f"{name:28} {value}")


def _train(options: _Options):
    given = {
        "data": None if options.data is None else str(options.data),
        "batch_size": options.batch_size,
        "recipe": options.recipe,
        "precision": options.precision,
        "processes": options.processes,
        "network.image_size": options.image_size,
    }
    given = {name: value for name, value in given.items() if value is not None}
    given |= dict(map(_setting, options.set))
    chosen = _training_config(options.preset, options.config, given)
    from facemeld.config import check

    check(chosen.problems(), "training options")
    from facemeld.training.measure import measure_training, write_made_up_pictures

    with tempfile.TemporaryDirectory() as folder:
        if not chosen.data:
            write_made_up_pictures(Path(folder), size=chosen.network.image_size)
            chosen = dataclasses.replace(chosen, data=folder)
        cost, used = measure_training(
            chosen,
            seconds=options.seconds,
            iterations=options.iterations,
            weights_dir=options.weights_dir,
        )
    facts = {
        "recipe": used.recipe,
        "image_size": used.network.image_size,
        "batch_size": used.batch_size,
        "precision": used.precision,
        "processes": used.processes,
    }
    return cost, facts


def _data(options: _Options):
    if options.data is not None:
        from facemeld.data.folders import scan_domains

        scan_domains(options.data)
    from facemeld.training.measure import measure_data, write_made_up_pictures

    image_size, data = options.image_size or 256, options.data
    with tempfile.TemporaryDirectory() as folder:
        if data is None:
            data = Path(folder) / "pictures"
            write_made_up_pictures(data, size=2 * image_size, count=32, suffix=".jpg")
        return measure_data(
            data,
            Path(folder),
            image_size=image_size,
            batch_size=options.batch_size or 8,
            seconds=options.seconds,
        )
