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
