"""What made a result, from the settings in it. Settings may come from anybody: nothing in them is
trusted, and files are looked for by their names, in folders that the caller names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from facemeld.config import from_dict
from facemeld.config.checks import type_problems
from facemeld.data.folders import bundled_faces
from facemeld.errors import UserError
from facemeld.fusion.inputs import IN_MEMORY, file_sha256
from facemeld.fusion.regions import NAMES
from facemeld.fusion.repeat import (
    Found,
    FoundLooks,
    Placed,
    Recalled,
    RecalledFollow,
    RecalledPhotograph,
    RecalledWalk,
)
from facemeld.fusion.request import Controls
from facemeld.fusion.timing import MOST_FPS, Timing
from facemeld.images.read import shown
from facemeld.images.write import read_settings
from facemeld.networks.model_folder import bundled_models, find_model

_DEEPEST = 8  # fusions of fusions
_MOST_FACES = 1000


def recall(
    result: Path,
    folders: Sequence[Path],
    *,
    source: Path | None = None,
    models: Sequence[str] = (),
) -> Recalled | RecalledPhotograph:
    """What made a picture that facemeld wrote.

    Args:
        result: the picture.
        folders: where its inputs may be, in subfolders too; beside it, in the current folder and
            among the bundled faces is looked in any case.
        source: another source instead of the recorded one.
        models: bundled names or model folders that may be the recorded model.

    Raises:
        UserError: no settings in the picture, or inputs or models that are missing or not those
            that it was made with.
    """
    settings = _settings(result, "fuse")
    if "aligned" in settings and source is not None:
        raise UserError(
            "it was made of faces found in photographs, whose places another source does not have",
            where=shown(result),
            fix="leave out --source, or fuse the other photograph with --align",
        )
    search = _Search(shown(result), (result.parent, Path()), tuple(folders), tuple(models))
    with _damage_told(result):
        recalled = search.recall(settings, source)
        if "aligned" not in settings:
            return recalled
        about = settings["aligned"]
        if not 1 <= len(about) <= _MOST_FACES:
            raise ValueError("the number of faces")
        faces = [Placed.read(face) for face in about]
        return RecalledPhotograph(recalled, faces, settings.get("paste_back") is True, about)


def recall_video(
    result: Path, folders: Sequence[Path], *, models: Sequence[str] = ()
) -> RecalledWalk | RecalledFollow:
    """What made a video that facemeld wrote; see ``recall``."""
    settings = _settings(result, "video")
    search = _Search(shown(result), (result.parent, Path()), tuple(folders), tuple(models))
    with _damage_told(result):
        return search.recall_video(settings)


def _settings(result: Path, command: str) -> dict:
    """The settings in a file, if that command wrote it."""
    settings = read_settings(result)
    kind = "picture" if command == "fuse" else "video"
    if settings is None:
        raise UserError(
            f"the {kind} holds no settings of facemeld",
            where=shown(result),
            fix=f"a {kind} can be repeated if {command} made it, with its settings kept",
        )
    other = next((name for name in ("video", "grid") if name in settings), "fuse")
    if other != command:
        raise UserError(
            f"what {other} made cannot be repeated by {command}",
            where=shown(result),
            fix=f"facemeld {other}",
        )
    return settings


@contextmanager
def _damage_told(result: Path) -> Iterator[None]:
    """What goes wrong with settings that are not as facemeld writes them is a UserError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(
            f"the settings in the file are damaged: {error}", where=shown(result)
        ) from None


@dataclass(frozen=True)
class _Search:
    where: str
    beside: tuple[Path, ...]
    folders: tuple[Path, ...]
    models: tuple[str, ...]

    def recall(self, settings: dict, source: Path | None, depth: int = 0) -> Recalled:
        """The settings of ``provenance.settings_of``, read."""
        if depth > _DEEPEST:
            raise ValueError("too many fusions of fusions")
        hashes = settings["sha256"]
        placed = settings.get("placed") or {}
        levels = placed.get("levels", {})
        origin = settings["source"]
        if isinstance(origin, dict):
            origin = self.recall(origin, source, depth + 1)
        else:
            origin = source or self.file(origin, hashes["source"])
        second = settings["second_source"]
        looks = FoundLooks(
            references=[
                self.found(name, sha256, place)
                for name, sha256, place in _together(
                    settings["references"], hashes["references"], placed.get("references")
                )
            ],
            levels={
                level: self.found(name, hashes["levels"][level], levels.get(level))
                for level, name in settings["levels"].items()
            },
            regions=[
                (
                    name if own is None and name in NAMES else self.file(name, own),
                    self.found(reference, sha256, place),
                )
                for (name, reference), (own, sha256), place in _together(
                    settings["regions"], hashes["regions"], placed.get("regions")
                )
            ],
            second_source=None
            if second is None
            else self.found(second, hashes["second_source"], placed.get("second_source")),
        )
        controls = _controls(settings, variations=[settings["variation"]])
        return Recalled(self.model_of(settings), origin, looks, controls, _backend(settings))

    def recall_video(self, settings: dict) -> RecalledWalk | RecalledFollow:
        """The settings of ``video.video_settings``, read."""
        about, second = settings["video"], settings["second_source"]
        looks = FoundLooks(
            references=[self.identified(r) for r in about["references"]],
            levels={level: self.identified(r) for level, r in settings["levels"].items()},
            regions=[
                (where if where in NAMES else self.identified(where).path, self.identified(r))
                for where, r in settings["regions"]
            ],
            second_source=None if second is None else self.identified(second),
        )
        shared = {
            "model": self.model_of(settings),
            "looks": looks,
            "controls": _controls(settings),
            "backend": _backend(settings),
        }
        if about["kind"] == "walk":
            names = [field.name for field in dataclasses.fields(Timing)]
            timing = _checked(from_dict(Timing, {name: about[name] for name in names}))
            sources = [self.identified(source) for source in about["sources"]]
            seeds = tuple(int(seed) for seed in about["seeds"])
            return RecalledWalk(sources=sources, timing=timing, seeds=seeds, **shared)
        fps = float(about["fps"])
        if not 0.1 <= fps <= MOST_FPS:
            raise ValueError("the frames a second")
        return RecalledFollow(
            source=self.identified(about["source"]).path,
            align=about["align"],
            paste_back=about["paste_back"] is True,
            sound=about["sound"] is True,
            fps=fps,
            **shared,
        )

    def identified(self, about: dict) -> Found:
        """A picture that ``inputs.identity_of`` told of."""
        return self.found(about["name"], about["sha256"], about.get("placed"))

    def found(self, name: str, sha256: str | None, placed: dict | None) -> Found:
        return Found(self.file(name, sha256), Placed.read(placed) if placed else None)

    def file(self, name: str, sha256: str | None) -> Path:
        """The file of this name with this content."""
        if name == IN_MEMORY or sha256 is None:
            raise UserError(
                "it was made from a picture that was in no file",
                where=self.where,
                fix="name a source with --source" if name == IN_MEMORY else "",
            )
        other = None
        for path in self._candidates(Path(name).name):
            if file_sha256(path) == sha256:
                return path
            other = path
        if other is not None:
            raise UserError(
                f"{shown(other.name)} is not the picture that was used: its SHA-256 differs",
                where=shown(other),
                fix=f"find the one with SHA-256 {sha256}",
            )
        raise UserError(
            f"the input {shown(Path(name).name)} was not found",
            where=self.where,
            fix="name the folder that it is in with --inputs",
        )

    def _candidates(self, name: str):
        if not name:
            raise ValueError("an input without a name")
        bundled = {path.name: path for path in bundled_faces()}
        for folder in self.beside:
            if (folder / name).is_file():
                yield folder / name
        for folder in self.folders:
            for path in sorted(folder.rglob("*")):
                if path.name == name and path.is_file():
                    yield path
        if name in bundled:
            yield bundled[name]

    def model_of(self, settings: dict) -> Path:
        """The model of this name, or one that was named for it, with these weights."""
        name, sha256 = settings["model"], settings["model_sha256"]
        known = [name] if name in bundled_models() else []
        for model in [*known, *self.models]:
            folder = find_model(model)
            weights = folder / "model.safetensors"
            if weights.is_file() and file_sha256(weights) == sha256:
                return folder
        raise UserError(
            f"it was made with the model {shown(name)}, which is not at hand",
            where=self.where,
            fix=f"give its folder with --model; SHA-256 of its weights: {sha256}",
        )


def _together(names: list, hashes: list, placed: list | None):
    return zip(names, hashes, placed or [None] * len(names), strict=True)


def _backend(settings: dict) -> str:
    return str(settings.get("backend", "torch-fp32"))


def _controls(settings: dict, **more) -> Controls:
    names = {field.name for field in dataclasses.fields(Controls)}
    values = {name: value for name, value in settings.items() if name in names}
    values["weights"] = values.get("weights") or None
    return _checked(from_dict(Controls, values | more))


def _checked(values):
    if problems := type_problems(values):
        raise ValueError("; ".join(problems))
    return values
