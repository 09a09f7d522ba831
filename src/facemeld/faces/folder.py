"""Aligns the faces of a whole folder of photographs: each one recorded, nothing passed in silence.

The record is a file of JSON lines in the output folder. Its first line holds the settings; then
there is one line a face, or one that says why a photograph gave none. It is written as the work
goes on, so a run that was stopped continues, and it holds every transform, so any aligned face
can be put back.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from PIL import Image

from facemeld import __version__
from facemeld.errors import UserError
from facemeld.faces.align import Alignment, aligned, alignment, centre
from facemeld.faces.detect import FaceFinder, select
from facemeld.faces.templates import official_template
from facemeld.files import write_whole
from facemeld.images.read import is_picture_name, read_picture, shown
from facemeld.images.sheet import sheet
from facemeld.images.write import encode_photograph

RECORD = "faces.jsonl"
SHEET = "sheet.png"
_FURTHER_FACE = re.compile(r"\.face\d+$")  # how the names of a photograph's other faces end
_SHEET_FACES, _SHEET_COLUMNS, _SHEET_CELL = 96, 12, 96


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

    faces: int = 0
    photographs: int = 0
    others: int = 0
    """Files that are no pictures by their names."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Path below the input and reason, of each photograph that gave no face."""
    kinds: Counter[str] = field(default_factory=Counter)


def align_folder(
    source: Path,
    out: Path,
    options: AlignOptions,
    finder: FaceFinder,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AlignReport:
    """Aligns every photograph below a folder into the same subfolders of another.

    Args:
        source: read only. Links to files are followed, links to folders are not.
        out: new, empty, or with the record of an earlier run with the same options, which is
            continued.
        options: what to do.
        finder: of the same kind as the options.
        progress: is told how many photographs of how many are done.

    Raises:
        UserError: the folders do not fit together, or, with ``on_missing`` fail, a photograph
            without a face.
    """
    options.check()
    check_folders(source, out)
    files, others = _photographs(source)
    if not files:
        raise UserError("no pictures in this folder", where=shown(source))
    names = _result_names(files)
    target = official_template(Path(options.layout)) if options.layout else None
    record = _Record(out / RECORD, {"facemeld": __version__, "options": asdict(options)})
    with record:
        for done, file in enumerate(files):
            progress(done, len(files))
            if file in record.sources:
                continue
            entries = _align_one(source, out, file, names[file], options, finder, target)
            record.add(file, list(entries))
        progress(len(files), len(files))
    _write_sheet(out, record.entries)
    return _report(record.entries, len(files), others)


def check_folders(source: Path, out: Path) -> None:
    """UserError unless ``source`` is a folder and ``out`` neither in it, around it, nor a file."""
    if not source.is_dir():
        raise UserError("there is no such folder", where=shown(source), fix="check the path")
    inner, outer = out.resolve(), source.resolve()
    if inner.is_relative_to(outer):
        raise UserError(
            "the output lies inside the input", where=shown(out), fix="choose another folder"
        )
    if out.exists() and not out.is_dir():
        raise UserError("this is a file, not a folder", where=shown(out))
    if out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise UserError(
            f"the output folder holds other files, and no {RECORD} of an earlier run",
            where=shown(out),
            fix="choose a new or empty folder",
        )


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


def entry_of(how: Alignment) -> dict:
    """What the record says about one aligned face."""
    face = asdict(how.face) if how.face else {"kind": None}
    return face | {"size": how.size, "matrix": how.matrix}


def _align_one(
    source: Path, out: Path, file: str, name: str, options: AlignOptions, finder: FaceFinder, target
) -> Iterator[dict]:
    """Writes the faces of one photograph; yields what the record is to say."""
    try:
        photograph = read_picture(source / file)
    except UserError as error:
        yield {"source": file, "problem": error.what}
        return
    found = 0
    for picture, how in align_photograph(photograph, options, finder, target):
        found += 1
        path = f"{name}.png" if found == 1 else f"{name}.face{found}.png"
        content = encode_photograph(picture, ".png")
        write_whole(out / path, lambda partial: partial.write_bytes(content))
        about = {"source": file, "face": found, "file": path, "photograph": photograph.size}
        yield about | entry_of(how)
    if not found:
        if options.on_missing == "fail":
            raise UserError(
                "no face was found",
                where=shown(source / file),
                fix="--on-missing skip goes on without it, centre takes its centre",
            )
        yield {"source": file, "problem": "no face was found"}


class _Record:
    """The JSON lines; each photograph is added whole or, after a crash, done again."""

    def __init__(self, path: Path, header: dict) -> None:
        self.path = path
        self.entries: list[dict] = []
        lines = self._read()
        if lines and lines[0].get("options") != header["options"]:
            raise UserError(
                "the output folder was made with other options",
                where=shown(path),
                fix="choose a new or empty folder, or the same options",
            )
        self.entries = lines[1:]
        self.sources = {entry["source"] for entry in self.entries}
        text = "".join(_line(entry) for entry in (header, *self.entries))
        write_whole(path, lambda partial: partial.write_text(text, encoding="ascii"))

    def __enter__(self) -> _Record:
        self._file = self.path.open("a", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, source: str, entries: list[dict]) -> None:
        """Adds a photograph; its last line says so, so that a cut leaves no half of it."""
        entries = [entry | {"last": entry is entries[-1]} for entry in entries]
        self._file.write("".join(map(_line, entries)))
        self._file.flush()
        self.entries += entries
        self.sources.add(source)

    def _read(self) -> list[dict]:
        """Header and entries of photographs that were finished; what a cut left over is dropped."""
        if not self.path.is_file():
            return []
        lines = self.path.read_text(encoding="ascii", errors="replace").split("\n")
        whole: list[dict] = []
        open_entries: list[dict] = []
        for number, line in enumerate(lines):
            try:
                entry = json.loads(line)
            except ValueError:
                break
            if number == 0:
                whole.append(entry)
                continue
            open_entries.append(entry)
            if entry["last"]:
                whole += open_entries
                open_entries = []
        return whole


def _line(entry: dict) -> str:
    """ASCII, so that names which are not valid Unicode survive."""
    return json.dumps(entry) + "\n"


def _photographs(source: Path) -> tuple[list[str], int]:
    """Pictures below a folder, sorted, as paths with slashes, and how many other files."""
    found, others = [], 0
    for folder, subfolders, names in os.walk(source):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        below = Path(folder).relative_to(source)
        pictures = [name for name in sorted(names) if is_picture_name(name)]
        found += [(below / name).as_posix() for name in pictures]
        others += len(names) - len(pictures)
    return found, others


def _result_names(files: list[str]) -> dict[str, str]:
    """For each photograph a result's path without suffix; a.jpg and a.png get different ones."""
    taken = {Path(SHEET).stem}
    names = {}
    for file in files:
        path = Path(file)
        name = path.with_suffix("").as_posix()
        if name.casefold() in taken or _FURTHER_FACE.search(name):
            name = f"{name}_{path.suffix[1:]}"
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        names[file] = name
    return names


def _write_sheet(out: Path, entries: list[dict]) -> None:
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


def _report(entries: list[dict], photographs: int, others: int) -> AlignReport:
    report = AlignReport(photographs=photographs, others=others)
    for entry in entries:
        if "problem" in entry:
            report.problems.append((entry["source"], entry["problem"]))
        else:
            report.faces += 1
            report.kinds[entry["kind"] or "centre"] += 1
    return report
