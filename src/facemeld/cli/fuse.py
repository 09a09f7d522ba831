"""Commands that make pictures: demo, fuse, grid."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from facemeld.cli.app import (
    app,
    check_inputs,
    check_target,
    note,
    note_missing,
    print_files,
)
from facemeld.errors import UserError


@app.command
def demo(out: Path = Path("results/demo"), model: str = "faces") -> None:
    """Fuse the bundled faces with the bundled model.

    Args:
        out: folder for the pictures and the text that explains them.
        model: bundled model or model folder.
    """
    from facemeld.networks.model_folder import find_model

    find_model(model)
    from facemeld.fusion.demo import run_demo

    for path in run_demo(out, model=model):
        print(path)


@app.command
def fuse(
    source: list[Path],
    out: Path,
    reference: list[Path] = [],
    weights: list[float] | None = None,
    domain: str | None = None,
    source_domain: str | None = None,
    latent: bool = False,
    seed: int = 0,
    strength: float = 1.0,
    size: int | None = None,
    align: Literal["human", "animal", "anime", "auto"] | None = None,
    paste_back: bool = False,
    faces: Literal["largest", "all"] = "largest",
    model: str = "faces",
    weights_dir: Path | None = None,
    keep_settings: bool = True,
    json: bool = False,
) -> None:
    """Fuse faces: pose and layout of the source, look of the references.

    Pictures are taken as aligned faces; with --align or --paste-back, as photographs with faces.

    Args:
        source: picture that gives pose and layout; several give several results.
        out: picture to write (.png, .jpg or .webp); with several sources a folder.
        reference: pictures that give the look.
        weights: one for each reference.
        domain: domain of the references, or of the latent style; guessed from the references.
        source_domain: domain of the source, used with a strength below 1; guessed.
        latent: take the style from a random latent code of --domain.
        seed: of the latent code.
        strength: 0 keeps the source's own look, 1 takes all of the references'.
        size: side of the result in pixels, interpolated; the model's own if not given.
        align: find the faces of all pictures and align them: human, animal, anime or auto.
        paste_back: put the fused face into the source photograph; aligns by auto if not said.
        faces: largest, or all faces of each source photograph.
        model: bundled model or model folder.
        weights_dir: folder to look in first for detectors and landmark networks.
        keep_settings: write the settings into the picture, so that it can be made again.
        json: print the results as JSON.
    """
    from facemeld.fusion.request import check_request

    if faces != "largest" and align is None and not paste_back:
        raise UserError("--faces is about photographs", fix="add --align auto or --paste-back")
    face_each = faces == "all" and not paste_back  # how many, detection will tell
    targets = [] if face_each else _targets(source, out)
    config = check_inputs(model, [*source, *reference])
    options = {
        "weights": weights,
        "domain": domain,
        "source_domain": source_domain,
        "latent": latent,
        "strength": strength,
        "seed": seed,
        "size": size,
    }
    check_request(len(reference), domains=config.domains, **options)
    if align is not None or paste_back:
        found, looks = _find_faces(
            source, reference, align or "auto", faces, config.image_size, weights_dir, paste_back
        )
        if face_each:
            targets = _targets([face.file for face in found], out, folder=not out.suffix)
    from facemeld.fusion.pipeline import FusionPipeline
    from facemeld.images.write import write_picture

    pipe = FusionPipeline.from_pretrained(model, weights_dir=weights_dir)
    if align is None and not paste_back:
        result = pipe(source, reference, **options)
        images, settings = result.images, result.settings
    else:
        from facemeld.fusion.photographs import fuse_faces

        images, settings = fuse_faces(pipe, found, looks, options, paste_back=paste_back)
    for image, facts, target in zip(images, settings, targets):
        write_picture(image, target, settings=facts if keep_settings else None)
    print_files(targets, settings, json)


@app.command
def grid(
    source: list[Path],
    reference: list[Path],
    out: Path,
    domain: str | None = None,
    cell: int | None = None,
    model: str = "faces",
) -> None:
    """Make a sheet: sources down, references across, each pair fused.

    Args:
        source: pictures that give pose and layout.
        reference: pictures that give the look.
        out: picture to write.
        domain: domain of all references; guessed for each where it is not given.
        cell: side of each picture on the sheet in pixels; the model's own size if not given.
        model: bundled model or model folder.
    """
    from facemeld.fusion.request import check_cell, check_domain

    check_target(out)
    check_cell(cell)
    config = check_inputs(model, [*source, *reference])
    check_domain(domain, config.domains, where="--domain")
    from facemeld.fusion.pipeline import FusionPipeline
    from facemeld.images.write import write_picture

    pipe = FusionPipeline.from_pretrained(model)
    image = pipe.grid(source, reference, domain=domain, cell=cell)
    write_picture(image, out, settings=None)
    print(out)


def _targets(sources: list[Path], out: Path, folder: bool = False) -> list[Path]:
    """The files to write: ``out`` itself for one source, else files in the folder ``out``."""
    from facemeld.images.write import FORMAT_OF_SUFFIX

    if len(sources) == 1 and not folder:
        check_target(out)
        return [out]
    if out.suffix.lower() in FORMAT_OF_SUFFIX:
        raise UserError(
            f"{len(sources)} pictures to write, but --out names one",
            where=str(out),
            fix="name a folder",
        )
    return [out / f"{index:03d}_{source.stem}.png" for index, source in enumerate(sources, 1)]


def _find_faces(
    sources: list[Path],
    references: list[Path],
    kind: str,
    which: str,
    size: int,
    weights_dir: Path | None,
    must_be_found: bool,
):
    """The aligned faces of sources and references; says on standard error what is missing."""
    from facemeld.faces.detect import FaceFinder
    from facemeld.fusion.photographs import aligned_faces

    finder = FaceFinder(kind, weights_dir=weights_dir)
    note_missing(finder.missing)
    found = aligned_faces(
        sources, finder, size=size, which=which, must_be_found=must_be_found, on_note=note
    )
    looks = aligned_faces(references, finder, size=size, must_be_found=False, on_note=note)
    return found, looks
