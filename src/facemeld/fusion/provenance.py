"""The settings that a fused picture carries: enough to make it again, and to prove of what."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import facemeld
from facemeld.fusion.inputs import Input, Picture, identity_of
from facemeld.fusion.looks import Looks
from facemeld.fusion.request import Controls

if TYPE_CHECKING:
    from facemeld.fusion.pipeline import FusionPipeline


def settings_of(
    pipe: FusionPipeline,
    source: Input,
    looks: Looks,
    controls: Controls,
    shares: Sequence[float],
    variation: int,
) -> dict:
    """JSON values; ``fusion.recall`` reads them back.

    Files are told by their names without folders, which may be private, and by their SHA-256.
    A source that came from another fusion is told by that one's settings. Of pictures that are
    aligned faces of files, ``placed`` says where in them they are.
    """
    asked = dataclasses.asdict(controls) | {"weights": list(shares)}
    del asked["variations"]
    looked = [*looks.references, *looks.levels.values(), *(r for _, r in looks.regions)]
    if any(r.placed for r in (*looked, looks.second_source) if r is not None):
        asked["placed"] = {
            "references": [r.placed for r in looks.references],
            "levels": {level: r.placed for level, r in looks.levels.items()},
            "regions": [r.placed for _, r in looks.regions],
            "second_source": looks.second_source.placed if looks.second_source else None,
        }
    return {
        **made_by(pipe),
        "source": source.name,
        "references": [r.name for r in looks.references],
        "levels": {level: r.name for level, r in looks.levels.items()},
        "regions": [[_name(where), r.name] for where, r in looks.regions],
        "second_source": looks.second_source.name if looks.second_source else None,
        **asked,
        "variation": variation,
        "sha256": {
            "source": source.sha256,
            "references": [r.sha256 for r in looks.references],
            "levels": {level: r.sha256 for level, r in looks.levels.items()},
            "regions": [[_sha256(where), r.sha256] for where, r in looks.regions],
            "second_source": looks.second_source.sha256 if looks.second_source else None,
        },
    }


def grid_settings(
    pipe: FusionPipeline,
    sources: Sequence[Picture],
    references: Sequence[Picture],
    *,
    domain: str | Sequence[str | None] | None = None,
    cell: int | None = None,
) -> dict:
    """What a sheet of ``FusionPipeline.grid`` says about itself, as JSON values."""
    pictures = {"sources": sources, "references": references}
    told = {name: [identity_of(p) for p in given] for name, given in pictures.items()}
    return made_by(pipe) | {"grid": told | {"cell": cell}, "domain": domain}


def made_by(pipe: FusionPipeline) -> dict:
    """What every result says: the program, the model and what computed it."""
    return {
        "facemeld": facemeld.__version__,
        "model": pipe.name,
        "model_sha256": pipe.weights_sha256,
        "backend": pipe.backend.name,
    }


def _name(where: Input | str):
    return where if isinstance(where, str) else where.name


def _sha256(where: Input | str) -> str | None:
    return None if isinstance(where, str) else where.sha256
