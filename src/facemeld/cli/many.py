"""What `facemeld fuse` does with many jobs: of a list, or of a folder."""

from __future__ import annotations

import json as json_format
import os
import sys
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from facemeld.cli.app import check_inputs, note, note_missing, speaks
from facemeld.cli.fuse_options import Engine, Photographs, Shape, Where, levels_of, regions_of
from facemeld.errors import UserError

_SHOWN_FAILURES = 20


def fuse_many(
    job_list: Path | None,
    source: list[Path],
    out: Path,
    *,
    pictures: tuple[list[Path], Where, Shape],
    controls,
    model: str,
    photographs: Photographs,
    engine: Engine,
    keep_settings: bool,
    json: bool,
) -> None:
    """Fuses all of them; exits with code 1 if some failed.

    Args:
        job_list: a CSV file.
        source: or one folder.
        out: folder for the results.
        pictures: references and the like, for the jobs that name none.
        controls: likewise.
        model: bundled model or model folder.
        photographs: whether faces are to be looked for.
        engine: what computes.
        keep_settings: write the settings into the pictures.
        json: print the report as JSON.
    """
    from facemeld.cli.progress import Progress
    from facemeld.fusion.job_list import check_jobs
    from facemeld.fusion.jobs import check_results_apart, run_jobs

    jobs = _jobs(job_list, source, out, pictures, controls)
    check_jobs(jobs, check_inputs(model, []))
    check_results_apart(jobs, out)
    if photographs.faces != "largest" and not photographs.paste_back:
        raise UserError(
            "a job gives one picture, but --faces all one for each face",
            where="--faces",
            fix="leave it out, or add --paste-back",
        )
    rank, ranks = (int(os.environ.get(n, d)) for n, d in (("RANK", "0"), ("WORLD_SIZE", "1")))
    fuse, about = _fuser(_pipeline(model, photographs.weights_dir, engine, out, rank), photographs)
    failures: list[dict] = []

    def failed(entry: dict) -> None:
        failures.append(entry)
        if len(failures) <= _SHOWN_FAILURES:
            reason = f"{entry['error']} ({entry['about']})" if entry["about"] else entry["error"]
            print(f"failed: {entry['out']}: {reason}", file=sys.stderr)

    with Progress("jobs") as progress:
        report = run_jobs(
            jobs,
            out,
            fuse,
            about=about,
            keep_settings=keep_settings,
            rank=rank,
            ranks=ranks,
            progress=progress if speaks() else lambda done, total: None,
            on_failure=failed,
        )
    _tell(report, out, json)
    # torchrun stops all processes as soon as one ends with another code than 0.
    if failures and ranks == 1:
        raise SystemExit(1)


def _jobs(job_list: Path | None, source: list[Path], out: Path, pictures, controls) -> list:
    from facemeld.fusion.job_list import Job, jobs_of_folder, read_job_list, with_variations

    if out.is_file() or (out.suffix and not out.is_dir()):
        raise UserError("many results need a folder", where=str(out), fix="name one with --out")
    references, where, shape = pictures
    default = Job(
        where="the command line",
        source=Path(),
        out=PurePosixPath(),
        references=tuple(references),
        levels=levels_of(where),
        regions=tuple(regions_of(where)),
        second_source=shape.second_source,
        controls=controls,
    )
    if job_list is None:
        if len(source) > 1:
            raise UserError(
                "a folder of sources goes alone", where="--source", fix="name one folder"
            )
        jobs = jobs_of_folder(source[0], default)
    elif source:
        raise UserError("the list names the sources", where="--source", fix="leave it out")
    else:
        jobs = read_job_list(job_list, default)
    return list(with_variations(jobs))


def _pipeline(model: str, weights_dir: Path | None, engine: Engine, out: Path, rank: int):
    """The model, computed by the same backend in all processes and runs of an output folder."""
    from facemeld.fusion.choice import named_backend, usable_backends
    from facemeld.fusion.exported import FORMATS, has_graphs
    from facemeld.fusion.jobs import agreed_backend
    from facemeld.fusion.pipeline import FusionPipeline
    from facemeld.networks.model_folder import find_model

    def opened(**options) -> FusionPipeline:
        options = asdict(engine) | options
        return FusionPipeline.from_pretrained(
            model, weights_dir=weights_dir, on_note=note, **options
        )

    folder = find_model(model)
    by_graphs = any(has_graphs(folder, format) for format in FORMATS)
    if engine.precision == "auto":
        usable = ["torch"]
    elif engine == Engine() and by_graphs:
        usable = usable_backends(folder)
    else:  # nothing was left open
        return opened()
    pipes = []

    def decide() -> str:
        pipes.append(opened())
        return pipes[0].backend.name

    name = agreed_backend(out, usable, decide, rank=rank)
    return pipes[0] if pipes else opened(**named_backend(name))


def _fuser(pipe, photographs: Photographs):
    """The function that fuses some jobs, and what its results depend on."""
    import facemeld

    about = {"facemeld": facemeld.__version__, "model_sha256": pipe.weights_sha256}
    about["backend"] = pipe.backend.name

    def fuse(jobs, sources, looks):
        result = pipe.fuse(sources, looks, jobs[0].controls)
        return result.images, result.settings

    if not photographs.wanted:
        return fuse, about
    from facemeld.faces.detect import FaceFinder
    from facemeld.fusion.photographs import aligned_faces, aligned_looks, fuse_faces

    finder = FaceFinder(photographs.align or "auto", weights_dir=photographs.weights_dir)
    note_missing(finder.missing)
    about |= {"align": photographs.align, "paste_back": photographs.paste_back}
    about |= {"faces": photographs.faces, "missing": finder.missing}

    def fuse_photographs(jobs, sources, looks):
        size = pipe.image_size
        looks = aligned_looks(looks, finder, size=size, on_note=note)
        images, settings = [], []
        for job in jobs:
            faces = aligned_faces(
                [job.source],
                finder,
                size=size,
                which=photographs.faces,
                must_be_found=photographs.paste_back,
                on_note=note,
            )
            made, known = fuse_faces(
                lambda inputs, job=job: pipe.fuse(inputs, looks, job.controls),
                faces,
                paste_back=photographs.paste_back,
            )
            images += made
            settings += known
        return images, settings

    return fuse_photographs, about


def _tell(report, out: Path, as_json: bool) -> None:
    if as_json:
        facts = {"out": str(out), "done": report.done, "already_done": report.already}
        print(json_format.dumps(facts | {"failed": report.failed}, indent=2))
        return
    parts = [f"{report.done} fused"]
    if report.already:
        parts.append(f"{report.already} done before")
    if report.failed:
        parts.append(f"{len(report.failed)} failed")
    print(f"{', '.join(parts)} -> {out}")
