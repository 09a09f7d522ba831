"""The command that makes a small model from a large one: distil."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Literal

import tyro

from facemeld.cli.app import app, note, speaks
from facemeld.cli.train import laid_over, setting
from facemeld.errors import UserError


@app.command
def distil(
    teacher: str,
    data: Path,
    out: Path,
    test_data: Path | None = None,
    widths: list[int] = [],
    pictures: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    precision: str | None = None,
    processes: int | Literal["auto"] | None = None,
    set: tyro.conf.UseAppendAction[list[str]] = [],
    resume: str = "auto",
    fakes: int = 500,
    weights_dir: Path | None = None,
) -> None:
    """Train a small, fast model that imitates a large one, and report what it lost.

    The student's generator has at least ten times fewer multiply-adds than the teacher's. Styles
    mean the same to both, so everything that works with the teacher works with the student. At the
    end OUT holds model/ (the student), report.md, report.html and distillation.json.

    Args:
        teacher: model to imitate: a bundled name or a model folder.
        data: folder with a subfolder of training pictures for each of the teacher's domains.
        out: run folder; an unfinished run in it goes on.
        test_data: held-out pictures, laid out like data, on which both models are compared.
        widths: channels of the student at each resolution, finest first; by default as many as the
            tenth of the multiply-adds allows.
        pictures: length of the training in pictures seen.
        batch_size: pictures an iteration, each painted under three styles.
        seed: of everything random.
        precision: auto, fp32 or bf16.
        processes: worker processes with averaged gradients; auto or 0 chooses.
        set: any other training option as name=value, like weights.adversarial=0; may be given
            several times.
        resume: auto, never, or a checkpoint to branch off from.
        fakes: of each model for each domain and mode in the light evaluation at the end, which
            needs test_data and the MobileNetV2 weights; 0 leaves it out.
        weights_dir: folder to look in first for published weights.
    """
    given = dict(locals())
    from facemeld.data.folders import scan_domains
    from facemeld.networks.model_folder import find_model, read_network_config

    network = read_network_config(find_model(teacher))
    for folder in (data, test_data):
        if folder is not None:
            scan_domains(folder, only=network.domains)
    left_out = _left_out(test_data, fakes, network, weights_dir)
    options = {name: given[name] for name in ("pictures", "batch_size", "seed", "precision")}
    options |= {"processes": processes, "data": str(data)}
    options["samples_from"] = None if test_data is None else str(test_data)
    options = {name: value for name, value in options.items() if value is not None}
    options |= dict(map(setting, set))
    from facemeld.networks.student import student_network

    config = _configured(teacher, student_network(network, tuple(widths)), options)
    if speaks():
        for reason in left_out:
            note(f"the report will be without {reason}")
    from facemeld.training.loop import train

    model = train(config, out, resume=resume, weights_dir=weights_dir)
    if int(os.environ.get("RANK", 0)):  # one process under torchrun is enough for the report
        return
    _report(config, model, out, 0 if left_out else fakes, left_out, weights_dir, _command(given))


def _configured(teacher: str, student, options: dict):
    """The run's configuration, checked as a whole."""
    from facemeld.config import TrainingConfig, check, distillation, from_dict, to_dict

    values = laid_over(to_dict(distillation(teacher, student)), options)
    config = from_dict(TrainingConfig, values, where="training options")
    check(config.problems(), "training options")
    return config


def _left_out(test_data: Path | None, fakes: int, network, weights_dir: Path | None) -> list[str]:
    """What the report will be without, and why; UserError for an impossible number."""
    from facemeld.data.catalogue import locate
    from facemeld.evaluation.light_plan import FEWEST

    if fakes and fakes < FEWEST:
        raise UserError(
            f"fakes is {fakes}, but must be at least {FEWEST}",
            where="--fakes",
            fix="0 leaves the light evaluation out",
        )
    if not fakes:
        return []
    if test_data is None:
        return ["the light evaluation, which needs held-out pictures (--test-data)"]
    if locate("mobilenet-v2", weights_dir) is None:
        fix = "facemeld download mobilenet-v2"
        return [f"the light evaluation, as its weights are not here ({fix})"]
    return []


def _report(
    config,
    model: Path,
    out: Path,
    fakes: int,
    left_out: list[str],
    weights_dir: Path | None,
    command: str,
) -> None:
    """Compares the finished student with its teacher and writes the report."""
    import json

    from facemeld.cli.progress import Progress
    from facemeld.evaluation.distilled import compare
    from facemeld.files import write_whole
    from facemeld.reports.distilled import write_distillation

    print("comparing the student with its teacher", file=sys.stderr)
    with Progress("fakes") as progress:
        result, picture = compare(
            config.teacher,
            model,
            config.samples_from or config.data,
            config.data,
            fakes=fakes,
            seed=config.seed,
            weights_dir=weights_dir,
            progress=progress,
        )
    result |= {"left_out": left_out}
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    path = out / "distillation.json"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    for file in (model, path, *write_distillation(result, picture, command, out)):
        print(file)


def _command(options: dict) -> str:
    """The command that reproduces a result, with what was given."""
    parts = ["facemeld", "distil"]
    defaults = {"resume": "auto", "fakes": 500}
    for name, value in options.items():
        if value in (None, []) or defaults.get(name) == value:
            continue
        flag = f"--{name.replace('_', '-')}"
        if name == "set":
            parts += [part for item in value for part in (flag, item)]
        else:
            parts += [flag, *map(str, value if isinstance(value, list) else [value])]
    return shlex.join(parts)
