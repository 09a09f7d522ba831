"""The application that commands register with, and what several commands share."""

from __future__ import annotations

import json as json_format
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from facemeld.errors import UserError

app = tyro.extras.SubcommandApp()


def check_target(out: Path) -> None:
    from facemeld.errors import did_you_mean
    from facemeld.images.write import FORMAT_OF_SUFFIX

    if out.suffix.lower() not in FORMAT_OF_SUFFIX:
        raise UserError(
            f"pictures cannot be written as '{out.suffix}'",
            where=str(out),
            fix=did_you_mean(out.suffix, tuple(FORMAT_OF_SUFFIX)),
        )


def check_inputs(model: str, files: list[Path]):
    """Reads the model's configuration and each picture's header; returns the former."""
    from facemeld.images.read import check_picture
    from facemeld.networks.model_folder import find_model, read_network_config

    config = read_network_config(find_model(model))
    for file in files:
        check_picture(file)
    return config


def check_folders(folders: Sequence[Path]) -> None:
    """UserError if one is not there."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError("no such folder", where=str(folder))


def speaks() -> bool:
    """Whether this process tells what happened: under torchrun, only the first of each machine."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def print_files(files: list[Path], settings: list[dict], as_json: bool) -> None:
    if as_json:
        entries = [{"file": str(f), "settings": s} for f, s in zip(files, settings)]
        print(json_format.dumps(entries, indent=2, ensure_ascii=False))
    else:
        for file in files:
            print(file)


def note(text: str) -> None:
    """A remark that is no result."""
    print(f"note: {text}", file=sys.stderr)


def note_missing(detectors: list[str]) -> None:
    """Says which detectors are not on this machine, if any."""
    if detectors:
        names = " ".join(detectors)
        note(f"fewer faces are found without {names}; get it: facemeld download {names}")
