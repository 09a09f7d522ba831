"""Commands about faces in photographs: align."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import Literal

import tyro

from facemeld.cli.app import app, check_target, note_missing
from facemeld.errors import UserError

_SHOWN_PROBLEMS = 20


@app.command
def align(
    source: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    domain: Literal["human", "animal", "anime", "auto"] = "auto",
    size: int = 256,
    faces: Literal["largest", "all"] = "largest",
    on_missing: Literal["skip", "centre", "fail"] = "skip",
    layout: Path | None = None,
    processes: int | None = None,
    weights_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Find faces in photographs and bring them to one place, ready to train on or to fuse.

    Of a folder, every picture is aligned into the same subfolder of OUT; faces.jsonl there says
    where each face was, or why a file gave none, and sheet.png shows them. Run again, it goes on
    where it stopped.

    Args:
        source: photograph, or folder of photographs; never changed.
        out: picture to write, or folder for the faces.
        domain: kind of the faces; auto looks at each.
        size: side of the aligned pictures in pixels.
        faces: the largest face of each photograph, or all.
        on_missing: photographs without a face: skip, take the centre, or fail.
        layout: celeba_lm_mean.npz, to align people as the official CelebA-HQ models want them.
        processes: worker processes for a folder; one a core if not given.
        weights_dir: folder to look in first for the detectors.
        json: print the report as JSON.
    """
    from facemeld.cli.progress import Progress
    from facemeld.faces.detect import own_finder
    from facemeld.faces.folder import AlignOptions, align_folder

    options = AlignOptions(
        kind=domain,
        size=size,
        faces=faces,
        on_missing=on_missing,
        layout=str(layout) if layout else None,
    )
    options.check()
    if source.is_file():
        _align_file(source, out, options, weights_dir, json)
        return
    note_missing(own_finder(domain, weights_dir).missing)
    with Progress("files") as progress:
        report = align_folder(
            source,
            out,
            options,
            weights_dir=weights_dir,
            processes=processes,
            progress=progress,
        )
    if json:
        facts = {"out": str(out), "files": report.files, "photographs": report.photographs}
        facts |= {"faces": report.faces, "kinds": dict(report.kinds)}
        print(json_format.dumps(facts | {"problems": dict(report.problems)}, indent=2))
    else:
        _print_aligned(report, out)


def _print_aligned(report, out: Path) -> None:
    from facemeld.images.read import shown

    for name, problem in report.problems[:_SHOWN_PROBLEMS]:
        print(f"{shown(name)}: {problem}", file=sys.stderr)
    if len(report.problems) > _SHOWN_PROBLEMS:
        more = len(report.problems) - _SHOWN_PROBLEMS
        print(f"… and {more} more, all in faces.jsonl", file=sys.stderr)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.kinds.items()))
    print(
        f"{report.faces} faces ({kinds or 'none'}) in {report.photographs} photographs "
        f"of {report.files} files -> {shown(out)}"
    )


def _align_file(source: Path, out: Path, options, weights_dir: Path | None, json: bool) -> None:
    """One photograph; --faces all numbers the further ones."""
    from facemeld.faces.detect import FaceFinder
    from facemeld.faces.folder import align_photograph, entry_of
    from facemeld.faces.templates import official_template
    from facemeld.files import write_whole
    from facemeld.images.read import read_picture, shown
    from facemeld.images.write import encode_photograph

    check_target(out)
    finder = FaceFinder(options.kind, weights_dir=weights_dir)
    note_missing(finder.missing)
    target = official_template(Path(options.layout)) if options.layout else None
    entries = []
    for picture, how in align_photograph(read_picture(source), options, finder, target):
        number = len(entries) + 1
        path = out if number == 1 else out.with_stem(f"{out.stem}.face{number}")
        if path.resolve() == source.resolve():
            raise UserError("the output is the input", where=shown(path), fix="choose another name")
        content = encode_photograph(picture, path.suffix.lower())
        write_whole(path, lambda partial, content=content: partial.write_bytes(content))
        entries.append({"file": str(path)} | entry_of(how))
    if not entries:
        raise UserError(
            "no face was found", where=shown(source), fix="--on-missing centre takes its centre"
        )
    if json:
        print(json_format.dumps(entries, indent=2))
    else:
        print("\n".join(entry["file"] for entry in entries))
