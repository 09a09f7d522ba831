"""Cross-domain experiments: a model of some domains is fed sources of others.

The networks never saw such sources; what comes out shows what the generator takes a face to be.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facemeld.data.catalogue import locate
from facemeld.data.folders import DomainFolders, scan_domains
from facemeld.evaluation.fusion_scores import layout_kept, layout_of
from facemeld.evaluation.judges import load_mobilenet
from facemeld.evaluation.structure import luminance_structure
from facemeld.files import write_whole
from facemeld.fusion.inputs import read_input
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.images.arrays import from_array
from facemeld.images.read import centre_square
from facemeld.images.sheet import sheet
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
    layout_kept: dict[str, float] | None
    """Mean of ``evaluation.fusion_scores.layout_kept`` for ``foreign`` and ``own`` sources; None
    where the MobileNetV2 weights are not at hand."""


def cross_domains(
    model: str | Path,
    data: str | Path,
    sources: Sequence[str],
    out: Path,
    *,
    weights_dir: str | Path | None = None,
) -> CrossDomainResult:
    """Fuses sources of foreign domains, and for comparison of the model's own, with its references.

    Args:
        model: bundled model or model folder; its domains give the references.
        data: held-out pictures with a folder for each of the model's domains and of ``sources``.
        sources: the foreign domains.
        out: folder for the sheets and the numbers.
        weights_dir: where to look first for published weights.

    Raises:
        UserError: no such model, no pictures of one of the domains, or masked skips without a
            landmark network.
    """
    pipe = FusionPipeline.from_pretrained(model, weights_dir=weights_dir)
    own = scan_domains(data, only=pipe.domains, at_least=1)
    foreign = scan_domains(data, only=sources, at_least=1)
    judge = None
    if locate("mobilenet-v2", weights_dir) is not None:
        judge, _ = load_mobilenet(pipe.device, weights_dir)
    out.mkdir(parents=True, exist_ok=True)
    files, structure, kept = [], {}, {}
    for name, folders in (("foreign", foreign), ("own", own)):
        files.append(out / f"{name}-sources.jpg")
        write_picture(_sheet(pipe, folders, own), files[-1], settings=None)
        structure[name], structure["shuffled"], kept[name] = _measure(pipe, judge, folders, own)
    result = {"structure": structure, "layout_kept": kept if judge is not None else None}
    numbers = {"model": pipe.name, "own": pipe.domains, "foreign": list(sources)} | result
    text = json.dumps(numbers, indent=2, ensure_ascii=False)
    files.append(out / "cross-domain.json")
    write_whole(files[-1], lambda partial: partial.write_text(text + "\n", "utf-8"))
    return CrossDomainResult(tuple(files), **result)


def _sheet(pipe: FusionPipeline, sources: DomainFolders, own: DomainFolders) -> Image.Image:
    """A few sources of each domain under a few references of each of the model's own."""
    chosen = [(d, _spread(f, REFERENCES, last=True)) for d, f in zip(own.domains, own.files)]
    styles = np.concatenate([pipe.styles_of(files, domain) for domain, files in chosen])
    references = [_shown(pipe, file) for _, files in chosen for file in files]
    rows: list[list[Image.Image | None]] = [[None, *references]]
    for source in [file for files in sources.files for file in _spread(files, SHOWN)]:
        rows.append([_shown(pipe, source), *from_array(pipe.under_styles(source, styles))])
    return sheet(rows)


def _shown(pipe: FusionPipeline, file: Path) -> Image.Image:
    return centre_square(read_input(file).image, pipe.image_size)


@torch.inference_mode()
def _measure(
    pipe: FusionPipeline, judge, sources: DomainFolders, own: DomainFolders
) -> tuple[float, float, float | None]:
    """Correlation with the own source and with that of another result, and the layout kept."""
    chosen = pairs(sources, own)
    before, after, kept = [], [], []
    for start in range(0, len(chosen), BATCH):
        batch = chosen[start : start + BATCH]
        inputs = [read_input(source) for source, _, _ in batch]
        styles = np.concatenate([pipe.styles_of([look], domain) for _, look, domain in batch])
        pictures, masks = pipe.prepare(inputs), pipe.skip_masks(inputs)
        masks = None if masks is None else torch.from_numpy(masks).to(pipe.device)
        fused = pipe.translate(pictures, torch.from_numpy(styles).to(pipe.device), masks)
        before.append(luminance_structure(pictures))
        after.append(luminance_structure(fused))
        if judge is not None:
            fakes, originals = (layout_of(judge.with_layout(p)[1]) for p in (fused, pictures))
            others = ~torch.eye(len(batch), dtype=torch.bool, device=pipe.device)
            kept.append(layout_kept(fakes, originals, originals, others))
    before, after = torch.cat(before), torch.cat(after)
    means = [(b * after).sum(dim=1).mean() for b in (before, before.roll(1, 0))]
    if judge is not None:
        means.append(torch.cat(kept).nanmean())
    own_source, other_source, *rest = [round(mean.item(), 4) for mean in means]
    return own_source, other_source, rest[0] if rest else None


def pairs(sources: DomainFolders, own: DomainFolders) -> list[tuple[Path, Path, str]]:
    """Sources, each with a reference and its domain: those of every domain meet all own domains."""
    each, kinds = -(-MEASURED // len(sources.domains)), len(own.domains)
    looks = [_spread(files, -(-each // kinds), last=True) for files in own.files]
    found = []
    for files in sources.files:
        for number, source in enumerate(_spread(files, each)):
            kind = number % kinds
            look = looks[kind][number // kinds % len(looks[kind])]
            found.append((source, look, own.domains[kind]))
    return found[:MEASURED]


def _spread(files: Sequence[Path], count: int, *, last: bool = False) -> list[Path]:
    """``count`` different pictures, or all, evenly over the first or the last half."""
    half = files[len(files) // 2 :] if last else files[: max(1, len(files) // 2)]
    count = min(count, len(half))
    return [half[i * len(half) // count] for i in range(count)]
