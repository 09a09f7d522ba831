"""Aligns the faces of a whole folder of photographs: each file recorded, nothing passed in silence.

The record is a file of JSON lines in the output folder. Its first line holds all that decides the
result: the options, a digest of the input, the detectors. Then there is one line a face, or one
that says why a file gave none. It is written as the work goes on, so a run that was stopped
continues, and it holds every transform, so any aligned face can be put back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from facemeld import __version__
from facemeld.data.inventory import SourceFile, refuse_nesting, take_inventory
from facemeld.data.parallel import in_processes, usable_cores
from facemeld.data.prepared_folder import differences
from facemeld.errors import UserError
from facemeld.faces.align import Alignment, aligned, alignment, centre
from facemeld.faces.detect import FaceFinder, own_finder, select
from facemeld.faces.templates import official_template
from facemeld.files import write_whole
from facemeld.images.read import read_picture, shown
from facemeld.images.sheet import sheet
from facemeld.images.write import encode_photograph

RECORD = "faces.jsonl"
SHEET = "sheet.png"
_BATCH = 4  # files a task
_FURTHER_FACE = re.compile(r"\.face\d+$")  # how the names of a photograph's other faces end
_LONGEST_NAME = 200  # bytes; file systems take 255, and further faces add to it
_SHEET_FACES, _SHEET_COLUMNS, _SHEET_CELL = 96, 12, 96

Entry = dict[str, Any]
"""A line of the record."""


@dataclass(frozen=True, kw_only=True)
class AlignOptions:
    """What is to be done with every photograph."""

    kind: str = "auto"
    """human, animal, anime or auto."""
    size: int = 256
    """Side of the aligned pictures in pixels."""
    faces: str = "largest"
    """The largest of each photograph, or all."""
    on_missing: str = "skip"
    """What a photograph without a face gives: skip (a line in the record), centre or fail."""
    layout: str | None = None
    """Path of ``celeba_lm_mean.npz``, to align people to CelebA-HQ instead of the template."""

    def check(self) -> None:
        """UserError if the size is out of range."""
        if not 16 <= self.size <= 4096:
            raise UserError(f"size is {self.size}, but must be 16 to 4096 pixels", where="--size")


@dataclass
class AlignReport:
    """How a run went."""

    files: int = 0
    """Of the input, whatever they are."""
    photographs: int = 0
    """Those that are pictures and can be read."""
    faces: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Path below the input and reason, of each file that gave no face."""
    kinds: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Job:
    """What is the same for all photographs of a run."""

    source: Path
    out: Path
    options: AlignOptions
    weights_dir: Path | None


def align_folder(
    source: Path,
    out: Path,
    options: AlignOptions,
    *,
    weights_dir: Path | None = None,
    processes: int | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> AlignReport:
    """Aligns every photograph below a folder into the same subfolders of another.

    Args:
        source: read only. Links to files are followed, links to folders are not.
        out: new, empty, or with the record of an earlier run with the same input and options,
            which is continued.
        options: what to do.
        weights_dir: folder to look in first for the detectors.
        processes: worker processes; None: one a core that may be used.
        progress: is told how many files of how many are done.

    Raises:
        UserError: the folders do not fit together, or, with ``on_missing`` fail, a photograph
            without a face.
    """
    options.check()
    if processes is not None and processes < 1:
        raise UserError(f"processes is {processes}, but must be at least 1", where="--processes")
    inventory = take_inventory(source, "")
    refuse_nesting(inventory, out)
    if options.layout:
        official_template(Path(options.layout))
    header = {
        "facemeld": __version__,
        "options": asdict(options),
        "input": {"files": len(inventory.files), "digest": inventory.digest},
        "detectors": list(own_finder(options.kind, weights_dir).detectors),
    }
    files = inventory.files
    names = _result_names([file.path for file in files])
    with _Record(out, header) as record:
        missing = [(file, names[file.path]) for file in files if file.path not in record.sources]
        batches = [missing[i : i + _BATCH] for i in range(0, len(missing), _BATCH)]
        progress(len(record.sources), len(files))
        work = partial(_align_some, _Job(source, out, options, weights_dir))
        for some in in_processes(work, batches, processes or usable_cores()):
            record.add(some)
            progress(len(record.sources), len(files))
    record.sort([file.path for file in files])
    _write_sheet(out, record.entries)
    return _report(record.entries, len(files))


def align_photograph(
    photograph: Image.Image,
    options: AlignOptions,
    finder: FaceFinder,
    target=None,
) -> Iterator[tuple[Image.Image, Alignment]]:
    """The aligned faces of one photograph; with ``on_missing`` centre, at least its centre."""
    ways = [
        alignment(face, options.size, target=target if face.kind == "human" else None)
        for face in select(finder.find(photograph), options.faces)
    ]
    if not ways and options.on_missing == "centre":
        ways = [centre(photograph, options.size)]
    for how in ways:
        yield aligned(photograph, how), how


def entry_of(how: Alignment) -> Entry:
    """What the record says about one aligned face."""
    face = asdict(how.face) if how.face else {"kind": None}
    return face | {"size": how.size, "matrix": how.matrix}


def _align_some(job: _Job, files: Sequence[tuple[SourceFile, str]]) -> list[list[Entry]]:
    """Writes the faces of some files; for each, what the record is to say."""
    return [list(_align_one(job, file, name)) for file, name in files]


def _align_one(job: _Job, file: SourceFile, name: str) -> Iterator[Entry]:
    about: Entry = {"source": file.path}
    if file.problem:
        yield about | {"problem": file.problem}
        return
    try:
        photograph = read_picture(job.source / file.path)
    except UserError as error:
        yield about | {"problem": error.what}
        return
    about["photograph"] = photograph.size
    options, finder = job.options, own_finder(job.options.kind, job.weights_dir)
    target = official_template(Path(options.layout)) if options.layout else None
    found = 0
    for picture, how in align_photograph(photograph, options, finder, target):
        found += 1
        path = f"{name}.png" if found == 1 else f"{name}.face{found}.png"
        content = encode_photograph(picture, ".png")
        write_whole(job.out / path, lambda partial: partial.write_bytes(content))
        yield about | {"face": found, "file": path} | entry_of(how)
    if not found:
        if options.on_missing == "fail":
            raise UserError(
                "no face was found",
                where=shown(job.source / file.path),
                fix="--on-missing skip goes on without it, centre takes its centre",
            )
        yield about | {"problem": "no face was found"}


class _Record:
    """The JSON lines; each photograph is added whole or, after a crash, done again.

    Args:
        out: the output folder.
        header: what the first line is to say.

    Raises:
        UserError: the folder holds something else, or a run with other input or options.
    """

    def __init__(self, out: Path, header: Entry) -> None:
        self.path, self.header = out / RECORD, header
        self.entries: list[Entry] = []
        if out.exists() and not out.is_dir():
            raise UserError("this is a file, not a folder", where=shown(out))
        if out.is_dir() and any(out.iterdir()):
            lines = self._lines()
            self._check(next(lines, None))
            for entries in _photographs(lines):
                if all(self._stands(entry) for entry in entries):
                    self.entries += entries
        self.sources = {entry["source"] for entry in self.entries}
        self._write()

    def __enter__(self) -> _Record:
        self._file = self.path.open("a", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, photographs: list[list[Entry]]) -> None:
        """Adds photographs; the last line of each says so, so that a cut leaves no half of it."""
        for entries in photographs:
            entries = [entry | {"last": entry is entries[-1]} for entry in entries]
            self._file.write("".join(map(_line, entries)))
            self.entries += entries
            self.sources.add(entries[0]["source"])
        self._file.flush()

    def sort(self, sources: list[str]) -> None:
        """Writes the lines in the order of their sources, whichever process was first."""
        place = {source: index for index, source in enumerate(sources)}
        self.entries.sort(key=lambda entry: place[entry["source"]])  # stable: faces stay in order
        self._write()

    def _stands(self, entry: Entry) -> bool:
        """Whether it still holds: the face is there. What could not be read is tried again."""
        return "photograph" in entry and (
            "file" not in entry or (self.path.parent / entry["file"]).is_file()
        )

    def _write(self) -> None:
        text = "".join(map(_line, (self.header, *self.entries)))
        write_whole(self.path, lambda partial: partial.write_text(text, encoding="ascii"))

    def _check(self, before: Entry | None) -> None:
        fix = "choose a new or empty folder for the faces"
        names = ("options", "input")
        if before is None or not all(isinstance(before.get(name), dict) for name in names):
            raise UserError(
                f"this folder is not empty, and holds no {RECORD} of an earlier run",
                where=shown(self.path.parent),
                fix=fix,
            )
        if changed := differences(before, self.header):
            raise UserError(
                f"this folder is of a run with other input or options: {'; '.join(changed)}",
                where=shown(self.path.parent),
                fix=fix,
            )

    def _lines(self) -> Iterator[Entry]:
        """The whole lines; what a crash left half written is the end."""
        if not self.path.is_file():
            return
        with self.path.open(encoding="ascii", errors="replace") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    return
                if not isinstance(entry, dict):
                    return
                yield entry


def _photographs(lines: Iterator[Entry]) -> Iterator[list[Entry]]:
    """The lines of one photograph after the other; those of one that was cut are left out."""
    entries: list[Entry] = []
    for entry in lines:
        entries.append(entry)
        if entry.get("last"):
            yield entries
            entries = []


def _line(entry: Entry) -> str:
    """ASCII, so that names which are not valid Unicode survive."""
    return json.dumps(entry) + "\n"


def _result_names(files: list[str]) -> dict[str, str]:
    """For each file a result's path without suffix; a.jpg and a.png get different ones."""
    folders = {parent.as_posix() for file in files for parent in Path(file).parents}
    taken = {path.casefold() for path in (SHEET, RECORD, *folders)}
    names = {}
    for file in files:
        path = Path(file)
        name = path.with_suffix("").as_posix()
        if len(os.fsencode(path.name)) > _LONGEST_NAME:
            name = path.with_name(hashlib.sha256(os.fsencode(file)).hexdigest()).as_posix()
        if f"{name}.png".casefold() in taken or _FURTHER_FACE.search(name):
            name = f"{name}_{path.suffix[1:]}"
        while f"{name}.png".casefold() in taken:
            name += "_"
        taken.add(f"{name}.png".casefold())
        names[file] = name
    return names


def _write_sheet(out: Path, entries: list[Entry]) -> None:
    files = [entry["file"] for entry in entries if "file" in entry]
    if not files:
        return
    step = max(1, -(-len(files) // _SHEET_FACES))
    pictures = []
    for name in files[::step]:
        picture = read_picture(out / name)
        picture.thumbnail((_SHEET_CELL, _SHEET_CELL), Image.Resampling.LANCZOS)
        pictures.append(picture)
    rows = [pictures[i : i + _SHEET_COLUMNS] for i in range(0, len(pictures), _SHEET_COLUMNS)]
    content = encode_photograph(sheet(rows, cell=_SHEET_CELL), ".png")
    write_whole(out / SHEET, lambda partial: partial.write_bytes(content))


def _report(entries: list[Entry], files: int) -> AlignReport:
    report = AlignReport(files=files)
    report.photographs = len({e["source"] for e in entries if "photograph" in e})
    for entry in entries:
        if "problem" in entry:
            report.problems.append((entry["source"], entry["problem"]))
        else:
            report.faces += 1
            report.kinds[entry["kind"] or "centre"] += 1
    return report
