"""The options of `facemeld fuse`, in the groups that its help shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facemeld.errors import UserError


@dataclass(frozen=True)
class Mixing:
    """How the looks of several references are mixed, and read."""

    weights: tuple[float, ...] | None = None
    """One for each reference."""
    interpolation: Literal["linear", "spherical"] = "linear"
    """On straight lines between the styles, or along great circles."""
    domain: str | None = None
    """Domain of all references, or of the latent style; guessed from each reference."""
    source_domain: str | None = None
    """Domain of the source, where its own look is used; guessed."""


@dataclass(frozen=True)
class Where:
    """Where a look applies. Without --reference, the rest keeps the source's own look."""

    coarse: Path | None = None
    """Reference for the coarse decoder levels."""
    middle: Path | None = None
    """Reference for the middle ones."""
    fine: Path | None = None
    """Reference for the fine ones: colours and texture."""
    region: tuple[str, ...] = ()
    """WHERE=PICTURE: a reference for a place: eyes, brows, nose, mouth, skin, ears, hair, fur,
    outer, left, right, top, bottom, or a mask picture, white inside, drawn over the source or,
    square, over the result. Several are possible."""
    feather: float = 0.05
    """Softness of the places' edges, a share of the side."""


@dataclass(frozen=True)
class Latent:
    """Random looks."""

    latent: bool = False
    """Take the style from a random latent code of --domain."""
    seed: int = 0
    """Of the latent code and of the variations."""
    truncation: float = 1.0
    """1 is the random style, 0 the mean style of its domain."""
    variations: int = 0
    """Write so many random variations of the result instead, to a folder."""
    variation_angle: float = 20.0
    """How far variations turn away from the style, in degrees."""


@dataclass(frozen=True)
class Shape:
    """What stays of the source, and what of a second one."""

    second_source: Path | None = None
    """Picture whose shapes are blended into the source's."""
    source_mix: float | None = None
    """0 is the source, 1 the second source; 0.5 if not given."""
    content_strength: float = 1.0
    """Factor of what the generator's skips carry from source to result."""
    colour_match: float = 0.0
    """1 gives the result the source's colours."""


@dataclass(frozen=True)
class Photographs:
    """Pictures as photographs with faces in them; without these, as aligned faces."""

    align: Literal["human", "animal", "anime", "auto"] | None = None
    """Find the faces of all pictures, of this kind or any, and align them."""
    paste_back: bool = False
    """Put the fused face into the source photograph; aligns by auto if not said."""
    faces: Literal["largest", "all"] = "largest"
    """Of each source photograph."""
    weights_dir: Path | None = None
    """Folder to look in first for detectors and landmark networks."""

    @property
    def wanted(self) -> bool:
        """Whether faces are to be looked for."""
        return self.align is not None or self.paste_back


@dataclass(frozen=True)
class Then:
    """A second model, which gets the result as its source. For levels, places and jobs of its own
    run `facemeld fuse` a second time."""

    then: str | None = None
    """Bundled model or model folder."""
    then_reference: tuple[Path, ...] = ()
    """Pictures that give its look."""
    then_weights: tuple[float, ...] | None = None
    """One for each of those."""
    then_domain: str | None = None
    """Domain of those; without any, a random look of this domain is taken."""
    then_strength: float = 1.0
    """0 keeps the first result's look."""


@dataclass(frozen=True)
class Again:
    """Make a result again from the settings inside it."""

    repeat: Path | None = None
    """What this command wrote. --model names the folder of the model that made it; for a picture,
    --source may name another source."""
    inputs: tuple[Path, ...] = ()
    """Folders to look for its inputs in; beside it and in the current folder is looked first."""


@dataclass(frozen=True)
class Engine:
    """What computes."""

    device: str = "cpu"
    """Where torch computes: cpu, cuda, …"""
    backend: Literal["auto", "torch", "onnx", "openvino"] = "auto"
    """PyTorch, ONNX Runtime or OpenVINO. All but torch need a model with graphs: a bundled one, or
    what `facemeld export` wrote. auto measures once which of those is faster here, and takes torch
    for other models."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Of torch, which computes if this is not fp32, unless the backend is openvino, which has bf16,
    too; auto takes the faster one."""
    compile: bool = False
    """Compile networks, which torch can: a minute for the first picture, less for the others."""


def controls_of(
    strength: float, size: int | None, mixing: Mixing, where: Where, latent: Latent, shape: Shape
):
    """The values of these options as ``fusion.request.Controls``."""
    from facemeld.fusion.request import Controls, numbered

    return Controls(
        weights=mixing.weights,
        interpolation=mixing.interpolation,
        strength=strength,
        domain=mixing.domain,
        source_domain=mixing.source_domain,
        feather=where.feather,
        latent=latent.latent,
        seed=latent.seed,
        truncation=latent.truncation,
        variations=numbered(latent.variations),
        variation_angle=latent.variation_angle,
        source_mix=shape.source_mix,
        content_strength=shape.content_strength,
        colour_match=shape.colour_match,
        size=size,
    )


def looks_of(references: list[Path], where: Where, shape: Shape):
    """The pictures of these options, read, as ``fusion.looks.Looks``."""
    from facemeld.fusion.looks import read_looks

    return read_looks(references, levels_of(where), regions_of(where), shape.second_source)


def levels_of(where: Where) -> dict[str, Path]:
    """The references of levels, by the levels' names."""
    named = {"coarse": where.coarse, "middle": where.middle, "fine": where.fine}
    return {name: path for name, path in named.items() if path is not None}


def regions_of(where: Where) -> list[tuple[str, Path]]:
    """Region or mask, and reference, of each --region."""
    regions = []
    for text in where.region:
        place, equals, picture = text.partition("=")
        if not (place and equals and picture):
            raise UserError(
                f"'{text}' does not say where and what",
                where="--region",
                fix="write for example: --region left=cat.jpg",
            )
        regions.append((place, Path(picture)))
    return regions


def pictures_of(paths: list[Path]) -> list[Path]:
    """The paths, and in the place of each folder the pictures in it and below, sorted."""
    from facemeld.images.read import is_picture_name

    found = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(p for p in path.rglob("*") if is_picture_name(p) and p.is_file())
        if not inside:
            raise UserError("no pictures in this folder", where=str(path))
        found += inside
    return found
