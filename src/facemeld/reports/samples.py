"""Sample sheets of several models: the same sources, references and latent codes for each.

What is shown is a function of the pictures and the seed alone, never of the models.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facemeld.data.randomness import random_at
from facemeld.errors import UserError
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.images.arrays import from_array
from facemeld.images.read import centre_square, read_picture
from facemeld.images.sheet import sheet
from facemeld.networks.bundle import Networks, load_model, without_values
from facemeld.reports.runs import Run
from facemeld.training import checkpoint

MOST_DOMAINS = 8
TARGETS = {"reference": 2, "latent": 1}  # looks of each source on the sheet of all runs
_SMALLEST_CELL, _LARGEST_CELL = 96, 256
_LONGEST_LATENT = 4096
_PICTURES, _LATENTS = 0, 1  # independent random streams


@dataclass(frozen=True)
class Faces:
    """What the sheets show: a source, a reference and a latent code of each domain."""

    domains: list[str]
    sources: list[Path]
    references: list[Path]
    seed: int

    def latent(self, index: int, size: int) -> torch.Tensor:
        """Latent code of a domain, 1 Z; the first Z of the same numbers for every model."""
        random = random_at(self.seed, index, _LATENTS)
        code = random.standard_normal(_LONGEST_LATENT, dtype=np.float32)
        return torch.from_numpy(code[:size])[None]


def choose_faces(files: dict[str, Sequence[Path]], seed: int) -> Faces:
    """Draws a source and a reference of each domain, different pictures where there are two.

    Args:
        files: pictures by domain; of more than eight domains the first eight are shown.
        seed: of the choice and of the latent codes.

    Raises:
        UserError: a chosen picture cannot be read.
    """
    domains = sorted(files)[:MOST_DOMAINS]
    sources, references = [], []
    for index, domain in enumerate(domains):
        order = random_at(seed, index, _PICTURES).permutation(len(files[domain]))
        sources.append(files[domain][order[0]])
        references.append(files[domain][order[-1 if len(order) < 2 else 1]])
    for path in {*sources, *references}:
        read_picture(path, enough=_LARGEST_CELL)
    return Faces(domains, sources, references, seed)


@dataclass(frozen=True)
class Fused:
    """Every source under every look of one model: of each domain's reference, then of its latent
    code. None where the model lacks the domain."""

    rows: list[list[Image.Image | None]]


def load_networks(run: Run) -> tuple[Networks, str]:
    """The networks of a run, and where they are from.

    Raises:
        UserError: damaged weights, or no checkpoint that can be read.
    """
    if run.model is not None:
        return load_model(run.model), "finished model" if run.config else "model folder"
    folder = run.folder / "checkpoints"

    def warn(text: str) -> None:
        print(text, file=sys.stderr)

    found = checkpoint.newest_valid(folder, warn, part="ema")
    if found is None:
        raise UserError("no checkpoint can be read", where=str(folder), fix="leave this run out")
    tensors, facts = found
    with without_values():
        networks = Networks(run.network)
    try:
        networks.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the checkpoint does not fit config.toml: {reason}", where=str(folder)
        ) from None
    return networks.eval().requires_grad_(False), f"checkpoint at {facts['pictures']:,} pictures"


def fuse_all(networks: Networks, faces: Faces, weights_dir: str | Path | None = None) -> Fused:
    """Every source under every look; 2 x domains pictures for each source.

    Args:
        networks: the model.
        faces: sources and looks.
        weights_dir: where to look first for a landmark network, which masked skips need.

    Raises:
        UserError: it is needed, and not there.
    """
    pipe = FusionPipeline.from_networks(networks, weights_dir=weights_dir)
    known = [i for i, domain in enumerate(faces.domains) if domain in pipe.domains]
    blank: list[Image.Image | None] = [None] * (2 * len(faces.domains))
    rows = [list(blank) for _ in faces.sources]
    if not known:
        return Fused(rows)
    labels = torch.tensor([pipe.domains.index(faces.domains[i]) for i in known])
    references = pipe.prepare([faces.references[i] for i in known])
    latents = torch.cat([faces.latent(i, networks.config.latent_size) for i in known])
    styles = torch.cat([pipe.encode_style(references, labels), pipe.map_latent(latents, labels)])
    columns = [*known, *(len(faces.domains) + i for i in known)]
    for row, source in zip(rows, faces.sources):
        # a broken model still gets its sheet
        fused = np.nan_to_num(pipe.under_styles(source, styles.cpu().numpy()))
        for column, image in zip(columns, from_array(fused)):
            row[column] = image
    return Fused(rows)


def sheet_of_run(fused: Fused, faces: Faces, image_size: int) -> Image.Image:
    """Sources down; references, then latent codes (marked *), across."""
    cell = _cell([image_size])
    header = [None, *_shown(faces.references, cell), *[None] * len(faces.domains)]
    sources = _shown(faces.sources, cell)
    rows = [header, *([source, *row] for source, row in zip(sources, fused.rows))]
    names = ["", *faces.domains, *(f"{domain} *" for domain in faces.domains)]
    return sheet(rows, column_labels=names, cell=cell)


def sheet_of_all(fused: Sequence[Fused], faces: Faces, image_sizes: Sequence[int]) -> Image.Image:
    """A row for each pair of source and look, a column for each run, numbered from 1."""
    cell, count = _cell(image_sizes), len(faces.domains)
    sources, references = _shown(faces.sources, cell), _shown(faces.references, cell)
    rows, labels = [], []
    for kind, targets in TARGETS.items():
        for step in range(1, max(2, min(targets + 1, count))):
            for index in range(count):
                target = (index + step) % count
                look = references[target] if kind == "reference" else None
                column = target + (0 if kind == "reference" else count)
                rows.append([sources[index], look, *(f.rows[index][column] for f in fused)])
                star = "" if kind == "reference" else " *"
                labels.append(f"{faces.domains[index]} > {faces.domains[target]}{star}")
    names = ["source", "look", *(str(number) for number in range(1, len(fused) + 1))]
    return sheet(rows, row_labels=labels, column_labels=names, cell=cell)


def _shown(paths: Sequence[Path], cell: int) -> list[Image.Image]:
    return [centre_square(read_picture(path), cell) for path in paths]


def _cell(image_sizes: Sequence[int]) -> int:
    """As large as the largest pictures, within what a page can show."""
    return min(max(*image_sizes, _SMALLEST_CELL), _LARGEST_CELL)
