"""What comes of references unlike the training pictures, drawn in towards the usual ones or not.

    facemeld download mobilenet-v2
    python benchmarks/unusual_references.py --model faces --data faces --domain woman \\
      --references portraits/*.jpg

DATA holds train/ and val/. Held-out pictures of the other domains get the look of held-out pictures
of the domain, and of the given references, with the style encoder as it is and with one that does
not know what is usual. By the features of MobileNetV2, which no training used, the table says how
far the pictures are from usual (1 is average, from 1.15 on they are drawn in), how many results
a classifier takes for the domain, how far a result is from the five nearest training pictures,
in times of what a held-out picture is, and how often it is nearer to its own reference than to
another one.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facemeld.config import NetworkConfig
from facemeld.data.folders import scan_domains
from facemeld.data.sampling import as_tensor
from facemeld.data.store import load_pictures
from facemeld.errors import UserError, did_you_mean
from facemeld.evaluation.fusion_scores import DomainClassifier, nearer_to_own
from facemeld.evaluation.judges import load_mobilenet
from facemeld.images.arrays import to_array
from facemeld.images.read import centre_square, read_picture
from facemeld.networks.bundle import Networks, load_model
from facemeld.networks.model_folder import find_model
from facemeld.networks.style_encoder import ProjectedStyleEncoder

LEARNT, HELD_OUT, SOURCES = 600, 60, 12  # pictures of a domain
NEAREST, AT_ONCE = 5, 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="faces")
    parser.add_argument("--data", type=Path, required=True, help="a folder of train/ and val/")
    parser.add_argument("--domain", required=True, help="of the references and results")
    parser.add_argument("--references", type=Path, nargs="+", required=True, help="pictures")
    parser.add_argument("--weights-dir", type=Path)
    try:
        with torch.no_grad():
            tell(parser.parse_args())
    except UserError as error:
        sys.exit(f"error: {error}")


def tell(options: argparse.Namespace) -> None:
    """Prints the table."""
    networks = load_model(find_model(options.model))
    config, encoder = networks.config, networks.style_encoder
    if not isinstance(encoder, ProjectedStyleEncoder) or not encoder.domain_precision.any():
        fix = "take faces, or give a model what recipes/faces_blend.py --data takes from pictures"
        raise UserError("this model does not know what is usual", where=options.model, fix=fix)
    if options.domain not in config.domains:
        fix = did_you_mean(options.domain, config.domains)
        raise UserError(f"the model has no domain '{options.domain}'", fix=fix)
    target = config.domains.index(options.domain)
    judge, _ = load_mobilenet("cpu", options.weights_dir)

    train, val = (
        some_of(options.data / split, config, most)
        for split, most in (("train", LEARNT), ("val", HELD_OUT))
    )
    known = [in_parts(judge, pictures) for pictures in train]
    labels = torch.cat([torch.full((len(f),), k) for k, f in enumerate(known)])
    classifier = DomainClassifier(torch.cat(known), labels, len(known))
    real = known[target]
    scale = distance(in_parts(judge, val[target]), real)

    shown = (centre_square(read_picture(path), config.image_size) for path in options.references)
    given = torch.from_numpy(to_array(list(shown)))
    others = torch.stack([p[i] for i in range(SOURCES) for k, p in enumerate(val) if k != target])
    alone = copy.deepcopy(networks)
    alone.style_encoder.domain_precision.zero_()
    print("| references | from usual | drawn in | taken for the domain | off real pictures | own |")
    print("|---|---|---|---|---|---|")
    for name, references in (("held out", val[target]), ("given", given)):
        wanted = in_parts(judge, references)
        off = from_usual(encoder, references, target)
        for drawn, model in (("no", alone), ("yes", networks)):
            found = in_parts(judge, fused(model, others, references, target))
            taken = (classifier.probabilities(found).argmax(dim=1) == target).float().mean()
            own = nearer_to_own(found, torch.arange(len(found)), wanted).mean()
            numbers = f"{taken:.0%} | {distance(found, real) / scale:.2f} | {own:.0%}"
            print(f"| {name} | {off:.2f} | {drawn} | {numbers} |", flush=True)


def some_of(data: Path, config: NetworkConfig, most: int) -> list[Tensor]:
    """Of each domain so many pictures at most, evenly chosen."""
    store = load_pictures(scan_domains(data, only=config.domains), config.image_size)
    counts = [min(most, len(pictures)) for pictures in store.pictures]
    chosen = (p[np.arange(n) * len(p) // n] for p, n in zip(store.pictures, counts))
    return [as_tensor(pictures, "cpu") for pictures in chosen]


def in_parts(function: torch.nn.Module, pictures: Tensor) -> Tensor:
    """What a network makes of many pictures. B 3 H W -> B F"""
    return torch.cat([function(some) for some in pictures.split(AT_ONCE)])


def fused(networks: Networks, sources: Tensor, references: Tensor, target: int) -> Tensor:
    """Each reference with one of the sources. B 3 H W in [-1, 1]"""
    domains = torch.full((len(references),), target)
    styles = networks.style_encoder(references, domains)
    given = sources[torch.arange(len(references)) % len(sources)]
    pairs = zip(given.split(AT_ONCE), styles.split(AT_ONCE))
    return torch.cat([networks.generator(*pair) for pair in pairs]).clamp(-1, 1)


def from_usual(encoder: ProjectedStyleEncoder, pictures: Tensor, target: int) -> float:
    """Root mean square of the deviations from the domain's mean, the mean over the pictures."""
    x = encoder.standardise(encoder.statistics(encoder.features(pictures), pictures))
    return float(encoder.unusualness(x)[:, target].sqrt().mean())


def distance(features: Tensor, real: Tensor) -> float:
    """Mean distance to the nearest real pictures."""
    return float(torch.cdist(features, real).topk(NEAREST, largest=False).values.mean())


if __name__ == "__main__":
    main()
