"""Whether the fusion scores rank known cases as they should, with the published networks.

    python benchmarks/validate_fusion_scores.py --data faces --weights-dir WEIGHTS

DATA holds val/ and train/ with at least two domains; those of people are compared in head pose and
landmarks. Sources of one domain are paired with references of the next, and for each pair these
cases are scored: the source itself, the source mirrored (another pose), a pixel blend, the
reference itself, another face of the reference's domain, and grey. Exits with 1 if an order that
docs/evaluation.md claims does not hold.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facemeld.data.folders import scan_domains
from facemeld.evaluation.fusion_scores import DomainClassifier, likeness, structure_kept
from facemeld.evaluation.judges import load_head_geometry, load_lpips, load_mobilenet
from facemeld.evaluation.pictures import as_levels, decode
from facemeld.evaluation.plan import PEOPLE
from facemeld.networks.head_geometry import angle_between, landmark_shift

CASES = {
    "source": lambda source, reference: source,
    "mirrored source": lambda source, reference: source.flip(3),
    "blend": lambda source, reference: (source + reference) / 2,
    "reference": lambda source, reference: reference,
    "other reference": lambda source, reference: reference.roll(1, dims=0),
    "grey": lambda source, reference: torch.zeros_like(source),
}
# (score, better case, worse case)
CLAIMS = (
    ("structure", "source", "blend"),
    ("structure", "blend", "reference"),
    ("likeness", "reference", "blend"),
    ("likeness", "blend", "other reference"),
    ("likeness", "blend", "source"),
    ("domain accuracy", "reference", "blend"),
    ("domain accuracy", "reference", "source"),
    ("-pose", "source", "blend"),
    ("-pose", "blend", "reference"),
    ("-pose", "source", "mirrored source"),
    ("-landmarks", "source", "blend"),
    ("-landmarks", "blend", "reference"),
    ("-LPIPS to the source", "source", "blend"),
    ("-LPIPS to the source", "blend", "reference"),
)


def pictures(files: tuple[Path, ...], count: int, size: int) -> Tensor:
    """Evenly spread pictures of a domain, B 3 H W in [-1, 1]."""
    count = min(count, len(files))
    chosen = [files[i * len(files) // count] for i in range(count)]
    return as_levels(decode(chosen, size, "clean"), "cpu") / 127.5 - 1


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--count", type=int, default=40, help="sources, and reals, a domain")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures in pixels")
    arguments = parser.parse_args()
    light, _ = load_mobilenet("cpu", arguments.weights_dir)
    lpips, _ = load_lpips("cpu", arguments.weights_dir)
    head, _ = load_head_geometry("cpu", arguments.weights_dir)
    val, train = (scan_domains(arguments.data / split) for split in ("val", "train"))
    count, size = arguments.count, arguments.size
    held_out = [pictures(files, count, size) for files in val.files]
    held_out = [p[: min(map(len, held_out))] for p in held_out]
    reals = [light(pictures(files, 4 * count, size)) for files in train.files]
    labels = torch.cat([torch.full((len(r),), place) for place, r in enumerate(reals)])
    classifier = DomainClassifier(torch.cat(reals), labels, len(reals))

    found: dict[tuple[str, str], list[float]] = {}
    people = [place for place, name in enumerate(val.domains) if name.lower() in PEOPLE]
    for source_place, sources in enumerate(held_out):
        target = (source_place + 1) % len(held_out)
        references = held_out[target]
        reference_features = light(references)
        rows = torch.arange(len(references))
        for case, make in CASES.items():
            made = make(sources, references)
            features = light(made)
            right = classifier.probabilities(features).argmax(dim=1) == target
            scores = {
                "structure": structure_kept(made, sources),
                "likeness": likeness(features, rows, reference_features),
                "domain accuracy": right.float(),
                "-LPIPS to the source": -lpips(made, sources),
            }
            if source_place in people:
                other = held_out[people[(people.index(source_place) + 1) % len(people)]]
                made = make(sources, other)
                before, after = head(sources), head(made)
                scores["-pose"] = -angle_between(before.rotation, after.rotation)
                scores["-landmarks"] = -landmark_shift(before.landmarks, after.landmarks)
            for score, values in scores.items():
                found.setdefault((score, case), []).extend(values.tolist())

    names = list(dict.fromkeys(score for score, _ in found))
    print("case".ljust(18), *(name.rjust(max(len(name), 8)) for name in names), sep="  ")
    for case in CASES:
        values = [f"{np.mean(found[name, case]):.3f}".rjust(max(len(name), 8)) for name in names]
        print(case.ljust(18), *values, sep="  ")
    wrong = [
        claim
        for claim in CLAIMS
        if (claim[0], claim[1]) in found
        and np.mean(found[claim[0], claim[1]]) <= np.mean(found[claim[0], claim[2]])
    ]
    for score, better, worse in wrong:
        print(f"{score}: {better} does not come before {worse}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
