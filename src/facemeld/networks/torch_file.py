"""Reading a PyTorch file that somebody else made, as data only.

``torch.load(weights_only=True)`` runs no code of the file. The checks around it bound the memory:
what is read can never be larger than the file itself.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path

import torch

from facemeld.errors import UserError

SIZE_LIMIT = 4 << 30
"""Bytes; the largest official checkpoint has about 0.3 GB."""
_ZIP_MAGIC = b"PK\x03\x04"
_CODE = re.compile(r"unsupported (?:global: )?GLOBAL ([\w.]{1,100})", re.IGNORECASE)


def read_torch_file(path: Path) -> object:
    """What ``torch.save`` wrote, in its zip format or the older one; tensors on the CPU.

    Tensors of a zip file are mapped from the disk: they must be copied before the file changes.

    Raises:
        UserError: the file is missing, too large, damaged, compressed, not PyTorch's, or holds
            anything but plain data.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise UserError("not a file", where=str(path), fix="name the .ckpt file itself")
        if size > SIZE_LIMIT:
            raise UserError(
                f"{size / 1e9:.1f} GB is too large for a checkpoint of these networks",
                where=str(path),
                fix=f"give a file of at most {SIZE_LIMIT / 1e9:.1f} GB",
            )
        with path.open("rb") as file:
            is_zip = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
    except FileNotFoundError:
        raise UserError("no such file", where=str(path), fix="check the name") from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        if is_zip:
            _check_archive(path, size)
        with warnings.catch_warnings(action="ignore"):  # about damage, which ends in an error below
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except UserError:
        raise
    except Exception as error:  # a damaged file can make the unpickler raise anything
        raise _unreadable(path, error) from None


def _check_archive(path: Path, size: int) -> None:
    """PyTorch stores its records uncompressed, one after the other."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    compressed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
    if compressed or sum(record.file_size for record in records) > size:
        raise UserError(
            "not a PyTorch checkpoint: its records are compressed or larger than the file",
            where=str(path),
            fix="give the .ckpt file as it was published or trained",
        )


def _unreadable(path: Path, error: Exception) -> UserError:
    if code := _CODE.search(str(error)):
        return UserError(
            f"holds more than weights: it asks for {code[1]}, and nothing of it was run",
            where=str(path),
            fix="do not trust this file; get the checkpoint from its publisher",
        )
    return UserError(
        "not a PyTorch checkpoint, or a truncated or damaged one",
        where=str(path),
        fix="compare its size with the published one, and download it again",
    )
