"""Many fusions: what was done is recorded, so that a run goes on where it stopped; what fails is
recorded and told, and does not stop the rest; several processes divide the list.

The record is ``results.jsonl`` beside the results (``results.RANK.jsonl`` of the other processes):
a line for each job, with the SHA-256 of all that it depends on and of the picture that it gave.
``results.backend`` says what computes them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from facemeld.errors import UserError
from facemeld.files import write_whole
from facemeld.fusion.choice import named_backend
from facemeld.fusion.inputs import Input, file_sha256, read_input
from facemeld.fusion.job_list import Job
from facemeld.fusion.looks import Looks, read_looks
from facemeld.images.read import shown
from facemeld.images.write import write_picture

if TYPE_CHECKING:
    from typing import TextIO

RECORD = "results.jsonl"
AGREED = "results.backend"
AT_ONCE = 8
"""Sources that are read, and given to the model, together."""
_LONGEST_REASON = 300  # letters of what a library says

Fuse = Callable[[list[Job], list[Input], Looks], tuple[list[Image.Image], list[dict]]]
"""Jobs with one look and the same controls, their sources, read, and the look -> a picture and its
settings for each."""


@dataclass
class JobReport:
    """How a run went."""

    done: int = 0
    already: int = 0
    """Done by an earlier run, and still there."""
    failed: list[dict] = field(default_factory=list)
    """What the record says of them."""


class _Record:
    """What earlier runs have done, of all processes; and the file of this one."""

    def __init__(self, out: Path, rank: int) -> None:
        self.out = out
        self.done: dict[str, tuple[str, str]] = {}
        for path in sorted(out.glob("results*.jsonl")):
            for entry in _entries(path):
                if entry.get("status") == "done":
                    self.done[entry["out"]] = (entry["key"], entry["sha256"])
        self.path = out / (RECORD if rank == 0 else f"results.{rank}.jsonl")

    def holds(self, job: Job, key: str) -> bool:
        """Whether this very result was made, and lies there unchanged."""
        known, sha256 = self.done.get(str(job.out), ("", ""))
        path = self.out / job.out
        return known == key and path.is_file() and file_sha256(path) == sha256

    def open(self) -> TextIO:
        """To add lines to; a last line that was cut off gets its end."""
        file = self.path.open("a+b")
        if file.tell() and not self.path.read_bytes().endswith(b"\n"):
            file.write(b"\n")
        return io.TextIOWrapper(file, encoding="ascii")


def run_jobs(
    jobs: Sequence[Job],
    out: Path,
    fuse: Fuse,
    *,
    about: dict,
    keep_settings: bool = True,
    rank: int = 0,
    ranks: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    on_failure: Callable[[dict], None] = lambda entry: None,
) -> JobReport:
    """Does this process's share of the jobs.

    Args:
        jobs: all of them, the same for all processes.
        out: folder of the results and of the record.
        fuse: makes pictures of sources with one look.
        about: what all results depend on besides their jobs, as JSON values: the model, …
        keep_settings: write the settings into the pictures.
        rank: of this process.
        ranks: how many processes there are.
        progress: is told how many jobs of how many are over.
        on_failure: is told of each job that failed.

    Raises:
        UserError: the folder cannot be written to. What is wrong with single jobs is in the report.
    """
    out.mkdir(parents=True, exist_ok=True)
    record = _Record(out, rank)
    mine = list(jobs[rank::ranks])
    keys = _Keys(about | {"keep_settings": keep_settings})
    report, over = JobReport(), 0
    with record.open() as file:

        def note(entry: dict) -> None:
            file.write(json.dumps(entry) + "\n")
            file.flush()

        for at_once in _groups(mine):
            progress(over, len(mine))
            for job, result in _results(at_once, record, keys, fuse):
                entry = {"out": str(job.out), "source": str(job.source), "where": job.where}
                if result is None:
                    report.already += 1
                    continue
                if not isinstance(result, UserError):
                    result = _written(job, out, *result, keep_settings)
                if isinstance(result, UserError):
                    entry |= {"status": "failed", "error": result.what, "about": result.where}
                    report.failed.append(entry)
                    on_failure(entry)
                else:
                    entry |= {"status": "done", "key": keys.of(job), "sha256": result}
                    report.done += 1
                note(entry)
            over += len(at_once)
        progress(over, len(mine))
    return report


def agreed_backend(
    out: Path,
    usable: Sequence[str],
    decide: Callable[[], str],
    *,
    rank: int = 0,
    wait: float = 600.0,
) -> str:
    """What computes all results of a folder, where that was left open, like ``torch-bf16``.

    Processes that measured for themselves could choose differently, and the next run would not know
    the results again. So the first process decides, and its word stays in the folder.

    Args:
        out: folder of the results.
        usable: backends that could.
        decide: names the one that does; called if none of those was agreed on.
        rank: of this process.
        wait: seconds that the others give the first.

    Raises:
        UserError: the first process has not decided.
    """
    path, end = out / AGREED, time.monotonic() + wait
    while True:
        try:
            name = path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            name = ""
        if named_backend(name)["backend"] in usable:
            return name
        if rank == 0:
            name = decide()
            write_whole(path, lambda partial: partial.write_text(f"{name}\n", "ascii"))
            return name
        if time.monotonic() > end:
            raise UserError(
                "the first process has not decided what computes",
                where=str(path),
                fix="share the output folder between all machines, or name a --backend",
            )
        time.sleep(0.2)


def check_results_apart(jobs: Sequence[Job], out: Path) -> None:
    """UserError if a result would replace an input, or a link leads it out of its folder."""
    inputs = {path.resolve() for job in jobs for path in _files(job)}
    inside = out.resolve()
    for job in jobs:
        target = (out / job.out).resolve()
        if target in inputs:
            raise UserError(
                f"the result {shown(str(job.out))} would replace an input",
                where=job.where,
                fix="choose another folder with --out",
            )
        if not target.is_relative_to(inside):
            raise UserError(
                f"the result '{shown(str(job.out))}' lies outside the output folder",
                where=job.where,
                fix="remove the link that leads there",
            )


def _groups(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Neighbours that have a look in common, so many at once."""
    for _, group in groupby(jobs, key=lambda job: job.look):
        group = list(group)
        for start in range(0, len(group), AT_ONCE):
            yield group[start : start + AT_ONCE]


def _results(
    jobs: Sequence[Job], record: _Record, keys: _Keys, fuse: Fuse
) -> Iterator[tuple[Job, UserError | tuple[Image.Image, dict] | None]]:
    """For each job its picture and settings, what is wrong, or None if it was done before."""
    todo: list[tuple[Job, Input]] = []
    looks = None
    for job in jobs:
        try:
            if record.holds(job, keys.of(job)):
                yield job, None
                continue
            looks = looks or read_looks(job.references, job.levels, job.regions, job.second_source)
            todo.append((job, read_input(job.source)))
        except Exception as error:
            yield job, _failure(error)
    if not todo:
        return
    given = [job for job, _ in todo]
    try:
        results = list(zip(*fuse(given, [source for _, source in todo], looks)))
    except Exception:  # one of them is to blame, and not the others
        results = [_alone(job, source, looks, fuse) for job, source in todo]
    yield from zip(given, results)


def _alone(
    job: Job, source: Input, looks: Looks, fuse: Fuse
) -> UserError | tuple[Image.Image, dict]:
    try:
        images, settings = fuse([job], [source], looks)
    except Exception as error:
        return _failure(error)
    return images[0], settings[0]


def _failure(error: Exception) -> UserError:
    """What went wrong with one job: of what nobody foresaw (memory, a fault in a library) also the
    kind."""
    if isinstance(error, UserError):
        return error
    return UserError(" ".join([type(error).__name__, *str(error).split()])[:_LONGEST_REASON])


def _written(
    job: Job, out: Path, image: Image.Image, settings: dict, keep_settings: bool
) -> str | UserError:
    """SHA-256 of the picture that was written, or what is wrong."""
    path = out / job.out
    try:
        write_picture(image, path, settings=settings if keep_settings else None)
    except Exception as error:
        return _failure(error)
    return file_sha256(path)


class _Keys:
    """SHA-256 of everything that a job's result depends on."""

    def __init__(self, about: dict) -> None:
        self.about = about
        self.files: dict[Path, str] = {}

    def of(self, job: Job) -> str:
        """Raises UserError if a file of the job is not there."""
        facts = {
            "about": self.about,
            "controls": dataclasses.asdict(job.controls),
            "source": self._file(job.source),
            "references": [self._file(path) for path in job.references],
            "levels": {level: self._file(path) for level, path in job.levels.items()},
            "regions": [
                [where if isinstance(where, str) else self._file(where), self._file(path)]
                for where, path in job.regions
            ],
            "second_source": self._file(job.second_source) if job.second_source else None,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _file(self, path: Path) -> str:
        if path not in self.files:
            if not path.is_file():
                raise UserError("there is no such file", where=shown(path))
            try:
                self.files[path] = file_sha256(path)
            except OSError as error:
                raise UserError(
                    f"the file cannot be read: {error.strerror}", where=shown(path)
                ) from error
        return self.files[path]


def _files(job: Job) -> Iterator[Path]:
    yield job.source
    yield from job.references
    yield from job.levels.values()
    for where, path in job.regions:
        yield path
        if isinstance(where, Path):
            yield where
    if job.second_source is not None:
        yield job.second_source


def _entries(path: Path) -> Iterator[dict]:
    """The lines of a record; a last one that was cut off is left out."""
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry
