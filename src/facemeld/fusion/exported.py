"""Exported models as files: which graphs a model folder holds, and whether they are its own.

A folder with graphs is a model folder that also holds ``onnx.json`` or ``openvino.json`` and the
files that it names. The former reads its weights from ``model.safetensors``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facemeld.errors import UserError
from facemeld.fusion.inputs import file_sha256

FORMATS = ("onnx", "openvino")
PRECISIONS = ("fp32", "int8")
VERSION = 1
"""Of the graphs' inputs and outputs, and of the manifest."""
GRAPHS = ("encoder", "decoder", "decoder_regions", "style_encoder", "mapping_network")
_LIMIT_BYTES = 1_000_000


@dataclass(frozen=True)
class Exported:
    """The graphs of one format in a model folder."""

    folder: Path
    format: str
    precision: str
    files: dict[str, Path]
    """By the names in ``GRAPHS``."""


def content_names(skip_sides: Sequence[int]) -> list[str]:
    """Names of the maps that pass from the encoder to the decoders."""
    return ["bottleneck", *(f"skip_{side}" for side in skip_sides)]


def manifest_path(folder: Path, format: str) -> Path:
    """Where the manifest of a format is."""
    return folder / f"{format}.json"


def has_graphs(folder: Path, format: str) -> bool:
    """Whether graphs of this format are in the folder; they may be damaged."""
    return manifest_path(folder, format).is_file()


def read_exported(folder: Path, format: str) -> Exported:
    """The graphs of a format, checked against the manifest.

    Raises:
        UserError: there are none, they are damaged, of another model, or from a newer version.
    """
    path = manifest_path(folder, format)
    again = f"write it again: facemeld export --model {folder} --format {format} --out {folder}"
    if not path.is_file():
        raise UserError(
            f"the model has no {format} graphs",
            where=str(folder),
            fix=f"write a folder that has them: facemeld export --model {folder} --format {format} "
            "--out FOLDER",
        )
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise ValueError("it is far too large")
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version, precision = int(manifest["version"]), manifest["precision"]
        model, files = manifest["model_sha256"], manifest["files"]
        names = {graph: manifest["graphs"][graph]["file"] for graph in GRAPHS}
        if any(Path(name).name != name for name in (*files, *names.values())):
            raise ValueError("it names files elsewhere")
    except (OSError, ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise UserError(f"the manifest is damaged: {error}", where=str(path), fix=again) from None
    if version > VERSION:
        raise UserError(
            f"the graphs have version {version}, this facemeld reads up to {VERSION}",
            where=str(path),
            fix="upgrade facemeld",
        )
    if version < VERSION:
        raise UserError(f"the graphs have version {version}", where=str(path), fix=again)
    weights = folder / "model.safetensors"
    if not weights.is_file() or file_sha256(weights) != model:
        raise UserError("the graphs are of another model's weights", where=str(path), fix=again)
    for name, sha256 in files.items():
        if not (folder / name).is_file():
            raise UserError("a graph is missing", where=str(folder / name), fix=again)
        if file_sha256(folder / name) != sha256:
            raise UserError("a graph is damaged", where=str(folder / name), fix=again)
    return Exported(folder, format, precision, {g: folder / name for g, name in names.items()})
