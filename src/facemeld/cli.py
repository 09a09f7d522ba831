"""The command line: each command maps to one function of the library, nothing else.

torch is imported inside the commands that need it, after everything that can be checked without
it, so that help and mistakes answer at once.
"""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path

import tyro

from facemeld import __version__
from facemeld.errors import UserError

app = tyro.extras.SubcommandApp()


@app.command
def demo(out: Path = Path("results/demo"), model: str = "faces") -> None:
    """Fuse the bundled faces with the bundled model.

    Args:
        out: folder for the pictures and the text that explains them.
        model: bundled model or model folder.
    """
    from facemeld.networks.model_folder import find_model

    find_model(model)
    from facemeld.fusion.demo import run_demo

    for path in run_demo(out, model=model):
        print(path)


@app.command
def fuse(
    source: list[Path],
    out: Path,
    reference: list[Path] = [],
    weights: list[float] | None = None,
    domain: str | None = None,
    source_domain: str | None = None,
    latent: bool = False,
    seed: int = 0,
    strength: float = 1.0,
    size: int | None = None,
    model: str = "faces",
    keep_settings: bool = True,
    json: bool = False,
) -> None:
    """Fuse faces: pose and layout of the source, look of the references.

    Args:
        source: picture that gives pose and layout; several give several results.
        out: picture to write (.png, .jpg or .webp); with several sources a folder.
        reference: pictures that give the look.
        weights: one for each reference.
        domain: domain of the references, or of the latent style; guessed from the references.
        source_domain: domain of the source, used with a strength below 1; guessed.
        latent: take the style from a random latent code of --domain.
        seed: of the latent code.
        strength: 0 keeps the source's own look, 1 takes all of the references'.
        size: side of the result in pixels, interpolated; the model's own if not given.
        model: bundled model or model folder.
        keep_settings: write the settings into the picture, so that it can be made again.
        json: print the results as JSON.
    """
    from facemeld.fusion.request import check_request

    targets = _targets(source, out)
    config = _check_inputs(model, [*source, *reference])
    options = {
        "weights": weights,
        "domain": domain,
        "source_domain": source_domain,
        "latent": latent,
        "strength": strength,
        "seed": seed,
        "size": size,
    }
    check_request(len(reference), domains=config.domains, **options)
    from facemeld.fusion.pipeline import FusionPipeline
    from facemeld.images.write import write_picture

    result = FusionPipeline.from_pretrained(model)(source, reference, **options)
    for image, settings, target in zip(result.images, result.settings, targets):
        write_picture(image, target, settings=settings if keep_settings else None)
    _print_files(targets, result.settings, json)


@app.command
def grid(
    source: list[Path],
    reference: list[Path],
    out: Path,
    domain: str | None = None,
    cell: int | None = None,
    model: str = "faces",
) -> None:
    """Make a sheet: sources down, references across, each pair fused.

    Args:
        source: pictures that give pose and layout.
        reference: pictures that give the look.
        out: picture to write.
        domain: domain of all references; guessed for each where it is not given.
        cell: side of each picture on the sheet in pixels; the model's own size if not given.
        model: bundled model or model folder.
    """
    from facemeld.fusion.request import check_cell, check_domain

    _check_target(out)
    check_cell(cell)
    config = _check_inputs(model, [*source, *reference])
    check_domain(domain, config.domains, where="--domain")
    from facemeld.fusion.pipeline import FusionPipeline
    from facemeld.images.write import write_picture

    pipe = FusionPipeline.from_pretrained(model)
    image = pipe.grid(source, reference, domain=domain, cell=cell)
    write_picture(image, out, settings=None)
    print(out)


@app.command
def train(
    data: Path | None = None,
    out: Path | None = None,
    preset: str | None = None,
    config: Path | None = None,
    image_size: int | None = None,
    batch_size: int | None = None,
    pictures: int | None = None,
    seed: int | None = None,
    recipe: str | None = None,
    precision: str | None = None,
    processes: int | None = None,
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
        out: run folder; an unfinished run in it goes on.
        preset: name of a preset, see `facemeld presets`.
        config: TOML file with options, like the config.toml of a run.
        image_size: side of the pictures in pixels.
        batch_size: pictures an iteration.
        pictures: length of the run in pictures seen.
        seed: of everything random.
        recipe: starganv2 or lean.
        precision: auto, fp32 or bf16.
        processes: worker processes with averaged gradients; 0 chooses.
        generator: kind of generator.
        style_encoder: resnet or projected.
        discriminator: resnet or projected.
        skips: none, additive, highpass or masked.
        set: any other option as name=value, for example weights.cycle=2; may be given several times.
        resume: auto, never, or the path of a checkpoint.
        weights_dir: folder to look in first for published weights.
    """
    from facemeld.config import check
    from facemeld.data.folders import scan_domains

    given = {
        "data": None if data is None else str(data),
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
    chosen = _training_config(preset, config, given | dict(map(_setting, set)))
    if not chosen.data:
        raise UserError("no training pictures", where="--data", fix="name their folder")
    if out is None:
        raise UserError("no run folder", where="--out", fix="name one, it will be made")
    check(chosen.problems(), "training options")
    scan_domains(chosen.data)
    from facemeld.training.loop import train as run

    print(run(chosen, out, resume=resume, weights_dir=weights_dir))


@app.command
def evaluate(
    data: Path,
    reals: Path,
    model: str = "faces",
    fakes: int = 500,
    seed: int = 0,
    out: Path | None = None,
    weights_dir: Path | None = None,
) -> None:
    """Score a model by the light protocol; the result is JSON.

    Args:
        data: domain folders of held-out pictures: sources and references.
        reals: domain folders of real pictures to compare with.
        model: bundled model or model folder.
        fakes: fakes for each domain and mode.
        seed: of the choice of pictures and of the latent codes.
        out: file for the JSON; printed if not given.
        weights_dir: folder to look in first for published weights.
    """
    from facemeld.data.catalogue import find_weights
    from facemeld.data.folders import scan_domains
    from facemeld.networks.model_folder import find_model

    folder = find_model(model)
    for path in (data, reals):
        scan_domains(path)
    find_weights("mobilenet-v2", weights_dir)
    from facemeld.evaluation.light import evaluate as score
    from facemeld.evaluation.light import summary
    from facemeld.networks.bundle import load_model

    def progress(done: int, total: int) -> None:
        print(f"{done}/{total} domains and modes", file=sys.stderr)

    scores = score(
        load_model(folder),
        data,
        reals,
        fakes=fakes,
        seed=seed,
        weights_dir=weights_dir,
        progress=progress,
    )
    text = json_format.dumps(summary(scores), indent=2, ensure_ascii=False)
    if out is None:
        print(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
        print(out)


@app.command(name="import-stargan-v2")
def import_stargan_v2(
    checkpoint: tyro.conf.Positional[Path],
    out: Path,
    domains: list[str] | None = None,
    w_hpf: float | None = None,
) -> None:
    """Turn an official StarGAN v2 checkpoint (*_nets_ema.ckpt) into a model folder.

    Args:
        checkpoint: the file.
        out: model folder to write; new or empty.
        domains: names of its domains, in the order of training (sorted folder names).
        w_hpf: divisor of the high-pass skips, for old checkpoints that do not store it.
    """
    if not checkpoint.is_file():
        raise UserError("no such checkpoint", where=str(checkpoint))
    from facemeld.export.stargan_v2 import import_stargan_v2 as run

    def note(text: str) -> None:
        print(f"note: {text}", file=sys.stderr)

    run(checkpoint, out, domains=domains, w_hpf=w_hpf, on_note=note)
    print(out)


@app.command
def presets() -> None:
    """List the training presets."""
    from facemeld.config import presets as known

    for name, purpose in known().items():
        print(f"{name:12} {purpose}")


@app.command
def info(model: tyro.conf.Positional[str] = "faces", json: bool = False) -> None:
    """Tell what a model is, or how a fused picture was made.

    Args:
        model: bundled model, model folder, or a picture that facemeld made.
        json: print as JSON.
    """
    from facemeld.images.read import is_picture_name

    path = Path(model)
    facts = _picture_facts(path) if is_picture_name(path) else _model_facts(model)
    _print_facts(facts, json)


def main(arguments: list[str] | None = None) -> None:
    """Runs one command; a UserError becomes three lines and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    if arguments in (["--version"], ["-V"]):
        print(f"facemeld {__version__}")
        return
    try:
        app.cli(
            prog="facemeld",
            description="Fuse the features of faces. --debug shows tracebacks of errors.",
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
    except (UserError, OSError) as error:
        if debug or not (error := _as_user_error(error)):
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None


# ---------------------------------------------------------------------------------------------


def _as_user_error(error: UserError | OSError) -> UserError | None:
    """What a full disk or a folder without rights is for a person; None for other faults."""
    import errno

    if isinstance(error, UserError):
        return error
    outside = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
    if error.errno not in outside:
        return None
    return UserError(
        f"cannot write: {error.strerror}",
        where=str(error.filename or "the output folder"),
        fix="free some space or choose another folder; earlier files are intact",
    )


def _targets(sources: list[Path], out: Path) -> list[Path]:
    """The files to write: ``out`` itself for one source, else files in the folder ``out``."""
    from facemeld.images.write import FORMAT_OF_SUFFIX

    if len(sources) == 1:
        _check_target(out)
        return [out]
    if out.suffix.lower() in FORMAT_OF_SUFFIX:
        raise UserError(
            f"{len(sources)} sources, but --out names one picture",
            where=str(out),
            fix="name a folder",
        )
    return [out / f"{index:03d}_{source.stem}.png" for index, source in enumerate(sources, 1)]


def _check_target(out: Path) -> None:
    from facemeld.errors import did_you_mean
    from facemeld.images.write import FORMAT_OF_SUFFIX

    if out.suffix.lower() not in FORMAT_OF_SUFFIX:
        raise UserError(
            f"pictures cannot be written as '{out.suffix}'",
            where=str(out),
            fix=did_you_mean(out.suffix, tuple(FORMAT_OF_SUFFIX)),
        )


def _check_inputs(model: str, files: list[Path]):
    """Reads the model's configuration and each picture's header; returns the former."""
    from facemeld.images.read import check_picture
    from facemeld.networks.model_folder import find_model, read_network_config

    config = read_network_config(find_model(model))
    for file in files:
        check_picture(file)
    return config


def _training_config(preset_name: str | None, file: Path | None, given: dict):
    """A preset or a file, with the given options (dotted names) laid over it."""
    from facemeld.config import TrainingConfig, from_dict, preset, presets, read_toml, to_dict

    if (preset_name is None) == (file is None):
        raise UserError(
            "give either --preset or --config",
            where="train",
            fix=f"presets are: {', '.join(presets())}",
        )
    if file is not None:
        values = to_dict(from_dict(TrainingConfig, read_toml(file), where=str(file)))
    else:
        values = to_dict(preset(preset_name))
    for name, value in given.items():
        table = values
        *groups, last = name.split(".")
        for group in groups:
            table = table.get(group)
            if not isinstance(table, dict):
                raise UserError(f"unknown option '{name}'", where="--set")
        table[last] = value
    return from_dict(TrainingConfig, values, where="training options")


def _setting(text: str) -> tuple[str, object]:
    """name=value; the value as in TOML, or as plain text."""
    import tomllib

    name, equals, value = text.partition("=")
    if not equals:
        raise UserError("not of the form name=value", where=f"--set {text}")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


def _picture_facts(path: Path) -> dict:
    from facemeld.images.read import check_picture
    from facemeld.images.write import is_marked_synthetic, read_settings

    check_picture(path)
    return {
        "picture": str(path),
        "synthetic": is_marked_synthetic(path),
        "settings": read_settings(path),
    }


def _model_facts(model: str) -> dict:
    from facemeld.config import to_dict
    from facemeld.networks.model_folder import find_model, read_network_config

    folder = find_model(model)
    config = read_network_config(folder)
    import torch

    from facemeld.networks.bundle import Networks

    with torch.device("meta"):
        networks = Networks(config)
    parameters = {
        name: sum(p.numel() for p in part.parameters()) for name, part in networks.named_children()
    }
    return {"model": folder.name, "folder": str(folder), "parameters": parameters} | to_dict(config)


def _print_facts(facts: dict, as_json: bool) -> None:
    if as_json:
        print(json_format.dumps(facts, indent=2, ensure_ascii=False))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        print(f"{name:22} {value}")


def _print_files(files: list[Path], settings: list[dict], as_json: bool) -> None:
    if as_json:
        entries = [{"file": str(f), "settings": s} for f, s in zip(files, settings)]
        print(json_format.dumps(entries, indent=2, ensure_ascii=False))
    else:
        for file in files:
            print(file)
