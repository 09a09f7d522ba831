"""What can be told about an export before PyTorch is loaded for it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from facemeld.errors import UserError

NEEDED = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
"""Packages that an export imports, by its format."""


def check_packages(format: str) -> None:
    """UserError that names the extra if a package is missing."""
    missing = [package for package in NEEDED[format] if find_spec(package) is None]
    if missing:
        raise UserError(
            f"exporting to {format} needs {' and '.join(missing)}",
            where="--format",
            fix="pip install 'facemeld[export]'",
        )


def check_folder(model: Path, out: Path) -> bool:
    """Whether the graphs are to be added to the model's own folder.

    Raises:
        UserError: ``out`` is another one with something in it.
    """
    if out.is_dir() and out.resolve() == model.resolve():
        return True
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            "the folder is not empty", where=str(out), fix="choose a new one, or the model's own"
        )
    return False
