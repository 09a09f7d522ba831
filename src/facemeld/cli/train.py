"""Commands that train models: train, presets."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from facemeld.cli.app import app, speaks
from facemeld.errors import UserError


@app.command
def train(
    data: Path | None = None,
    out: Path | None = None,
    domains: list[str] = [],
    preset: str | None = None,
    init: str | None = None,
    config: Path | None = None,
    image_size: int | None = None,
    batch_size: int | None = None,
    pictures: int | None = None,
    seed: int | None = None,
    recipe: str | None = None,
    precision: str | None = None,
    processes: int | Literal["auto"] | None = None,
    generator: str | None = None,
    style_encoder: str | None = None,
    discriminator: str | None = None,
    skips: str | None = None,
    set: tyro.conf.UseAppendAction[list[str]] = [],
    resume: str = "auto",
    weights_dir: Path | None = None,
) -> None:
    """Train a model on folders of pictures, one folder a domain.

    Start from a preset or from a configuration file; options override it.

    Args:
        data: folder with a subfolder of pictures for each domain.
        domains: subfolders of data to train on; all of them if not given.
        out: run folder; an unfinished run in it goes on.
        preset: name of a preset, see `facemeld presets`.
        init: model to start from, a name or a folder; its network options hold unless given.
        config: TOML file with options, like the config.toml of a run.
        image_size: side of the pictures in pixels.
        batch_size: pictures an iteration.
        pictures: length of the run in pictures seen.
        seed: of everything random.
        recipe: starganv2, fast or lean.
        precision: auto, fp32 or bf16.
        processes: worker processes with averaged gradients; auto or 0 chooses, see
            docs/scaling.md.
        generator: resnet, swin-encoder or swin-unet.
        style_encoder: resnet, swin or projected.
        discriminator: resnet or projected.
        skips: none, additive, highpass or masked.
        set: any other option as name=value, like weights.cycle=2; may be given several times.
        resume: auto, never, or a checkpoint to branch off from; later ones are moved aside.
        weights_dir: folder to look in first for published weights.
    """
    from facemeld.config import check
    from facemeld.data.folders import scan_domains

    given = {
        "init": init,
        "data": None if data is None else str(data),
        "domains": domains or None,
        "batch_size": batch_size,
        "pictures": pictures,
        "seed": seed,
        "recipe": recipe,
        "precision": precision,
        "processes": processes,
        "network.image_size": image_size,
        "network.generator": generator,
        "network.style_encoder": style_encoder,
        "network.discriminator": discriminator,
        "network.skips": skips,
    }
    given = {name: value for name, value in given.items() if value is not None}
    chosen = _training_config(preset, config, given | dict(map(setting, set)), out)
    if not chosen.data:
        raise UserError("no training pictures", where="--data", fix="name their folder")
    if out is None:
        raise UserError("no run folder", where="--out", fix="name one, it will be made")
    check(chosen.problems(), "training options")
    scan_domains(chosen.data, only=chosen.domains)
    from facemeld.training.loop import train as run

    model = run(chosen, out, resume=resume, weights_dir=weights_dir)
    if speaks():
        print(model)


@app.command
def cross(
    data: Path,
    own: list[str],
    foreign: list[str],
    out: Path,
    test_data: Path | None = None,
    model: str | None = None,
    preset: str | None = None,
    pictures: int | None = None,
    seed: int | None = None,
    weights_dir: Path | None = None,
) -> None:
    """Cross-domain experiment: a model of some domains is fed sources of others.

    Trains a model on the own domains, or takes one, and writes sheets of foreign and of own sources
    with the model's references, and how much of the layout either keeps.

    Args:
        data: folder with a subfolder of training pictures for each domain.
        own: domains to train on, or those of the model.
        foreign: domains whose pictures become sources.
        out: folder for the sheets; the run goes into `run` in it, and goes on if it is unfinished.
        test_data: held-out pictures, laid out like data; without it the training pictures.
        model: a model of the own domains, instead of training one.
        preset: of the training; faces-64 if not given.
        pictures: length of the training in pictures seen.
        seed: of the training.
        weights_dir: folder to look in first for published weights.
    """
    from facemeld.data.folders import scan_domains

    training = {"preset": preset, "pictures": pictures, "seed": seed}
    training = {name: value for name, value in training.items() if value is not None}
    if both := set(own) & set(foreign):
        raise UserError(f"{', '.join(sorted(both))} cannot be both own and foreign", where="--own")
    if model is None:
        given = training | {"data": str(data), "domains": own}
        chosen = _training_config(given.pop("preset", "faces-64"), None, given)
    else:
        _check_taken(model, own, training)
    for domains in (own, foreign):
        scan_domains(data, only=domains, at_least=1)
        if test_data is not None:
            scan_domains(test_data, only=domains, at_least=1)
    from facemeld.reports.cross_domain import cross_domains
    from facemeld.training.loop import train as run

    if model is None:
        model = str(run(chosen, out / "run", weights_dir=weights_dir))
    faces = data if test_data is None else test_data
    for file in cross_domains(model, faces, foreign, out, weights_dir=weights_dir).files:
        print(file)


def _check_taken(model: str, own: list[str], training: dict) -> None:
    """UserError for options of training beside a trained model, or a model of other domains."""
    from facemeld.networks.model_folder import find_model, read_network_config

    if training:
        names = ", ".join(f"--{name}" for name in training)
        raise UserError(
            f"{names} are for training, and --model names a trained model",
            where="facemeld cross",
            fix=f"leave out {names}, or --model",
        )
    domains = read_network_config(find_model(model)).domains
    if set(own) != set(domains):
        raise UserError(
            f"the model knows {', '.join(domains)}, not just {', '.join(own)}: what is foreign to "
            "it would be something else",
            where=f"--model {model}",
            fix=f"--own {' '.join(domains)}, or train a model of the own domains without --model",
        )


@app.command
def presets() -> None:
    """List the training presets."""
    from facemeld.config import presets as known

    width = max(map(len, known()))
    for name, purpose in known().items():
        print(f"{name:{width}} {purpose}")


def _training_config(
    preset_name: str | None, file: Path | None, given: dict, out: Path | None = None
):
    """A preset or a file, with the given options (dotted names) laid over it.

    The network of a model to start from is read in the first session only: a run in ``out`` that
    goes on has its own.
    """
    from facemeld.config import TrainingConfig, from_dict, preset, presets, read_toml, to_dict
    from facemeld.networks.model_folder import find_model, read_network_config

    if (preset_name is None) == (file is None):
        raise UserError(
            "give either --preset or --config",
            where="train",
            fix=f"presets are: {', '.join(presets())}",
        )
    described = {} if file is None else read_toml(file)
    base = from_dict(TrainingConfig, described, where=str(file)) if file else preset(preset_name)
    values = to_dict(base)
    init = given.get("init") or base.init
    if init and "network" not in described:
        goes_on = out is not None and any(out.glob("checkpoints/pictures-*.safetensors"))
        if goes_on and (out / "config.toml").is_file():
            values["network"] = read_toml(out / "config.toml")["network"]
        else:
            values["network"] = to_dict(read_network_config(find_model(init)))
    return from_dict(TrainingConfig, laid_over(values, given), where="training options")


def laid_over(values: dict, given: dict) -> dict:
    """A configuration's values, changed, with the given ones (dotted names) in their places."""
    # the late weights are last: where there are none yet, they begin as the others
    for name, value in sorted(given.items(), key=lambda item: item[0].startswith("late_weights.")):
        if (name, value) == ("processes", "auto"):
            value = 0
        table = values
        *groups, last = name.split(".")
        for group in groups:
            if group == "late_weights" and values[group] is None:
                values[group] = dict(values["weights"])
            table = table.get(group)
            if not isinstance(table, dict):
                raise UserError(f"unknown option '{name}'", where="--set")
        table[last] = value
    return values


def setting(text: str) -> tuple[str, object]:
    """name=value; the value as in TOML, or as plain text."""
    import tomllib

    name, equals, value = text.partition("=")
    if not equals:
        raise UserError("not of the form name=value", where=f"--set {text}")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value
