"""From a folder of photographs to training pictures: checked, square, no copies, split, accounted.

Every file is made into a square picture in a work folder, in parallel, and noted in a journal, so
that a run that was cut goes on. When all are there, it is decided which are copies of each other
and which are for validation; then the pictures go to their places, or into shards, and
``manifest.jsonl`` says of each file of the input what became of it.

The result is a function of the input and the options: not of the machine, the number of processes
or the order in which they finish.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from facemeld import __version__
from facemeld.data.duplicates import MOST_SIGNS, Signature, near_duplicates
from facemeld.data.inventory import Inventory, refuse_nesting, take_inventory
from facemeld.data.parallel import in_processes, usable_cores
from facemeld.data.prepared_folder import (
    DOMAINS,
    MANIFEST,
    SHEET,
    Prepared,
    Record,
    as_line,
    read_lines,
    report,
    resume,
    write_text,
)
from facemeld.data.shards import Sample, write_shard
from facemeld.data.squares import AlignerFactory, SquareJob, make_squares
from facemeld.errors import UserError, did_you_mean
from facemeld.files import locked, write_whole
from facemeld.images.read import read_picture, shown
from facemeld.images.sheet import sheet
from facemeld.images.write import encode_photograph

FORMATS = ("png", "jpg", "webp")
_WORK = ".work"
_BATCH = 4  # files a task: small, so that the bar moves and little is lost
_SHEET_COLUMNS, _SHEET_CELL = 12, 96


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """What a run does; together with the input it decides every byte of the result."""

    size: int = 256
    """Side of the pictures in pixels."""
    domain: str | None = None
    """The one domain that all files are of; without it, each subfolder is a domain."""
    align: str | None = None
    """Kind of faces that an aligner brings to one place; None: the centre square is cut out."""
    validation: float = 0.1
    """Share of the pictures that go to ``val``."""
    format: str = "png"
    """png or webp (lossless), or jpg."""
    quality: int = 95
    """Of jpg."""
    smallest: int | None = None
    """Shorter side below which a photograph is rejected; None: half of ``size``."""
    shards: int | None = None
    """Pictures in a WebDataset shard; None: single files."""

    def problems(self) -> list[str]:
        """What is wrong with these values, one line each; empty if nothing."""
        found = []
        if not 8 <= self.size <= 4096:
            found.append(f"size is {self.size}, but must be from 8 to 4096")
        if not 0 <= self.validation < 1:
            found.append(f"validation is {self.validation}, but must be at least 0 and below 1")
        if self.format not in FORMATS:
            found.append(f"format is '{self.format}': {did_you_mean(self.format, FORMATS)}")
        if not 1 <= self.quality <= 100:
            found.append(f"quality is {self.quality}, but must be from 1 to 100")
        if self.smallest is not None and self.smallest < 1:
            found.append(f"smallest is {self.smallest}, but must be at least 1")
        if self.shards is not None and self.shards < 1:
            found.append(f"shards is {self.shards}, but must be at least 1 picture")
        if self.domain is not None and not _is_folder_name(self.domain):
            found.append(f"domain is '{shown(self.domain)}', which cannot be a folder's name")
        return found


def prepare(
    source: str | Path,
    out: str | Path,
    options: PrepareOptions = PrepareOptions(),
    *,
    aligner: AlignerFactory | None = None,
    detectors: Sequence[str] = (),
    processes: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Prepared:
    """Make training pictures of a folder of photographs.

    The input is only read. `out` gets ``train/DOMAIN/`` and ``val/DOMAIN/`` with files or shards,
    ``manifest.jsonl``, ``domains.json``, ``sheet.jpg`` and ``prepare.json``. A run that was cut
    goes on; one that is complete is left as it is.

    Args:
        source: a subfolder for each domain, or the folder of the one `options.domain`.
        out: a new or empty folder, or one of an earlier run with the same input and options.
        options: see `PrepareOptions`.
        aligner: finds and aligns the face in a photograph; given exactly if `options.align` is.
        detectors: names of what the aligner finds faces with, since that, too, decides the result.
        processes: worker processes; None: one a core that may be used. Each holds one decoded
            photograph: about 1 GB at most, for the largest with transparency that are allowed.
        progress: called with (files done, files in all).

    Raises:
        UserError: options or folders that cannot be; no picture is left; the disk is full.
    """
    assert (aligner is None) == (options.align is None)
    source, out = Path(source), Path(out)
    problems = options.problems()
    if processes is not None and processes < 1:
        problems.append(f"processes is {processes}, but must be at least 1")
    if problems:
        raise UserError("; ".join(problems), where="prepare")
    inventory = take_inventory(source, options.domain)
    refuse_nesting(inventory, out)
    finished = resume(out, _state(inventory, options, detectors))
    work = out / _WORK
    if finished is not None:
        shutil.rmtree(work, ignore_errors=True)  # of a run that was cut when all was done
        return finished
    work.mkdir(exist_ok=True)
    with locked(work / "lock", what="another preparation of this folder"):
        job = SquareJob(
            root=source,
            work=work,
            size=options.size,
            smallest=options.smallest or max(1, options.size // 2),
            suffix=f".{options.format}",
            quality=options.quality,
            aligner=aligner,
        )
        run = _Run(out, inventory, options, job)
        made_now = run.make_all(processes or usable_cores(), progress)
        manifest = run.finish()
    shutil.rmtree(work, ignore_errors=True)
    return report(out, manifest, made_now)


class _Run:
    """One run: its journal, and what is decided when the journal is full."""

    def __init__(
        self, out: Path, inventory: Inventory, options: PrepareOptions, job: SquareJob
    ) -> None:
        self.out, self.inventory, self.options, self.job = out, inventory, options, job
        self.journal = job.work / "journal.jsonl"
        self.records: dict[int, Record] = {}

    def make_all(self, processes: int, progress: Callable[[int, int], object] | None) -> int:
        """Makes what the journal does not have yet; how many files that was."""
        files = self.inventory.files
        self.records = {
            record["index"]: record for record in read_lines(self.journal) if self._stands(record)
        }
        missing = [(i, file) for i, file in enumerate(files) if i not in self.records]
        batches = [missing[i : i + _BATCH] for i in range(0, len(missing), _BATCH)]
        # written anew, without what a crash left half written
        write_text(self.journal, "".join(map(as_line, self.records.values())))
        with self.journal.open("a", encoding="utf-8") as journal:
            if progress is not None:
                progress(len(self.records), len(files))
            for made in in_processes(partial(make_squares, self.job), batches, processes):
                for record in made:
                    self.records[record["index"]] = record
                    journal.write(as_line(record))
                journal.flush()
                if progress is not None:
                    progress(len(self.records), len(files))
        return len(missing)

    def _stands(self, record: Record) -> bool:
        """Whether what the journal says of a file is there."""
        if "rejected" in record:
            return True
        return self.job.path(record["index"]).is_file() or self._place(record).is_file()

    def finish(self) -> list[Record]:
        """Decides, puts the pictures in their places, writes the manifest last."""
        records = [self.records[i] for i in range(len(self.inventory.files))]
        _mark_copies(records)
        kept = [record for record in records if "rejected" not in record]
        if not kept:
            reasons = Counter(record["rejected"] for record in records).most_common(3)
            raise UserError(
                f"no picture is left of {len(records)} files: "
                + "; ".join(f"{count} x {reason}" for reason, count in reasons),
                where=shown(self.inventory.root),
            )
        domains = self.inventory.domains
        if self.options.shards is None:
            for record in kept:
                self._put(record)
        else:
            self._pack(kept, domains)
        manifest = [_manifest_entry(record) for record in records]
        write_text(self.out / DOMAINS, json.dumps(domains) + "\n")
        self._write_sheet(kept, [r for r in records if "signs" in r], domains)
        write_text(self.out / MANIFEST, "".join(map(as_line, manifest)))
        return manifest

    def _place(self, record: Record) -> Path:
        return self.out / _split(record, self.options) / record["domain"] / self._name(record)

    def _name(self, record: Record) -> str:
        """Named after the content, so equal wherever the photograph lay and whatever its name."""
        return record["sha256"][:20] + self.job.suffix

    def _put(self, record: Record) -> None:
        place, made = self._place(record), self.job.path(record["index"])
        record["result"] = place.relative_to(self.out).as_posix()
        if made.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            made.replace(place)

    def _pack(self, kept: list[Record], domains: tuple[str, ...]) -> None:
        """Shards in the folders of the pictures' domains, sorted by content."""
        folders: dict[tuple[str, str], list[Record]] = {}
        for record in sorted(kept, key=lambda record: record["sha256"]):
            place = _split(record, self.options), record["domain"]
            folders.setdefault(place, []).append(record)
        for (split, domain), members in folders.items():
            (self.out / split / domain).mkdir(parents=True, exist_ok=True)
            for first in range(0, len(members), self.options.shards):
                part = members[first : first + self.options.shards]
                name = f"{split}/{domain}/{first // self.options.shards:06d}.tar"
                samples = [
                    Sample(r["sha256"][:20], self.job.path(r["index"]), domains.index(domain))
                    for r in part
                ]
                write_shard(self.out / name, samples)
                for record in part:
                    record["result"] = f"{name}/{self._name(record)}"

    def _write_sheet(
        self, kept: list[Record], copies: list[Record], domains: tuple[str, ...]
    ) -> None:
        """Some pictures of each domain; below them near copies, the least alike first."""
        rows, labels = [], []
        for domain in domains:
            some = sorted((r for r in kept if r["domain"] == domain), key=lambda r: r["sha256"])
            rows.append([self._small(record) for record in some[:_SHEET_COLUMNS]])
            labels.append(f"{domain} ({len(some)})")
        if copies:
            by_source = {record["source"]: record for record in kept}
            some = sorted(copies, key=lambda record: -record["signs"])[:_SHEET_COLUMNS]
            rows.append([self._small(by_source[record["copy_of"]]) for record in some])
            rows.append([self._small(record) for record in some])
            labels += ["kept", "dropped as near copies"]
        page = sheet(rows, row_labels=labels, cell=_SHEET_CELL)
        content = encode_photograph(page, ".jpg", quality=90)
        write_whole(self.out / SHEET, lambda path: path.write_bytes(content))

    def _small(self, record: Record) -> Image.Image:
        made = self.job.path(record["index"])
        return read_picture(made if made.is_file() else self._place(record))


def _state(inventory: Inventory, options: PrepareOptions, detectors: Sequence[str]) -> Record:
    """All that decides the result."""
    return {
        "facemeld": __version__,
        "options": asdict(options),
        "input": {"files": len(inventory.files), "digest": inventory.digest},
        "near_copy": f"at most {MOST_SIGNS} of 255 signs differ",
        "detectors": list(detectors),
    }


def _mark_copies(records: list[Record]) -> None:
    """Rejects all but one of pictures that are equal or nearly so.

    The largest stays, and of equally large ones the first by name.
    """
    good = [record for record in records if "rejected" not in record]
    # `good` is sorted by name, and sorting is stable
    good.sort(key=lambda record: -record["width"] * record["height"])
    first_of: dict[str, Record] = {}
    for record in good:
        first_of.setdefault(record["sha256"], record)
    different = list(first_of.values())
    signatures = [Signature.unpack(record["signature"]) for record in different]
    for index, copy in near_duplicates(signatures).items():
        mirrored = ", mirrored" if copy.mirrored else ""
        kind = f"near copy ({copy.signs} of 255 signs differ{mirrored})"
        _reject_copy(different[index], different[copy.of], kind)
        different[index]["signs"] = copy.signs
    for record in good:
        if (first := first_of[record["sha256"]]) is not record:
            _reject_copy(record, first, "exact copy")


def _reject_copy(record: Record, original: Record, kind: str) -> None:
    other = "" if record["domain"] == original["domain"] else ", which is of another domain"
    record["rejected"] = f"{kind}: of {shown(original['source'])}{other}"
    # the original may itself be a copy of what stays
    record["copy_of"] = original.get("copy_of", original["source"])


def _split(record: Record, options: PrepareOptions) -> str:
    """By a hash of the content: adding or renaming other files moves no picture."""
    digest = hashlib.sha256(b"split " + record["sha256"].encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "val" if share < options.validation else "train"


def _manifest_entry(record: Record) -> Record:
    names = ("source", "domain", "sha256", "bytes", "width", "height", "transform")
    entry = {name: record[name] for name in names if name in record}
    if "rejected" in record:
        copy = {"copy_of": record["copy_of"]} if "copy_of" in record else {}
        return entry | {"rejected": record["rejected"]} | copy
    return entry | {"result": record["result"], "result_sha256": record["result_sha256"]}


def _is_folder_name(name: str) -> bool:
    plain = bool(name) and name.isprintable() and not set(name) & set('/\\:*?"<>|')
    return plain and not name.startswith(".") and len(os.fsencode(name)) <= 200
