"""The folder that ``facemeld prepare`` writes: what lies in it, and whose it is.

``prepare.json`` says from what and how it is made; it is written first. ``manifest.jsonl``, one
JSON object a line for each file of the input, is written last, and so means that all is there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facemeld.errors import UserError
from facemeld.files import write_whole
from facemeld.images.read import shown

MANIFEST, OPTIONS, SHEET, DOMAINS = "manifest.jsonl", "prepare.json", "sheet.jpg", "domains.json"

Record = dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """What a run came to."""

    out: Path
    kept: dict[str, dict[str, int]]
    """Split -> domain -> pictures."""
    rejected: tuple[Record, ...] = field(repr=False)
    """The manifest's entries of files that were left out."""
    made_now: int
    """Files that this run worked on; the rest was there from an earlier run."""

    @property
    def reasons(self) -> dict[str, int]:
        """Why files were left out, most frequent first; figures and names taken out."""
        kinds = (re.split(r"[:(]", record["rejected"])[0].strip() for record in self.rejected)
        counts = Counter(kinds)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def resume(out: Path, state: Record) -> Prepared | None:
    """Checks that a folder is new, empty, or of a run with the same input and options.

    Args:
        out: the folder.
        state: all that decides the result; kept in ``prepare.json``.

    Returns:
        what the earlier run came to, if it is complete.

    Raises:
        UserError: it is of something else, or complete but for results that are gone.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        write_text(out / OPTIONS, json.dumps(state, indent=2) + "\n")
        return None
    _check_same(out, state)
    if not (out / MANIFEST).is_file():
        return None
    return _check_complete(out, state["input"]["files"])


def differences(before: Record, state: Record) -> list[str]:
    """In what an earlier run differs from one that is to continue it, one phrase each."""
    options = before["options"]
    changed = [
        f"{name} was {options.get(name)}, is {value}"
        for name, value in state["options"].items()
        if options.get(name) != value
    ]
    if before["input"] != state["input"]:
        changed.append("the photographs have changed")
    changed += [
        f"{name} was {_plain(before.get(name))}, is {_plain(state[name])}"
        for name in state
        if name not in ("options", "input") and before.get(name) != state[name]
    ]
    return changed


def _plain(value: object) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _check_same(out: Path, state: Record) -> None:
    fix = "choose another folder for the result, or remove this one"
    try:
        before = json.loads((out / OPTIONS).read_text(encoding="utf-8"))
        before = before | {name: dict(before[name]) for name in ("options", "input")}
    except (OSError, ValueError, TypeError, KeyError):
        raise UserError(
            "this folder is not empty, and not of an earlier run of prepare",
            where=shown(out),
            fix=fix,
        ) from None
    if changed := differences(before, state):
        raise UserError(
            f"this folder is of a run with other input or options: {'; '.join(changed)}",
            where=shown(out),
            fix=fix,
        )


def _check_complete(out: Path, files: int) -> Prepared:
    again = f"to make everything again, remove {shown(out / MANIFEST)} and run the same command"
    manifest = list(read_lines(out / MANIFEST))
    if len(manifest) != files:
        raise UserError(
            f"the manifest is damaged: it has {len(manifest)} lines for {files} files",
            where=shown(out / MANIFEST),
            fix=again,
        )
    results = {_file_of(record["result"]) for record in manifest if "result" in record}
    missing = sorted(result for result in results if not (out / result).is_file())
    if missing:
        raise UserError(
            f"{len(missing)} of the results in the manifest are gone, such as {shown(missing[0])}",
            where=shown(out),
            fix=again,
        )
    return report(out, manifest, made_now=0)


def _file_of(result: str) -> str:
    """The file that holds a result: itself, or its shard."""
    shard = result.rpartition("/")[0]
    return shard if shard.endswith(".tar") else result


def report(out: Path, manifest: list[Record], made_now: int) -> Prepared:
    """Counts what the manifest says."""
    kept: dict[str, dict[str, int]] = {"train": {}, "val": {}}
    for record in manifest:
        if "result" in record:
            split = kept["val" if record["result"].startswith("val") else "train"]
            split[record["domain"]] = split.get(record["domain"], 0) + 1
    return Prepared(out, kept, tuple(r for r in manifest if "rejected" in r), made_now)


def read_lines(path: Path) -> Iterator[Record]:
    """The JSON lines of a file; what a crash left half written is passed over."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                continue


def as_line(record: Record) -> str:
    """A record as a line; ASCII, since file names may hold what is no valid Unicode."""
    return json.dumps(record, ensure_ascii=True) + "\n"


def write_text(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
