"""The command that makes videos."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from facemeld.cli.app import (
    app,
    check_folders,
    check_inputs,
    note,
    note_missing,
    print_files,
)
from facemeld.cli.fuse_options import (
    Again,
    Engine,
    Latent,
    Mixing,
    Shape,
    Where,
    controls_of,
    looks_of,
    pictures_of,
)
from facemeld.errors import UserError


@dataclass(frozen=True)
class Course:
    """How a video goes from picture to picture; none of it for a source that is a video."""

    seconds: float = 1.5
    """From one to the next."""
    hold: float = 0.5
    """Seconds at each."""
    easing: Literal["smooth", "linear"] = "smooth"
    """Start and end slowly, or go evenly."""
    loop: bool = False
    """Go back to the first, so that the video can play for ever."""


@dataclass(frozen=True)
class Random:
    """Random looks instead of references."""

    latent: bool = False
    """Go through random looks of --domain."""
    seed: tuple[int, ...] = (0,)
    """One for each look."""
    truncation: float = 1.0
    """1 is the random look, 0 the mean look of its domain."""


@dataclass(frozen=True)
class Faces:
    """Pictures and frames with faces in them; without these, they are taken as aligned faces."""

    align: Literal["human", "animal", "anime", "auto"] | None = None
    """Find the faces, of this kind or any, and align them; in a video follow the largest."""
    paste_back: bool = False
    """Put the fused face into the frames of the source video; aligns by auto if not said."""
    weights_dir: Path | None = None
    """Folder to look in first for detectors and landmark networks."""


@app.command
def video(
    out: Path,
    source: list[Path] = [],
    reference: list[Path] = [],
    strength: float = 1.0,
    fps: float | None = None,
    model: str = "faces",
    size: int | None = None,
    sound: bool = True,
    keep_settings: bool = True,
    json: bool = False,
    course: Course = Course(),
    mixing: Mixing = Mixing(),
    where: Where = Where(),
    random: Random = Random(),
    shape: Shape = Shape(),
    faces: Faces = Faces(),
    again: Again = Again(),
    engine: Engine = Engine(),
) -> None:
    """Make a video: from look to look, from source to source, or of a source video.

    One source goes through all references. Several sources turn into each other, in their own
    looks, under one reference, or side by side with as many. A source video is fused frame by
    frame with the mixture of all references.

    Args:
        out: video to write (.mp4, .gif or .webp).
        source: pictures, folders of pictures, or one video.
        reference: pictures that give looks, or folders of them.
        strength: 0 keeps the sources' own looks, 1 takes all of the references'.
        fps: frames a second; 25, or those of the source video, if not given.
        model: bundled model or model folder.
        size: side of the faces in pixels, interpolated; the model's own if not given.
        sound: keep the sound of a source video, which only an .mp4 can hold.
        keep_settings: write the settings into the video.
        json: print the result as JSON.
    """
    from facemeld.fusion.timing import Timing
    from facemeld.images.video_read import is_video
    from facemeld.images.video_write import check_video_target

    check_video_target(out, fps)
    missing: list[int] = []
    steered = (course, mixing, where, random, shape, faces, engine)
    if again.repeat is not None:
        usual = (Course(), Mixing(), Where(), Random(), Shape(), Faces(), Engine())
        if (source, reference, strength, fps, size, *steered) != ([], [], 1.0, None, None, *usual):
            raise UserError(
                "--repeat takes its settings from the video",
                where="--repeat",
                fix="leave out the pictures and all that says how to fuse",
            )
        clip = _repeat(again, out, model)
    else:
        controls = _controls(strength, size, mixing, where, random, shape)
        if random.latent and reference:
            raise UserError("random looks take no references", where="--latent", fix="drop one")
        looks = looks_of([], where, shape)
        given = (pictures_of(reference), looks, controls, model, faces, engine)
        if any(is_video(path) for path in source):
            _check_alone(source, course, random)
            clip = _follow(source[0], out, *given, fps, sound and _holds_sound(out), missing)
        else:
            timing = Timing(fps=25.0 if fps is None else fps, **asdict(course))
            clip = _walk(pictures_of(source), *given, timing, random)
    count = _write(clip, out, keep_settings)
    if missing:
        rule = "they are as they were" if faces.paste_back else "the picture before was kept"
        note(f"no face was found in {len(missing)} of {count} frames: {rule}")
    print_files([out], [clip.settings], json)


def _controls(strength: float, size: int | None, mixing: Mixing, where, random: Random, shape):
    """The values of these options as ``fusion.request.Controls``."""
    latent = Latent(random.latent, random.seed[0] if random.seed else 0, random.truncation)
    if random.seed != (0,) and not random.latent:
        raise UserError("seeds are about random looks", where="--seed", fix="add --latent")
    return controls_of(strength, size, mixing, where, latent, shape)


def _check_alone(source: list[Path], course: Course, random: Random) -> None:
    """UserError if a source video comes with what it cannot have."""
    if len(source) > 1:
        raise UserError(
            "a source video goes alone", where="--source", fix="name one, or only pictures"
        )
    if course != Course() or len(random.seed) > 1:
        raise UserError(
            "a source video has its own course",
            where=str(source[0]),
            fix="leave out --seconds, --hold, --easing, --loop and further seeds",
        )


def _holds_sound(out: Path) -> bool:
    return out.suffix.lower() == ".mp4"


def _repeat(again: Again, out: Path, model: str):
    """The clip of a video that is made again."""
    from facemeld.fusion.recall import recall_video
    from facemeld.images.video_read import open_video
    from facemeld.images.video_write import check_video_target

    check_folders(again.inputs)
    open_video(again.repeat)
    clip = recall_video(again.repeat, again.inputs, models=[model]).run()
    check_video_target(out, clip.fps)
    return clip


def _write(clip, out: Path, keep_settings: bool) -> int:
    """Writes the frames as they come, and tells how far it is."""
    from facemeld.cli.progress import Progress
    from facemeld.images.video_write import write_video

    with Progress("frames") as progress:

        def told():
            for number, frame in enumerate(clip.frames):
                progress(number, max(clip.count, number + 1) if clip.count else None)
                yield frame

        settings = clip.settings if keep_settings else None
        count = write_video(
            told(),
            out,
            fps=clip.fps,
            settings=settings,
            sound=clip.sound if _holds_sound(out) else None,
        )
        progress(count, count)
    return count


def _walk(
    sources, references, looks, controls, model: str, faces: Faces, engine: Engine, timing, random
):
    """The clip from stop to stop; everything checked before torch is loaded."""
    seeds = random.seed if random.latent else ()
    from facemeld.fusion.request import check_walk

    if faces.paste_back:
        raise UserError(
            "only into a source video can faces be put back",
            where="--paste-back",
            fix="leave it out, or name a video as the source",
        )
    check_walk(
        len(sources),
        len(references),
        controls,
        timing,
        check_inputs(model, [*sources, *references]),
        looks=looks,
        seeds=len(seeds),
    )
    if faces.align is not None:
        finder, size = _finder(faces, model)
        sources, references = (_aligned(files, finder, size) for files in (sources, references))
    from facemeld.fusion.video import walk

    given = {"looks": looks, "controls": controls, "timing": timing, "seeds": seeds}
    return walk(_pipeline(model, faces, engine), sources, references, **given)


def _follow(
    source: Path,
    out: Path,
    references,
    looks,
    controls,
    model: str,
    faces: Faces,
    engine: Engine,
    fps: float | None,
    sound: bool,
    missing: list[int],
):
    """The clip of a source video; everything checked before torch is loaded."""
    from facemeld.fusion.inputs import read_input
    from facemeld.fusion.request import check_looks
    from facemeld.images.video_read import open_video
    from facemeld.images.video_write import check_video_target

    looks = replace(looks, references=[read_input(r) for r in references])
    config = check_inputs(model, [])
    check_looks(looks, controls, config)
    if out.resolve() == source.resolve():
        raise UserError("the output is the input", where=str(out), fix="choose another name")
    film = open_video(source)
    check_video_target(out, fps or film.fps)
    track = None
    if faces.align is not None or faces.paste_back:
        from facemeld.faces.track import FaceTrack
        from facemeld.fusion.photographs import aligned_looks

        finder, size = _finder(faces, model)
        looks = aligned_looks(looks, finder, size=size, on_note=note)
        track = FaceTrack(finder, size=size, fps=fps or film.fps)
    from facemeld.fusion.follow import follow

    return follow(
        _pipeline(model, faces, engine),
        film,
        looks,
        controls,
        track=track,
        align=None if track is None else track.finder.kind,
        paste_back=faces.paste_back,
        fps=fps,
        sound=sound,
        on_missing=lambda: missing.append(1),
    )


def _pipeline(model: str, faces: Faces, engine: Engine):
    from facemeld.fusion.pipeline import FusionPipeline

    weights_dir = faces.weights_dir
    return FusionPipeline.from_pretrained(
        model, weights_dir=weights_dir, on_note=note, **asdict(engine)
    )


def _finder(faces: Faces, model: str):
    """The finder of faces, and the side that the model wants them in."""
    from facemeld.faces.detect import FaceFinder

    finder = FaceFinder(faces.align or "auto", weights_dir=faces.weights_dir)
    note_missing(finder.missing)
    return finder, check_inputs(model, []).image_size


def _aligned(files: list[Path], finder, size: int) -> list:
    """The largest face of each photograph."""
    from facemeld.fusion.photographs import aligned_faces

    found = aligned_faces(files, finder, size=size, must_be_found=False, on_note=note)
    return [face.as_input() for face in found]
