"""Finished parts of an evaluation that was stopped, for the same one to go on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from facemeld.errors import UserError
from facemeld.evaluation.cache import cache_folder
from facemeld.files import write_whole


class Unfinished:
    """A folder of parts, which are JSON-able; beside the cache, so that it needs no ``--out``.

    Args:
        fingerprint: the same for two evaluations that give the same numbers, for no others.
    """

    def __init__(self, fingerprint: str) -> None:
        self.folder = cache_folder().parent / "unfinished" / fingerprint

    def get(self, part: str) -> list | None:
        """What was put there, to the last bit; None where there is nothing usable."""
        try:
            return json.loads(self._path(part).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def put(self, part: str, content: list) -> None:
        """Keeps a finished part. A home that cannot be written to keeps nothing."""
        text = json.dumps(content)
        try:
            write_whole(self._path(part), lambda file: file.write_text(text, encoding="utf-8"))
        except UserError:
            pass

    def clear(self) -> None:
        """Forgets all parts: the evaluation is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, part: str) -> Path:
        return self.folder / f"{part}.json"
