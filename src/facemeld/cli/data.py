"""Commands about pictures and weights of others: prepare, download."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import Literal

import tyro

from facemeld.cli.app import app, note_missing


@app.command
def prepare(
    source: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    size: int = 256,
    domain: str | None = None,
    align: Literal["human", "animal", "anime", "auto"] | None = None,
    validation: float = 0.1,
    format: str = "png",
    quality: int = 95,
    smallest: int | None = None,
    shards: int | None = None,
    processes: int | None = None,
    weights_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Make training pictures of photographs: checked, upright, square, without copies, split.

    The photographs are only read. A run that was cut goes on when it is started again.

    Args:
        source: folder with a subfolder of photographs for each domain.
        out: folder for the result; new, empty, or of the same run.
        size: side of the pictures in pixels.
        domain: all photographs are of this one domain, whatever folders they are in.
        align: bring the largest face to its place, of this kind; without a face a photograph is
            left out. If not given, the centre square is cut out.
        validation: share of the pictures that is kept for validation.
        format: png or webp (both lossless), or jpg.
        quality: of jpg, 1 to 100.
        smallest: shorter side below which a photograph is left out; half of the size if not given.
        shards: write WebDataset shards with so many pictures each, not single files.
        processes: worker processes; one a core if not given.
        weights_dir: folder to look in first for the detectors of --align.
        json: print the result as JSON.
    """
    from facemeld.cli.progress import Progress
    from facemeld.data.prepare import PrepareOptions
    from facemeld.data.prepare import prepare as run

    options = PrepareOptions(
        size=size,
        domain=domain,
        align=align,
        validation=validation,
        format=format,
        quality=quality,
        smallest=smallest,
        shards=shards,
    )
    aligner, detectors = None, ()
    if align is not None:
        from facemeld.faces.align import LargestFace
        from facemeld.faces.detect import own_finder

        finder = own_finder(align, weights_dir)
        note_missing(finder.missing)
        aligner, detectors = LargestFace(align, size, weights_dir), finder.detectors
    with Progress("pictures") as progress:
        done = run(
            source,
            out,
            options,
            aligner=aligner,
            detectors=detectors,
            processes=processes,
            progress=progress,
        )
    if json:
        facts = {"out": str(done.out), "kept": done.kept, "left_out": done.reasons}
        print(json_format.dumps(facts, indent=2))
    else:
        _print_prepared(done)


def _print_prepared(done) -> None:
    from facemeld.data.prepared_folder import MANIFEST, SHEET
    from facemeld.images.read import shown

    if not done.made_now:
        print("complete already, nothing was done", file=sys.stderr)
    domains = sorted({domain for split in done.kept.values() for domain in split})
    for domain in domains:
        train, val = (done.kept[split].get(domain, 0) for split in ("train", "val"))
        print(f"{shown(domain):22} {train:7} train {val:7} val")
    if done.rejected:
        print(f"{len(done.rejected)} files were left out:")
        for reason, count in done.reasons.items():
            print(f"{count:7}  {reason}")
    print(f"each file: {shown(done.out / MANIFEST)}, to look at: {shown(done.out / SHEET)}")


@app.command
def download(
    names: tyro.conf.Positional[list[str]] = [],
    accept_licence: bool = False,
    weights_dir: Path | None = None,
    json: bool = False,
) -> None:
    """List data sets, checkpoints and weights of others, or fetch some.

    Args:
        names: what to fetch; without any, the list is printed.
        accept_licence: you have read the terms of what asks for that.
        weights_dir: folder to look in first for weights that are there already.
        json: print as JSON.
    """
    if names:
        paths = [path for name in names for path in _fetch(name, accept_licence)]
        print(json_format.dumps(list(map(str, paths)), indent=2) if json else _lines(paths))
        return
    from facemeld.data.download import listing

    rows = listing(weights_dir)
    print(json_format.dumps(rows, indent=2, ensure_ascii=False) if json else _table(rows))


def _fetch(name: str, accept_licence: bool) -> list[Path]:
    from contextlib import ExitStack

    from facemeld.cli.progress import Progress
    from facemeld.data.download import download as run

    shown: dict[str, Progress] = {}
    with ExitStack() as bars:

        def progress(what: str, done: int, total: int | None) -> None:
            if what not in shown:
                units = ("MB", 1e6) if what == "downloading" else ("files unpacked",)
                shown[what] = bars.enter_context(Progress(*units))
            shown[what](done, total)

        def tell(line: str) -> None:
            bars.close()  # a line in between ends the bar above it
            shown.clear()
            print(line, file=sys.stderr, flush=True)

        return run(name, accept_licence=accept_licence, progress=progress, tell=tell)


def _lines(paths: list[Path]) -> str:
    return "\n".join(map(str, paths))


def _table(rows: list[dict]) -> str:
    lines = []
    for row in rows:
        size = row["size"]
        size = "unknown" if size is None else f"{size / 1e6:.0f} MB" if size > 1e6 else "< 1 MB"
        partly = f"{row['partial'] / 1e6:.0f} MB are here" if row["partial"] else "not here"
        state = row["path"] or partly
        remarks = ["needs --accept-licence"] if row["accept"] else []
        remarks += [] if row["pinned"] else ["SHA-256 recorded at the first download"]
        lines.append(
            f"{row['name']:26} {row['kind']:11} {size:>7}  {row['licence']:24} {state}\n"
            f"    {row['purpose']}" + (f" [{'; '.join(remarks)}]" if remarks else "")
        )
    lines += ["", "facemeld download NAME fetches one; --json tells more of each"]
    return "\n".join(lines)
