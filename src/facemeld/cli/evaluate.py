"""Commands that judge models: evaluate."""

from __future__ import annotations

import json as json_format
import shlex
import sys
import time
from pathlib import Path
from typing import Literal

from facemeld.cli.app import app
from facemeld.errors import UserError


@app.command
def evaluate(
    data: Path,
    reals: Path | None = None,
    model: str = "faces",
    protocol: Literal["light", "clean", "starganv2"] = "light",
    out: Path | None = None,
    fakes: int = 500,
    outputs: int = 10,
    sources: int | None = None,
    people: list[str] | None = None,
    seed: int = 0,
    weights_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Score a model: light takes minutes, clean and starganv2 are protocols others use too.

    Args:
        data: domain folders of held-out pictures, or a folder that holds val/ and train/.
        reals: domain folders of real pictures to compare with; DATA/train if not given.
        model: bundled model or model folder.
        protocol: light (MobileNetV2, not FID), clean (FID and KID), starganv2 (the paper's).
        out: folder for evaluation.json, report.md and report.html; light prints its JSON without
            one, and takes a .json file too. The same command goes on where it was stopped.
        fakes: light only: fakes for each domain and mode.
        outputs: clean and starganv2: fakes for each source, pair and mode.
        sources: clean and starganv2: at most so many sources a domain; all if not given.
        people: domains of people, whose head pose is compared; by their names if not given.
        seed: of the choice of pictures and of the latent codes.
        weights_dir: folder to look in first for published weights.
        json: print the result as JSON.
    """
    command = _command(locals())
    from facemeld.evaluation.plan import find_splits

    if protocol == "light":
        held_out, real_folder = find_splits(data, reals)
        result = _light(model, held_out, real_folder, fakes, seed, weights_dir)
        if out is None or out.suffix == ".json":
            _print_light(result, out)
            return
    else:
        result = _full(
            protocol,
            model,
            data,
            reals,
            out,
            dict(outputs=outputs, sources=sources, seed=seed, weights_dir=weights_dir),
            people,
        )
    if result is not None:
        _write(result, command, out, json)


def _light(model, held_out, reals, fakes, seed, weights_dir) -> dict:
    from facemeld.data.catalogue import find_weights
    from facemeld.data.folders import scan_domains
    from facemeld.networks.model_folder import find_model

    folder = find_model(model)
    for path in (held_out, reals):
        scan_domains(path)
    find_weights("mobilenet-v2", weights_dir)
    from facemeld.evaluation import light
    from facemeld.networks.bundle import load_model

    progress = _Progress("domains and modes")
    scores = light.evaluate(
        load_model(folder),
        held_out,
        reals,
        fakes=fakes,
        seed=seed,
        weights_dir=weights_dir,
        progress=progress,
    )
    progress.close()
    return light.report_of(scores, folder, held_out, reals, seed)


def _print_light(result: dict, out: Path | None) -> None:
    if out is None:
        print(json_format.dumps(result["summary"], indent=2, ensure_ascii=False))
        return
    _save_json(result["summary"], out)
    print(out)


def _save_json(content: dict, path: Path) -> None:
    from facemeld.files import write_whole

    text = json_format.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _full(protocol, model, data, reals, out, options, people) -> dict | None:
    from facemeld.evaluation.plan import make_plan
    from facemeld.reports.plots import check_plotting

    if out is None:
        raise UserError(
            f"the {protocol} protocol takes long, and its results need a folder",
            where="--out",
            fix="name one: --out results/evaluation",
        )
    check_plotting()
    people = None if people is None else tuple(people)
    plan = make_plan(protocol, model, data, reals, people=people, **options)
    from facemeld.evaluation.run import run_plan

    progress = _Progress("fakes")
    try:
        return run_plan(plan, out, progress=progress)
    finally:
        progress.close()


def _write(result: dict, command: str, out: Path, as_json: bool) -> None:
    from facemeld.reports.evaluation import write_report

    if result["protocol"] == "light":
        _save_json(result, out / "evaluation.json")
    paths = [out / "evaluation.json", *write_report(result, command, out)[:2]]
    if as_json:
        print(paths[0].read_text(encoding="utf-8"), end="")
        return
    for path in paths:
        print(path)


def _command(options: dict) -> str:
    """The command that reproduces a result, with what differs from the defaults."""
    parts = ["facemeld", "evaluate"]
    defaults = {"model": None, "fakes": 500, "outputs": 10, "seed": 0, "json": False}
    for name, value in options.items():
        if value is None or (name in defaults and value == defaults[name]):
            continue
        flag = f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [value]
        parts += [flag] if value is True else [flag, *map(str, values)]
    return shlex.join(parts)


class _Progress:
    """A bar with the time left on a terminal, a line every ten seconds elsewhere."""

    EVERY = 10.0

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.began = self.said = time.monotonic()
        self.first: int | None = None
        self.bar = None

    def __call__(self, done: int, total: int) -> None:
        """Told after each piece of work."""
        if sys.stderr.isatty():
            self._draw(done, total)
            return
        now = time.monotonic()
        self.first = done if self.first is None else self.first
        if now - self.said < self.EVERY and done < total:
            return
        self.said = now
        rate = (done - self.first) / (now - self.began)
        left = f", about {(total - done) / rate / 60:.1f} min left" if rate > 0 else ""
        print(f"{done}/{total} {self.unit}{left}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leaves the terminal as it was."""
        if self.bar:
            self.bar.stop()

    def _draw(self, done: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        if self.bar is None:
            self.bar = Progress(
                TextColumn(self.unit),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self.task = self.bar.add_task(self.unit, total=total, completed=done)
            self.bar.start()
        self.bar.update(self.task, completed=done)
