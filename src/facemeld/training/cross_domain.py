"""Cross-domain experiments: a model of some domains is fed sources of others.

The networks never saw such sources; what comes out shows what the generator takes a face to be.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from facemeld.data.folders import DomainFolders, scan_domains
from facemeld.evaluation.structure import luminance_structure
from facemeld.files import write_whole
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.images.write import write_picture

SHOWN = 3  # sources of each domain on a sheet
REFERENCES = 2  # references of each domain on a sheet
MEASURED = 100  # sources of each kind in a number
BATCH = 25


@dataclass(frozen=True)
class CrossDomainResult:
    """What ``cross_domains`` wrote and measured."""

    files: tuple[Path, ...]
    """The sheets: foreign sources, own sources; then the numbers as JSON."""
    structure: dict[str, float]
    """Mean correlation of result and source (luminance gradients at 16 px) for ``foreign`` and
    ``own`` sources, and for ``shuffled``: own results against sources of others."""


def cross_domains(
    model: str | Path, data: str | Path, sources: Sequence[str], out: Path
) -> CrossDomainResult:
    """Fuses sources of foreign domains, and for comparison of the model's own, with its references.

    Args:
        model: bundled model or model folder; its domains give the references.
        data: held-out pictures with a folder for each of the model's domains and of ``sources``.
        sources: the foreign domains.
        out: folder for the sheets and the numbers.

    Raises:
        UserError: no such model, or no pictures of one of the domains.
    """
    pipe = FusionPipeline.from_pretrained(model)
    own = scan_domains(data, only=pipe.domains, at_least=1)
    foreign = scan_domains(data, only=sources, at_least=1)
    references = _spread(own, REFERENCES, last=True)
    out.mkdir(parents=True, exist_ok=True)
    files, structure = [], {}
    for name, folders in (("foreign", foreign), ("own", own)):
        sheet = pipe.grid(_spread(folders, SHOWN), references)
        files.append(out / f"{name}-sources.jpg")
        write_picture(sheet, files[-1], settings=None)
        structure[name], structure["shuffled"] = _structure(pipe, folders, own)
    numbers = {"model": pipe.name, "own": pipe.domains, "foreign": list(sources)}
    text = json.dumps(numbers | {"structure": structure}, indent=2, ensure_ascii=False)
    files.append(out / "cross-domain.json")
    write_whole(files[-1], lambda partial: partial.write_text(text + "\n", "utf-8"))
    return CrossDomainResult(tuple(files), structure)


@torch.inference_mode()
def _structure(
    pipe: FusionPipeline, sources: DomainFolders, references: DomainFolders
) -> tuple[float, float]:
    """Correlation with the own source, and with the source of another result."""
    each = -(-MEASURED // len(sources.domains))
    chosen = _spread(sources, each)[:MEASURED]
    looks = _spread(references, -(-MEASURED // len(references.domains)), last=True)
    # coprime with the number of domains, so that every domain meets every other
    looks = [looks[(7 * i) % len(looks)] for i in range(len(chosen))]
    before, after = [], []
    for start in range(0, len(chosen), BATCH):
        pictures = pipe.prepare(chosen[start : start + BATCH])
        styles = torch.from_numpy(pipe.styles_of(looks[start : start + BATCH]))
        styles = styles.to(pictures.device)
        before.append(luminance_structure(pictures))
        after.append(luminance_structure(pipe.translate(pictures, styles)))
    before, after = torch.cat(before), torch.cat(after)
    products = (before * after).sum(dim=1), (before.roll(1, 0) * after).sum(dim=1)
    return tuple(round(p.mean().item(), 4) for p in products)


def _spread(folders: DomainFolders, count: int, *, last: bool = False) -> list[Path]:
    """``count`` pictures of each domain, evenly over its first or last half."""
    chosen = []
    for files in folders.files:
        half = files[len(files) // 2 :] if last else files[: max(1, len(files) // 2)]
        chosen += [half[i * len(half) // count] for i in range(min(count, len(half)))]
    return chosen
