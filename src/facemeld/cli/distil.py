"""The command that makes a small model from a large one: distil."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

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
    processes: int | None = None,
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
        processes: worker processes with averaged gradients; 0 chooses.
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
