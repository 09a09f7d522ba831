"""The commands ``bench SUBJECT``: what a subject costs on this machine.

A further subject is a function here that hands a cost and facts to ``_tell``.
"""

from __future__ import annotations

import dataclasses
import json as json_format
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from facemeld.cli.app import app, note
from facemeld.cli.train import _training_config, setting
from facemeld.errors import UserError

if TYPE_CHECKING:
    from facemeld.fusion.bench import FusionCost
    from facemeld.training.measure import Cost

bench = tyro.extras.SubcommandApp()
app.command(bench, name="bench", help="Measure this machine: what a picture costs in time.")


@bench.command(name="train")
def bench_train(
    preset: str | None = None,
    config: Path | None = None,
    data: Path | None = None,
    image_size: int | None = None,
    batch_size: int | None = None,
    recipe: str | None = None,
    precision: str | None = None,
    processes: int | Literal["auto"] | None = None,
    set: tyro.conf.UseAppendAction[list[str]] = [],
    seconds: float = 20.0,
    iterations: int | None = None,
    weights_dir: Path | None = None,
    json: bool = False,
) -> None:
    """The steps of a run: speed, operations, share of the machine's peak, memory.

    Args:
        preset: name of a preset, see `facemeld presets`.
        config: TOML file with options, like the config.toml of a run.
        data: folder with a subfolder of pictures for each domain; else pictures are made up.
        image_size: side of the pictures in pixels.
        batch_size: pictures an iteration.
        recipe: starganv2, fast or lean.
        precision: auto, fp32 or bf16.
        processes: worker processes with averaged gradients; auto or 0 chooses.
        set: any other option as name=value; may be given several times.
        seconds: about how long to measure; at least until all that comes every few iterations came.
        iterations: measure as many iterations instead.
        weights_dir: folder to look in first for published weights.
        json: print as JSON.
    """
    _check_above_zero(seconds=seconds, iterations=iterations)
    given = {
        "data": None if data is None else str(data),
        "batch_size": batch_size,
        "recipe": recipe,
        "precision": precision,
        "processes": processes,
        "network.image_size": image_size,
    }
    given = {name: value for name, value in given.items() if value is not None}
    given |= dict(map(setting, set))
    chosen = _training_config(preset, config, given)
    from facemeld.config import check

    check(chosen.problems(), "training options")
    from facemeld.training.measure import measure_training, write_made_up_pictures

    with tempfile.TemporaryDirectory() as folder:
        if not chosen.data:
            write_made_up_pictures(Path(folder), size=chosen.network.image_size)
            chosen = dataclasses.replace(chosen, data=folder)
        cost, used = measure_training(
            chosen, seconds=seconds, iterations=iterations, weights_dir=weights_dir
        )
    facts = {
        "recipe": used.recipe,
        "image_size": used.network.image_size,
        "batch_size": used.batch_size,
        "precision": used.precision,
        "processes": used.processes,
    }
    _tell("train", cost, facts, as_json=json)


@bench.command(name="data")
def bench_data(
    data: Path | None = None,
    image_size: int = 256,
    batch_size: int = 8,
    seconds: float = 20.0,
    json: bool = False,
) -> None:
    """Pictures on their way to a step: decoding them once, and batches from the cache.

    Args:
        data: folder with a subfolder of pictures for each domain; else JPEGs of twice the size are
            made up.
        image_size: side of the pictures in pixels.
        batch_size: sources a batch, each with two references.
        seconds: about how long to take batches.
        json: print as JSON.
    """
    _check_above_zero(image_size=image_size, batch_size=batch_size, seconds=seconds)
    if data is not None:
        from facemeld.data.folders import scan_domains

        scan_domains(data)
    from facemeld.training.measure import measure_data, write_made_up_pictures

    with tempfile.TemporaryDirectory() as folder:
        if data is None:
            data = Path(folder) / "pictures"
            write_made_up_pictures(data, size=2 * image_size, count=32, suffix=".jpg")
        cost, facts = measure_data(
            data, Path(folder), image_size=image_size, batch_size=batch_size, seconds=seconds
        )
    _tell("data", cost, facts, as_json=json)


@bench.command(name="evaluate")
def bench_evaluate(
    model: str = "faces",
    protocol: Literal["clean", "starganv2"] = "clean",
    batch_size: int | None = None,
    backend: Literal["auto", "torch", "openvino"] = "auto",
    only: Literal["distances"] | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    weights_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Fakes of one pair of domains: making and judging them, and where the time goes.

    Args:
        model: bundled model or model folder.
        protocol: which Inception judges.
        batch_size: sources at a time; by default what an evaluation takes here.
        backend: what computes; by default what an evaluation of many pictures takes here.
        only: distances leaves out the scores of fusion.
        precision: of the generator.
        weights_dir: folder to look in first for published weights.
        json: print as JSON.
    """
    _check_above_zero(batch_size=batch_size)
    from facemeld.evaluation.plan import find_judges

    find_judges(protocol, weights_dir, fusion=only is None)
    from facemeld.evaluation.bench import bench as measure
    from facemeld.training.measure import Cost

    found = measure(
        model,
        protocol=protocol,
        batch=batch_size,
        backend=None if backend == "auto" else backend,
        only=only,
        precision=precision,
        weights_dir=weights_dir,
    )
    parts = found.pop("milliseconds_by_part")
    shared = ("pictures_per_second", "milliseconds_per_picture", "peak_memory_mb")
    cost = Cost(
        **{name: found.pop(name) for name in shared}, gflop_per_picture=None, fraction_of_peak=None
    )
    facts = found | {f"milliseconds in {part}": spent for part, spent in parts.items()}
    _tell("evaluate", cost, facts, as_json=json)


@bench.command(name="fuse")
def bench_fuse(
    model: str = "faces",
    backend: Literal["auto", "torch", "onnx", "openvino"] = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "fp32",
    compile: bool = False,
    seconds: float = 10.0,
    json: bool = False,
) -> None:
    """A fused picture: of a new source, and of the same pictures when a control is moved.

    Args:
        model: bundled model or model folder.
        backend: what computes; see `facemeld fuse --help`.
        precision: of torch, which alone has auto, and of openvino.
        compile: compile torch's networks.
        seconds: about how long to measure.
        json: print as JSON.
    """
    _check_above_zero(seconds=seconds)
    from facemeld.fusion.bench import measure_fusion

    cost, facts = measure_fusion(
        model,
        backend=backend,
        precision=precision,
        compile=compile,
        seconds=seconds,
        on_note=note,
    )
    _tell("fuse", cost, facts, as_json=json)


def _check_above_zero(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not value > 0:
            raise UserError(f"{name} is {value}, but must be above 0", where="bench")


def _tell(subject: str, cost: Cost | FusionCost, facts: dict, *, as_json: bool) -> None:
    """Prints what was measured: the same names for every subject, and facts of its own."""
    facts = {"measured": subject} | facts | dataclasses.asdict(cost)
    if as_json:
        print(json_format.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if value is not None:
            print(f"{name:28} {value:.4g}" if isinstance(value, float) else f"{name:28} {value}")
