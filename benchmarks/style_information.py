"""How much of a reference its style says, as far as a linear map can read it.

    facemeld download mobilenet-v2
    python benchmarks/style_information.py --model faces --data faces

DATA holds train/ and val/. On the training pictures of each domain a ridge regression learns to
foretell, from a picture's style and from the statistics that the style encoder makes it of, the
features of MobileNetV2 by which evaluation tells whether a result is nearer to its own reference
than to another one. The table says in how many cases what is foretold of a held-out picture is
nearer to its own features than to those of another one: the *own* of an evaluation, of a result
that shows all that the style says and is otherwise the mean picture.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facemeld.data.folders import scan_domains
from facemeld.data.sampling import as_tensor
from facemeld.data.store import load_pictures
from facemeld.errors import UserError
from facemeld.evaluation.fusion_scores import nearer_to_own
from facemeld.evaluation.judges import load_mobilenet
from facemeld.networks.bundle import load_model
from facemeld.networks.mobilenet import MobileNetV2Features
from facemeld.networks.model_folder import find_model
from facemeld.networks.style_encoder import ProjectedStyleEncoder

MOST, HELD_OUT, AT_ONCE = 1500, 200, 50  # pictures of a domain to learn from and to ask, at once
RIDGE = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["faces"])
    parser.add_argument("--data", type=Path, required=True, help="a folder of train/ and val/")
    parser.add_argument("--weights-dir", type=Path)
    options = parser.parse_args()
    try:
        judge, _ = load_mobilenet("cpu", options.weights_dir)
        print("| model | domain | style | statistics |")
        print("|---|---|---|---|")
        for model in options.model:
            tell(model, options.data, judge)
    except UserError as error:
        sys.exit(f"error: {error}")


@torch.no_grad()
def tell(model: str, data: Path, judge: MobileNetV2Features) -> None:
    """Prints the rows of a model."""
    networks = load_model(find_model(model))
    config, encoder = networks.config, networks.style_encoder
    if not isinstance(encoder, ProjectedStyleEncoder):
        raise UserError("only a projected style encoder is made of statistics", where=model)
    splits = [
        load_pictures(scan_domains(data / split, only=config.domains), config.image_size)
        for split in ("train", "val")
    ]
    for k, domain in enumerate(config.domains):
        learnt, asked = (
            seen(split.pictures[k], most, k, encoder, judge)
            for split, most in zip(splits, (MOST, HELD_OUT))
        )
        wanted = asked[-1]
        shares = [
            nearer_to_own(ridge(a, learnt[-1], b), torch.arange(len(b)), wanted).mean().item()
            for a, b in zip(learnt[:-1], asked[:-1])
        ]
        print(
            f"| {model} | {domain} | " + " | ".join(f"{s:.0%}" for s in shares) + " |", flush=True
        )


def seen(
    pictures: np.ndarray,
    most: int,
    domain: int,
    encoder: ProjectedStyleEncoder,
    judge: torch.nn.Module,
) -> list[Tensor]:
    """Styles, statistics and the judge's features of a domain's pictures, evenly chosen. N each"""
    count = min(most, len(pictures))
    pictures = pictures[np.arange(count) * len(pictures) // count]
    parts = []
    for some in np.array_split(pictures, -(-count // AT_ONCE)):
        shown = as_tensor(some, "cpu")
        statistics = encoder.statistics(encoder.features(shown), shown)
        styles = encoder.from_statistics(statistics, torch.full((len(some),), domain))
        parts.append((styles, encoder.standardise(statistics), judge(shown)))
    return [torch.cat(part) for part in zip(*parts)]


def ridge(known: Tensor, wanted: Tensor, asked: Tensor) -> Tensor:
    """What a ridge regression from ``known`` to ``wanted`` gives for ``asked``."""
    middle, spread, mean = known.mean(dim=0), known.std(dim=0) + 1e-6, wanted.mean(dim=0)
    known, asked = (known - middle) / spread, (asked - middle) / spread
    alike = (known @ known.T).double() + RIDGE * torch.eye(len(known), dtype=torch.double)
    return (asked @ known.T @ torch.linalg.solve(alike, (wanted - mean).double()).float()) + mean


if __name__ == "__main__":
    main()
