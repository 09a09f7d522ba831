"""Model folders as files: where they are and what their configuration says, without torch."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from facemeld.config import MODEL_FORMAT, NetworkConfig, from_dict
from facemeld.errors import UserError, did_you_mean

CONFIG_LIMIT_BYTES = 1_000_000


def bundled_models() -> dict[str, Path]:
    """Names and folders of the models inside the package."""
    root = Path(str(resources.files("facemeld"))) / "models"
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return {f.name: f for f in folders if (f / "config.json").is_file()}


def find_model(model: str | Path) -> Path:
    """The folder of a bundled name or a path; UserError if there is neither."""
    bundled = bundled_models()
    if str(model) in bundled:
        return bundled[str(model)]
    folder = Path(model)
    if folder.is_dir():
        return folder
    raise UserError(
        "no such model",
        where=str(model),
        fix=did_you_mean(str(model), list(bundled)) + ", or give a model folder"
        if bundled
        else "give a model folder",
    )


def read_network_config(folder: Path) -> NetworkConfig:
    """The configuration in a model folder, checked; UserError where it is not one."""
    path = folder / "config.json"
    if not folder.is_dir() or not path.is_file():
        raise UserError(
            "not a model folder: it has no config.json",
            where=str(folder),
            fix="give a folder that holds config.json and model.safetensors",
        )
    try:
        if path.stat().st_size > CONFIG_LIMIT_BYTES:
            raise ValueError("it is far too large")
        values = json.loads(path.read_text(encoding="utf-8"))
        version, network = values["format"], values["network"]
        newer = int(version) > MODEL_FORMAT
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"config.json is damaged: {error}", where=str(path)) from None
    if newer:
        raise UserError(
            f"the model has format {version}, this facemeld reads up to {MODEL_FORMAT}",
            where=str(path),
            fix="upgrade facemeld",
        )
    config = from_dict(NetworkConfig, network, where=str(path))
    if problems := config.problems():
        raise UserError("; ".join(problems), where=str(path))
    return config.resolved()
