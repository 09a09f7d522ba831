"""Commands that make pictures: demo, fuse, grid."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from facemeld.cli.app import (
    app,
    check_folders,
    check_inputs,
    check_target,
    note,
    note_missing,
    print_files,
)
from facemeld.cli.fuse_options import (
    Again,
    Engine,
    Latent,
    Mixing,
    Photographs,
    Shape,
    Then,
    Where,
    controls_of,
    looks_of,
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
    out: Path,
    source: list[Path] = [],
    reference: list[Path] = [],
    jobs: Path | None = None,
    strength: float = 1.0,
    model: str = "faces",
    size: int | None = None,
    keep_settings: bool = True,
    json: bool = False,
    mixing: Mixing = Mixing(),
    where: Where = Where(),
    latent: Latent = Latent(),
    shape: Shape = Shape(),
    photographs: Photographs = Photographs(),
    then: Then = Then(),
    again: Again = Again(),
    engine: Engine = Engine(),
) -> None:
    """Fuse faces: pose and layout of the source, look of the references.

    Pictures are taken as aligned faces; with --align or --paste-back, as photographs with faces.

    Args:
        out: picture to write (.png, .jpg or .webp); for several results a folder.
        source: picture that gives pose and layout; several give several results, and a folder one
            of every picture in it.
        reference: pictures that give the look.
        jobs: CSV file, a fusion in each row, instead of --source (docs/fusion.md).
        strength: 0 keeps the source's own look, 1 takes all of the references'.
        model: bundled model or model folder.
        size: side of the result in pixels, interpolated; the model's own if not given.
        keep_settings: write the settings into the picture, so that it can be made again.
        json: print the results as JSON.
    """
    controls = controls_of(strength, size, mixing, where, latent, shape)
    if latent.seed and jobs is None and not (latent.latent or latent.variations or then.then):
        note("nothing is random here, so --seed changes nothing")
    if jobs is not None or any(path.is_dir() for path in source):
        from facemeld.cli.many import fuse_many

        if (then, again) != (Then(), Again()):
            raise UserError(
                "many jobs take neither a second model nor a result to repeat",
                where="--then, --repeat",
                fix="leave these out",
            )
        fuse_many(
            jobs,
            source,
            out,
            pictures=(reference, where, shape),
            controls=controls,
            model=model,
            photographs=photographs,
            engine=engine,
            keep_settings=keep_settings,
            json=json,
        )
        return
    given = (reference, controls, where, shape, photographs, then)
    if again.repeat is not None:
        images, settings, targets = _repeat(again, source, out, model, (*given, engine))
    else:
        images, settings, targets = _fused(source, out, model, engine, given)
    from facemeld.images.write import write_picture

    for image, known, target in zip(images, settings, targets):
        write_picture(image, target, settings=known if keep_settings else None)
    print_files(targets, settings, json)


@app.command
def grid(
    source: list[Path],
    reference: list[Path],
    out: Path,
    domain: tuple[str, ...] = (),
    cell: int | None = None,
    model: str = "faces",
    backend: Literal["auto", "torch", "onnx", "openvino"] = "auto",
    keep_settings: bool = True,
) -> None:
    """Make a sheet: sources down, references across, each pair fused.

    Args:
        source: pictures that give pose and layout.
        reference: pictures that give the look.
        out: picture to write.
        domain: domain of all references, or one for each; guessed where none is given.
        cell: side of each picture on the sheet in pixels; the model's own size if not given.
        model: bundled model or model folder.
        backend: what computes; see `facemeld fuse --help`.
        keep_settings: write into the picture what it was made of.
    """
    from facemeld.fusion.request import check_cell, check_domains

    check_target(out)
    check_cell(cell)
    config = check_inputs(model, [*source, *reference])
    named = domain if len(domain) > 1 else next(iter(domain), None)
    check_domains(named, len(reference), config.domains, where="--domain")
    from facemeld.fusion.pipeline import FusionPipeline
    from facemeld.fusion.provenance import grid_settings
    from facemeld.images.write import write_picture

    pipe = FusionPipeline.from_pretrained(model, backend=backend, on_note=note)
    image = pipe.grid(source, reference, domain=named, cell=cell)
    settings = grid_settings(pipe, source, reference, domain=named, cell=cell)
    write_picture(image, out, settings=settings if keep_settings else None)
    print(out)


# -- what fuse does before and around the pipeline ----------------------------------------------


def _fused(sources: list[Path], out: Path, model: str, engine: Engine, given: tuple):
    """Pictures, settings and targets of a fusion."""
    from facemeld.images.read import check_picture

    reference, controls, where, shape, photographs, then = given
    if photographs.faces != "largest" and not photographs.wanted:
        raise UserError("--faces is about photographs", fix="add --align auto or --paste-back")
    variations = len(controls.variations)
    # How many faces there are, detection will tell.
    face_each = photographs.faces == "all" and not photographs.paste_back
    targets = [] if face_each else _targets(sources, out, variations)
    for path in sources:
        check_picture(path)
    looks = looks_of(reference, where, shape)
    stages = _stages(model, looks, controls, then)
    if not photographs.wanted:
        _check_masks(sources, looks, controls)
        result = _run(stages, sources, photographs.weights_dir, engine)
        return result.images, result.settings, targets
    images, settings, files = _fuse_photographs(sources, stages, photographs, engine)
    if face_each:
        targets = _targets(files, out, variations, folder=not out.suffix)
    return images, settings, targets


def _targets(
    sources: list[Path], out: Path, variations: int = 0, folder: bool = False
) -> list[Path]:
    """The files to write: ``out`` itself for one result, else files in the folder ``out``."""
    from facemeld.images.write import FORMAT_OF_SUFFIX

    results = len(sources) * max(variations, 1)
    if results == 1 and not folder:
        check_target(out)
        return [out]
    if not sources:
        raise UserError("no source picture", where="--source", fix="name one")
    if out.suffix.lower() in FORMAT_OF_SUFFIX:
        raise UserError(
            f"{results} pictures to write, but --out names one",
            where=str(out),
            fix="name a folder",
        )
    endings = [f"_variation{n}" for n in range(1, variations + 1)] or [""]
    return [
        out / f"{index:03d}_{source.stem}{ending}.png"
        for index, source in enumerate(sources, 1)
        for ending in endings
    ]


def _stages(model: str, looks, controls, then: Then) -> list[tuple]:
    """Model, looks and controls of each fusion in turn; all checked, none begun."""
    import dataclasses

    from facemeld.fusion.looks import read_looks
    from facemeld.fusion.request import Controls, check_looks

    stages = [(model, looks, controls)]
    if then.then is not None:
        # The size of the result is the last model's; the one before hands over its own.
        stages[0] = (model, looks, dataclasses.replace(controls, size=None))
        last = Controls(
            weights=then.then_weights,
            domain=then.then_domain,
            latent=not then.then_reference,
            strength=then.then_strength,
            seed=controls.seed,
            size=controls.size,
        )
        stages.append((then.then, read_looks(then.then_reference), last))
    elif then != Then():
        raise UserError("these are about a second model", where="--then-…", fix="name it: --then")
    for name, given, wanted in stages:
        check_looks(given, wanted, check_inputs(name, []))
    return stages


def _check_masks(sources: list[Path], looks, controls) -> None:
    """UserError if a mask has another shape than a source."""
    from facemeld.fusion.regions import region_mask
    from facemeld.images.read import read_picture

    if masks := [place for place, _ in looks.regions if not isinstance(place, str)]:
        for source in sources:
            for mask in masks:
                region_mask(mask, read_picture(source), 16, controls.feather)


def _run(stages: list[tuple], sources: list, weights_dir: Path | None, engine: Engine):
    from facemeld.fusion.inputs import sources_of
    from facemeld.fusion.pipeline import FusionPipeline

    result = sources
    for model, looks, controls in stages:
        pipe = FusionPipeline.from_pretrained(
            model, weights_dir=weights_dir, on_note=note, **asdict(engine)
        )
        result = pipe.fuse(sources_of(result), looks, controls)
    return result


def _fuse_photographs(
    sources: list[Path], stages: list[tuple], photographs: Photographs, engine: Engine
):
    """Pictures, settings and the photograph of each, of sources whose faces are looked for."""
    from facemeld.faces.detect import FaceFinder
    from facemeld.fusion.photographs import aligned_faces, aligned_looks, fuse_faces
    from facemeld.networks.model_folder import find_model, read_network_config

    finder = FaceFinder(photographs.align or "auto", weights_dir=photographs.weights_dir)
    note_missing(finder.missing)
    size = read_network_config(find_model(stages[0][0])).image_size
    faces = aligned_faces(
        sources,
        finder,
        size=size,
        which=photographs.faces,
        must_be_found=photographs.paste_back,
        on_note=note,
    )
    model, looks, controls = stages[0]
    looks = aligned_looks(looks, finder, size=size, on_note=note)
    stages = [(model, looks, controls), *stages[1:]]
    images, settings = fuse_faces(
        lambda inputs: _run(stages, inputs, photographs.weights_dir, engine),
        faces,
        paste_back=photographs.paste_back,
    )
    return images, settings, [face.file for face in faces]


def _repeat(again: Again, sources: list[Path], out: Path, model: str, given: tuple):
    """Pictures, settings and targets of a fusion that is made again."""
    from facemeld.fusion.recall import recall
    from facemeld.fusion.request import Controls
    from facemeld.images.read import check_picture

    if given != ([], Controls(), Where(), Shape(), Photographs(), Then(), Engine()):
        raise UserError(
            "--repeat takes its settings from the picture",
            where="--repeat",
            fix="leave out --reference and all that says how to fuse; --source may be another",
        )
    check_target(out)
    check_picture(again.repeat)
    check_folders(again.inputs)
    if len(sources) > 1:
        raise UserError("--repeat takes one source", where="--source")
    for source in sources:
        check_picture(source)
    recalled = recall(
        again.repeat, again.inputs, source=sources[0] if sources else None, models=[model]
    )
    result = recalled.run()
    return result.images, result.settings, [out]
