"""Commands about models as files: import-stargan-v2, info."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path

import tyro

from facemeld.cli.app import app
from facemeld.errors import UserError


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
def info(
    model: tyro.conf.Positional[str | None] = None,
    preset: str | None = None,
    json: bool = False,
) -> None:
    """Tell what a model is and what it costs, or how a fused picture or video was made.

    Args:
        model: bundled model (faces if not given), model folder, or a picture or video that facemeld
            made.
        preset: a training preset instead, to compare sizes before training.
        json: print as JSON.
    """
    from facemeld.images.read import is_picture_name

    if model is not None and preset is not None:
        raise UserError(
            "both a model and a preset", where=f"{model}, --preset {preset}", fix="give one of them"
        )
    if preset is not None:
        facts = _preset_facts(preset)
    elif model is not None and (is_picture_name(model) or model.lower().endswith(".mp4")):
        facts = _picture_facts(Path(model))
    else:
        facts = _model_facts(model or "faces")
    _print_facts(facts, json)


def _picture_facts(path: Path) -> dict:
    from facemeld.images.read import check_picture
    from facemeld.images.write import is_marked_synthetic, read_settings

    is_video = path.suffix.lower() == ".mp4"
    if not is_video:
        check_picture(path)
    return {
        "video" if is_video else "picture": str(path),
        "synthetic": is_marked_synthetic(path),
        "settings": read_settings(path),
    }


def _model_facts(model: str) -> dict:
    from facemeld.networks.model_folder import find_model, read_network_config

    folder = find_model(model)
    facts = {"model": folder.name, "folder": str(folder)}
    return facts | _network_facts(read_network_config(folder)) | _backend_facts(folder)


def _backend_facts(folder: Path) -> dict:
    """What can compute the model here, and what --backend auto takes."""
    from facemeld.fusion.choice import explained, fastest, remembered, usable_backends

    usable = usable_backends(folder)
    facts = {"backends": ", ".join(dict.fromkeys([*usable, "torch"]))}
    if len(usable) == 1:
        return facts | {"backend auto": usable[0]}
    if (measured := remembered(folder)) is None:
        return facts | {"backend auto": "not measured yet; the first fuse does"}
    return facts | {"backend auto": f"{fastest(measured)}; measured: {explained(measured)}"}


def _preset_facts(name: str) -> dict:
    from facemeld.config import preset, presets

    config = preset(name)
    facts = {"preset": name, "purpose": presets()[name]}
    facts |= {n: getattr(config, n) for n in ("recipe", "pictures", "batch_size")}
    return facts | _network_facts(config.network.resolved())


def _network_facts(config) -> dict:
    """What follows from a network configuration: sizes and costs of its parts, and its options."""
    import dataclasses

    from facemeld.config import to_dict
    from facemeld.networks.costs import network_costs

    costs = network_costs(config)
    stored = ("generator", "style_encoder", "mapping_network")
    parameters = {c.part: c.parameters for c in costs if c.part in stored}
    return (
        {"parameters": parameters}
        | to_dict(config)
        | {"costs": [dataclasses.asdict(c) for c in costs]}
    )


def _print_facts(facts: dict, as_json: bool) -> None:
    if as_json:
        print(json_format.dumps(facts, indent=2, ensure_ascii=False))
        return
    costs = facts.pop("costs", None)
    facts |= {f"  {k}": v for k, v in (facts.pop("settings", None) or {}).items()}
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        print(f"{name:22} {value}")
    if costs:
        _print_costs(costs)
        if not facts["domains"]:
            print("The domains come from the training data; counted with three.")


def _print_costs(costs: list[dict]) -> None:
    from facemeld.reports.page import text_table

    columns = ["part", "parameters", "GMAC", "weights MB", "peak MB"]
    rows = [
        [c["part"], c["parameters"], f"{c['gmac']:.3f}"]
        + [f"{c[name]:.1f}" for name in ("weights_mb", "peak_mb")]
        for c in costs
    ]
    print(
        f"\n{text_table(columns, rows)}\n\n"
        "GMAC: thousand million multiply-adds for one picture. Peak: the most that the tensors of\n"
        "one picture's pass take at once, beside the weights; both in fp32. A model folder has no\n"
        "discriminator; a projected one reads the style encoder's features."
    )
