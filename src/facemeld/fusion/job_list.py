"""Job lists: a CSV file in which each row is a fusion, or a folder of which each picture is one.

Without torch, so that mistakes in a list are told at once, with their line.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from facemeld.config import LEVELS, NetworkConfig
from facemeld.config.checks import without_none
from facemeld.errors import UserError, did_you_mean
from facemeld.fusion.regions import NAMES
from facemeld.fusion.request import Controls, check_request
from facemeld.images.read import is_picture_name, read_file, shown
from facemeld.images.write import FORMAT_OF_SUFFIX

SEPARATOR = "|"
"""Between several values in one cell."""
_LARGEST_LIST = 100_000_000  # bytes
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")
_TYPES = {
    name: without_none(hint)
    for name, hint in typing.get_type_hints(Controls).items()
    if name != "variations"
}
_PICTURES = ("second_source", *LEVELS)
COLUMNS = ("source", "reference", "region", "out", *_PICTURES, *_TYPES)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One fusion: files and controls; nothing of it is read yet."""

    where: str
    """The list and its line, or the folder."""
    source: Path
    out: PurePosixPath
    """The result, below the output folder."""
    references: tuple[Path, ...] = ()
    levels: dict[str, Path] = field(default_factory=dict)
    regions: tuple[tuple[str | Path, Path], ...] = ()
    second_source: Path | None = None
    controls: Controls = Controls()

    @property
    def look(self) -> tuple:
        """All but source and result: jobs that have it in common are fused together."""
        levels = tuple(sorted(self.levels.items()))
        return self.references, levels, self.regions, self.second_source, self.controls


def read_job_list(path: Path, default: Job) -> list[Job]:
    """The rows of a CSV file with a header; empty cells and columns that are not there take what
    ``default`` has. Paths are relative to the file.

    Raises:
        UserError: not such a file, unknown columns, values of the wrong kind, results outside the
            output folder or with the same name.
    """
    rows = csv.DictReader(io.StringIO(_text(path)), strict=True)
    try:
        _check_columns(path, rows.fieldnames or [])
        jobs = [
            _job(row, f"{shown(path)}, line {rows.line_num}", path.parent, default, number)
            for number, row in enumerate(rows, 1)
        ]
    except csv.Error as error:
        raise UserError(
            f"this is not a CSV file: {error}", where=f"{shown(path)}, line {rows.line_num}"
        ) from None
    if not jobs:
        raise UserError("the list has no jobs", where=shown(path), fix="add a row below the header")
    return _checked_names(jobs)


def jobs_of_folder(folder: Path, default: Job) -> list[Job]:
    """A job for each picture in a folder and below; the result has its name, as a PNG.

    Raises:
        UserError: no pictures.
    """
    files = sorted(p for p in folder.rglob("*") if is_picture_name(p) and p.is_file())
    if not files:
        raise UserError("no pictures in this folder", where=shown(folder))
    names = [PurePosixPath(file.relative_to(folder).as_posix()) for file in files]
    stems = [str(name.with_suffix("")).casefold() for name in names]
    jobs = []
    for file, name, stem in zip(files, names, stems):
        # a.jpg and a.png are two pictures
        plain = name.stem if stems.count(stem) == 1 else name.name.replace(".", "_")
        out = name.with_name(f"{plain}.png")
        jobs.append(replace(default, where=shown(file), source=file, out=out))
    return _checked_names(jobs)


def check_jobs(jobs: Sequence[Job], config: NetworkConfig) -> None:
    """UserError with the first few jobs whose controls do not fit the model or one another."""
    problems: list[str] = []
    seen: set[tuple] = set()
    for job in jobs:
        kind = (len(job.references), tuple(job.levels), len(job.regions), job.controls)
        kind += (job.second_source is None,)
        if kind in seen:
            continue
        seen.add(kind)
        try:
            check_request(
                len(job.references),
                job.controls,
                config,
                levels=job.levels,
                regions=len(job.regions),
                second_source=job.second_source is not None,
            )
        except UserError as error:
            problems.append(f"{job.where}: {error.what}" + (f" ({error.fix})" if error.fix else ""))
    _raise_all(problems)


def _text(path: Path) -> str:
    if not path.is_file():
        raise UserError("there is no such list", where=shown(path), fix="check the path")
    content = read_file(path, max_bytes=_LARGEST_LIST)
    try:
        if b"\0" in content:
            raise ValueError
        return content.decode("utf-8-sig")
    except ValueError:
        raise UserError(
            "the list is not UTF-8 text", where=shown(path), fix="save it as CSV in UTF-8"
        ) from None


def _check_columns(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            raise UserError(
                f"the list has an unknown column '{shown(name)}'",
                where=shown(path),
                fix=did_you_mean(name, COLUMNS),
            )
    if "source" not in names:
        raise UserError(
            "the list has no column 'source'",
            where=shown(path),
            fix=f"its first line names the columns, with commas: {', '.join(COLUMNS)}",
        )
    if len(set(names)) < len(names):
        raise UserError("the list has a column twice", where=shown(path))


def _job(row: dict, where: str, folder: Path, default: Job, number: int) -> Job:
    if None in row or None in row.values():
        raise UserError(
            "the row has another number of cells than the header",
            where=where,
            fix="put quotes around cells with commas",
        )
    cells = {name: value.strip() for name, value in row.items() if value.strip()}
    if "source" not in cells:
        raise UserError("the row names no source", where=where)
    source = folder / cells["source"]
    given: dict = {"where": where, "source": source}
    values = {name: _value(name, cells[name], where) for name in _TYPES if name in cells}
    if "reference" in cells:
        given["references"] = tuple(folder / name for name in _parts(cells["reference"]))
    if "region" in cells:
        given["regions"] = tuple(_region(part, folder, where) for part in _parts(cells["region"]))
    if "second_source" in cells:
        given["second_source"] = folder / cells["second_source"]
    elif values.get("latent"):  # a random look instead of the references for all
        given["references"] = ()
        values.setdefault("weights", None)
    own = {name: folder / cells[name] for name in LEVELS if name in cells}
    return replace(
        default,
        **given,
        levels=default.levels | own,
        controls=replace(default.controls, **values),
        out=_below(cells.get("out") or f"{number:04d}_{source.stem}.png", where),
    )


def _parts(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(SEPARATOR) if part.strip()]


def _region(text: str, folder: Path, where: str) -> tuple[str | Path, Path]:
    place, equals, picture = text.partition("=")
    if not (place and equals and picture):
        raise UserError(
            f"'{shown(text)}' does not say where and what",
            where=where,
            fix="write for example: left=cat.jpg",
        )
    return place if place in NAMES else folder / place, folder / picture


def _value(name: str, text: str, where: str):
    """A cell as what the control of that name is."""
    kind = _TYPES[name]
    try:
        if kind is bool:
            if text.lower() not in (*_YES, *_NO):
                raise ValueError
            return text.lower() in _YES
        if kind in (int, float, str):
            return kind(text)
        return tuple(float(part) for part in _parts(text))
    except ValueError:
        wanted = {bool: "yes or no", int: "a whole number", float: "a number"}
        raise UserError(
            f"{name} is '{shown(text)}', but must be "
            + wanted.get(kind, f"numbers with {SEPARATOR} between them"),
            where=where,
        ) from None


def _below(name: str, where: str) -> PurePosixPath:
    """The name of a result, which must not lead out of the output folder."""
    path = PurePosixPath(name)
    foreign = PureWindowsPath(name)
    if path.is_absolute() or foreign.drive or foreign.root or ".." in foreign.parts or "\0" in name:
        raise UserError(
            f"the result '{shown(name)}' lies outside the output folder",
            where=where,
            fix="name a file below it",
        )
    if path.suffix.lower() not in FORMAT_OF_SUFFIX:
        raise UserError(
            f"pictures cannot be written as '{shown(path.suffix)}'",
            where=where,
            fix=did_you_mean(path.suffix, tuple(FORMAT_OF_SUFFIX)),
        )
    return path


def _checked_names(jobs: list[Job]) -> list[Job]:
    """UserError if two results have one name, where capitals may not count."""
    first: dict[str, str] = {}
    problems = []
    for job in jobs:
        name = str(job.out).casefold()
        if name in first:
            problems.append(f"{job.where}: '{shown(str(job.out))}' is the result of {first[name]}")
        first.setdefault(name, job.where)
    _raise_all(problems)
    return jobs


def _raise_all(problems: Sequence[str], most: int = 5) -> None:
    if not problems:
        return
    more = [f"… and {len(problems) - most} more"] if len(problems) > most else []
    raise UserError(
        "; ".join([*problems[:most], *more]), where="the jobs", fix="nothing was begun; mend these"
    )


def with_variations(jobs: Sequence[Job]) -> Iterator[Job]:
    """Each job, or in its place one for each of its variations."""
    for job in jobs:
        if not job.controls.variations:
            yield job
        for number in job.controls.variations:
            controls = dataclasses.replace(job.controls, variations=(number,))
            out = job.out.with_stem(f"{job.out.stem}_variation{number}")
            yield replace(job, controls=controls, out=out)
