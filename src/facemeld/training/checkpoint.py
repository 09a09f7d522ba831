"""Checkpoints: all that a run needs to go on, in one safetensors file.

A checkpoint is written to a temporary name, synced and renamed, so a crash or a full disk leaves
the previous one whole. Its name carries the pictures seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from facemeld.errors import UserError
from facemeld.files import write_whole

_NAME = re.compile(r"pictures-(\d{12})\.safetensors")


def flatten(parts: dict[str, torch.nn.Module | torch.optim.Optimizer]) -> dict[str, Tensor]:
    """State of modules and optimisers as named tensors: ``part.name`` and ``part.index.name``."""
    tensors: dict[str, Tensor] = {}
    for part, thing in parts.items():
        if isinstance(thing, torch.optim.Optimizer):
            for index, state in thing.state_dict()["state"].items():
                tensors |= {f"{part}.{index}.{name}": value for name, value in state.items()}
        else:
            tensors |= {f"{part}.{name}": value for name, value in thing.state_dict().items()}
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def restore(
    parts: dict[str, torch.nn.Module | torch.optim.Optimizer], tensors: dict[str, Tensor]
) -> None:
    """The inverse of ``flatten``.

    Raises:
        KeyError, RuntimeError: the tensors are those of another configuration.
    """
    for part, thing in parts.items():
        mine = {n[len(part) + 1 :]: v for n, v in tensors.items() if n.startswith(part + ".")}
        if isinstance(thing, torch.optim.Optimizer):
            parameters = [p for group in thing.param_groups for p in group["params"]]
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in mine.items():
                index, key = name.split(".", 1)
                parameter = parameters[int(index)]
                if value.shape == parameter.shape:
                    # fused optimisers read memory in order: the layout must be the parameter's
                    value = torch.empty_like(parameter).copy_(value)
                state.setdefault(int(index), {})[key] = value
            thing.load_state_dict(thing.state_dict() | {"state": state})
        else:
            thing.load_state_dict(mine)


def save(folder: Path, tensors: dict[str, Tensor], facts: dict, *, keep: int) -> Path:
    """Writes one checkpoint and removes older ones, so that ``keep`` are left.

    Args:
        folder: created if missing.
        tensors: from ``flatten``.
        facts: JSON-able; ``facts["pictures"]`` is the clock.
        keep: how many checkpoints stay.

    Raises:
        UserError: it could not be written; earlier checkpoints are untouched.
    """
    path = folder / f"pictures-{facts['pictures']:012d}.safetensors"

    def write(partial: Path) -> None:
        save_file(tensors, partial, metadata={"facts": json.dumps(facts)})

    write_whole(path, write)
    # later ones are damaged or of another session: they must not push this one out
    for old in sorted((p for p in _all(folder) if p < path), reverse=True)[keep - 1 :]:
        old.unlink()
    return path


def load(path: Path, *, part: str = "") -> tuple[dict[str, Tensor], dict]:
    """Tensors and facts of one checkpoint; UserError if it is missing or damaged.

    Args:
        path: the file.
        part: only the tensors of this part (see ``flatten``), under their names inside it.
    """
    prefix = f"{part}." if part else ""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            names = [name for name in file.keys() if name.startswith(prefix)]
            return {name.removeprefix(prefix): file.get_tensor(name) for name in names}, facts
    except FileNotFoundError:
        raise UserError("no such checkpoint", where=str(path)) from None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"not a readable checkpoint: {error}", where=str(path)) from None


def newest_valid(
    folder: Path, warn: Callable[[str], None], *, part: str = ""
) -> tuple[dict[str, Tensor], dict] | None:
    """The newest checkpoint that can be read; a damaged one is skipped with a warning."""
    for path in sorted(_all(folder), reverse=True):
        try:
            return load(path, part=part)
        except UserError as error:
            warn(f"warning: skipping a damaged checkpoint: {error.where} ({error.what})")
    return None


def _all(folder: Path) -> list[Path]:
    return [p for p in folder.glob("pictures-*.safetensors") if _NAME.fullmatch(p.name)]
