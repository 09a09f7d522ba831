"""Checkpoints: all that a run needs to go on, in one safetensors file.

A checkpoint is written to a temporary name, synced and renamed, so a crash or a full disk leaves
the previous one whole. Its name carries the pictures seen, its header a checksum of the tensors.
"""

from __future__ import annotations

import json
import re
import shutil
import zlib
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
    """State of modules and optimisers as named tensors: ``part.name``, of optimisers
    ``part.parameter.name``."""
    tensors: dict[str, Tensor] = {}
    for part, thing in parts.items():
        if isinstance(thing, torch.optim.Optimizer):
            names = _parameter_names(thing)
            for index, state in thing.state_dict()["state"].items():
                tensors |= {f"{part}.{names[index]}.{key}": value for key, value in state.items()}
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
            index_of = {name: i for i, name in enumerate(_parameter_names(thing))}
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in mine.items():
                name, key = name.rsplit(".", 1)
                index = index_of[name]
                if value.dim():
                    # fused optimisers read memory in order: the layout must be the parameter's
                    value = torch.empty_like(parameters[index]).copy_(value)
                state.setdefault(index, {})[key] = value
            thing.load_state_dict(thing.state_dict() | {"state": state})
        else:
            thing.load_state_dict(mine)


def _parameter_names(optimizer: torch.optim.Optimizer) -> list[str]:
    """In the order of the optimiser's own indices."""
    return [name for group in optimizer.param_groups for name in group["param_names"]]


def save(folder: Path, tensors: dict[str, Tensor], facts: dict, *, keep: int) -> Path:
    """Writes one checkpoint and removes older ones, so that ``keep`` are left.

    Args:
        folder: created if missing.
        tensors: from ``flatten``.
        facts: JSON-able; ``facts["pictures"]`` is the clock.
        keep: how many checkpoints stay: the newest, this one included. Those that ``branch_off``
            moved aside are never removed.

    Raises:
        UserError: it could not be written; earlier checkpoints are untouched.
    """
    path = folder / _name(facts)
    # one entry, since safetensors writes several in a random order: equal runs, equal files
    metadata = {"facts": json.dumps(facts | {"checksum": _checksum(tensors)})}
    write_whole(path, lambda partial: save_file(tensors, partial, metadata=metadata))
    for killed in folder.glob("pictures-*.partial"):  # a session that was killed while it wrote
        killed.unlink()
    # later ones are damaged or of another session: they must not push this one out
    for old in [p for p in _newest_first(folder) if p < path][keep - 1 :]:
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
            tensors = {name.removeprefix(prefix): file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise UserError("no such checkpoint", where=str(path)) from None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"not a readable checkpoint: {error}", where=str(path)) from None
    checksum = facts.pop("checksum", None)
    if checksum is not None and not part and checksum != _checksum(tensors):
        raise UserError("not a readable checkpoint: its checksum differs", where=str(path))
    return tensors, facts


def choose(folder: Path, resume: str, warn: Callable[[str], None]) -> Path | None:
    """The checkpoint that ``resume`` means: ``never``, ``auto`` or a path. UserError if damaged."""
    if resume == "never":
        return None
    if resume == "auto":
        return newest_path(folder, warn)
    load(Path(resume))
    return Path(resume)


def restore_from(path: Path, parts: dict[str, torch.nn.Module | torch.optim.Optimizer]) -> dict:
    """Restores the parts from a file and returns its facts; UserError if it does not fit them."""
    tensors, facts = load(path)
    try:
        restore(parts, tensors)
    except (IndexError, KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            "the checkpoint is of another configuration",
            where=str(path),
            fix=f"train into another folder ({str(error).splitlines()[0]})",
        ) from None
    return facts


def newest_valid(
    folder: Path, warn: Callable[[str], None], *, part: str = ""
) -> tuple[dict[str, Tensor], dict] | None:
    """Tensors and facts of the newest checkpoint that can be read; see ``load``."""
    path = newest_path(folder, warn)
    return load(path, part=part) if path else None


def newest_path(folder: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that can be read; a damaged one is skipped with a warning."""
    for path in _newest_first(folder):
        try:
            load(path)
            return path
        except UserError as error:
            warn(f"warning: skipping a damaged checkpoint: {error.where} ({error.what})")
    return None


def last_good(folder: Path) -> Path | None:
    """The newest checkpoint from before a row of steps that were left out (see ``guard``)."""
    for path in _newest_first(folder):
        try:
            if not load(path)[1].get("guard", {}).get("in_a_row"):
                return path
        except UserError:
            continue
    return None


def branch_off(folder: Path, path: Path, say: Callable[[str], None]) -> None:
    """Makes ``path`` the newest checkpoint of ``folder``, so that the run goes on from there.

    Later ones, which belong to the branch that is left, move to ``folder/left-001`` (-002, …).
    A checkpoint from elsewhere is copied.
    """
    own = folder / _name(load(path)[1])
    here = own.exists() and own.samefile(path)
    later = [p for p in _newest_first(folder) if p > own or (p == own and not here)]
    if later:
        aside = next(a for n in range(1, 1000) if not (a := folder / f"left-{n:03d}").exists())
        aside.mkdir()
        for left in later:
            left.rename(aside / left.name)
        say(f"{len(later)} later checkpoints were moved to {aside}")
    if not here:
        write_whole(own, lambda partial: shutil.copyfile(path, partial))


def any_in(folder: Path) -> bool:
    """Whether there are checkpoints, damaged ones included."""
    return bool(_newest_first(folder))


def _name(facts: dict) -> str:
    return f"pictures-{facts['pictures']:012d}.safetensors"


def _newest_first(folder: Path) -> list[Path]:
    return sorted((p for p in folder.glob("pictures-*") if _NAME.fullmatch(p.name)), reverse=True)


def _checksum(tensors: dict[str, Tensor]) -> str:
    """CRC-32 of all bytes, in the order of the names."""
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy(), value)
    return f"{value:08x}"
