"""Finished parts of an evaluation that was stopped, for the same one to go on with."""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemeld.errors import UserError
from facemeld.evaluation.cache import cache_folder
from facemeld.files import write_whole


class Unfinished:
    """A folder of parts, each written whole or not at all.

    Args:
        folder: where they are; None keeps nothing.
        needed: whether a folder that cannot be written to is an error; else it keeps nothing.
    """

    def __init__(self, folder: Path | None = None, *, needed: bool = False) -> None:
        self.folder, self.needed = folder, needed

    @classmethod
    def beside_the_cache(cls, fingerprint: str) -> Unfinished:
        """In facemeld's home, for what needs no folder of its own.

        Args:
            fingerprint: the same for two evaluations that give the same numbers, for no others.
        """
        return cls(cache_folder().parent / "unfinished" / fingerprint)

    def names(self, start: str = "") -> list[str]:
        """Of the parts that begin like this, in order."""
        if self.folder is None or not self.folder.is_dir():
            return []
        files = (file for file in self.folder.iterdir() if file.suffix in (".json", ".npz"))
        return sorted(file.stem for file in files if file.name.startswith(start))

    def get(self, part: str) -> dict | list | None:
        """What was put there, to the last bit; None where there is nothing usable."""
        try:
            return json.loads((self.folder / f"{part}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError):  # TypeError: no folder
            return None

    def put(self, part: str, content: dict | list) -> None:
        """Keeps something JSON-able."""
        text = json.dumps(content)
        self._write(f"{part}.json", lambda file: file.write_text(text, encoding="utf-8"))

    def get_arrays(self, part: str) -> dict[str, NDArray] | None:
        """What ``put_arrays`` put there; None where there is nothing usable."""
        try:
            with np.load(self.folder / f"{part}.npz", allow_pickle=False) as found:
                return dict(found)
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
            return None

    def put_arrays(self, part: str, arrays: dict[str, NDArray]) -> None:
        """Keeps arrays by name."""

        def write(path: Path) -> None:
            with path.open("wb") as file:  # given a name, np.savez would add a suffix to it
                np.savez(file, **arrays)

        self._write(f"{part}.npz", write)

    def drop(self, start: str = "") -> None:
        """Forgets the parts that begin like this."""
        for name in self.names(start):
            for suffix in (".json", ".npz"):
                (self.folder / f"{name}{suffix}").unlink(missing_ok=True)

    def clear(self) -> None:
        """Forgets all parts: the evaluation is finished."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, write) -> None:
        if self.folder is None:
            return
        try:
            write_whole(self.folder / name, write)
        except UserError:
            if self.needed:
                raise


NOTHING_KEPT = Unfinished()


class Session:
    """How long the parts of an evaluation took, those of earlier sessions with them.

    Args:
        unfinished: where the parts are.
        rank: of this process.
    """

    def __init__(self, unfinished: Unfinished, rank: int = 0) -> None:
        self.unfinished, self.began = unfinished, time.monotonic()
        self.name = f"time-{rank:03d}-{time.time_ns()}"
        self.seconds_by_part: dict[str, float] = {}
        self.spent: tuple[float, dict[str, float]] = (0.0, {})

    def keep(self) -> None:
        """Told after each part that was put: what is spent on a part that is cut is not counted."""
        self.unfinished.put(self.name, self._told())

    def finish(self) -> None:
        """Told when all is done, before the parts go: ``spent`` has it all from now on."""
        self.keep()
        self.spent = self.total()

    def total(self) -> tuple[float, dict[str, float]]:
        """Seconds of all processes in all sessions so far, and by part."""
        others = [n for n in self.unfinished.names("time-") if n != self.name]
        entries = [entry for entry in map(self.unfinished.get, others) if entry]
        seconds, parts = 0.0, {}
        for entry in (*entries, self._told()):
            seconds += entry["seconds"]
            for part, spent in entry["parts"].items():
                parts[part] = parts.get(part, 0.0) + spent
        return seconds, parts

    def _told(self) -> dict:
        return {"seconds": time.monotonic() - self.began, "parts": self.seconds_by_part}
