"""Whether the scores rank known cases as they should, with the published networks.

    python benchmarks/validate_fusion_scores.py --data faces --weights-dir WEIGHTS [--fixture FILE]

DATA holds val/ and train/ with at least two domains of people. The cases are models whose
results are known functions of source and reference (tests/known_models.py): the source itself,
recoloured, mirrored, turned, shifted; a pixel blend, a faint overlay of the source; the reference
itself, another face of its domain; grey; and one of two pictures. They go through the scorers that
an evaluation uses. Prints the table of docs/evaluation.md and exits with 1 if an order that is
claimed does not hold. ``--fixture`` writes what was found, for tests/evaluation.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path

import numpy as np
import torch

from facemeld.data.folders import scan_domains
from facemeld.data.store import load_pictures
from facemeld.evaluation.judges import Judges, load_head_geometry, load_lpips, load_mobilenet
from facemeld.evaluation.light import LightScorer, summary
from facemeld.evaluation.light_target import FileRows, LightJudges
from facemeld.evaluation.pictures import decode
from facemeld.evaluation.plan import PEOPLE

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from known_models import CASES, Grid, Mixer, World, broken_claims  # noqa: E402

OF_PAIRS = ("structure", "layout_kept", "pose_degrees", "landmark_shift", "likeness")
OF_PAIRS += ("nearer_to_own", "domain_accuracy", "diversity", "smoothness")
OF_TARGETS = ("retrieval", "covered")
COLUMNS = (*OF_PAIRS, "reconstruction", *OF_TARGETS)


def evenly(files: tuple, count: int) -> list:
    count = min(count, len(files))
    return [files[i * len(files) // count] for i in range(count)]


def pairs_of(names: tuple[str, ...]) -> list[tuple[int, int]]:
    """Each domain with the next one, and the people among themselves."""
    people = [place for place, name in enumerate(names) if name.lower() in PEOPLE]
    pairs = [(place, (place + 1) % len(names)) for place in range(len(names))]
    return list(dict.fromkeys(pairs + [(a, b) for a in people for b in people if a != b]))


def scores_of(case: str, world: World, light: LightScorer, outputs: int) -> dict[str, float]:
    """Means over pairs, domains and targets."""
    mix, found = CASES[case], {name: [] for name in COLUMNS}
    people = tuple(name for name in world.names if name.lower() in PEOPLE)
    for source, target in pairs_of(world.names):
        more = {"people": people, "outputs": outputs, "batch": 16}
        scores = world.score(mix, source, target, **more)["reference"]
        for name in OF_PAIRS:
            if scores.get(name) is not None:
                found[name].append(scores[name])
    for place in range(len(world.names)):
        found["reconstruction"].append(world.reconstruction(mix, place, batch=16)["reconstruction"])
    means = summary(light.score(Mixer(mix, world.side, world.names)))["reference"]
    for name in OF_TARGETS:
        found[name].append(means[name])
    return {name: round(float(np.mean(values)), 4) for name, values in found.items() if values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--count", type=int, default=16, help="sources a domain")
    parser.add_argument("--outputs", type=int, default=2, help="references of each")
    parser.add_argument("--fakes", type=int, default=60, help="of the light protocol, a domain")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures in pixels")
    parser.add_argument("--fixture", type=Path, help="file for what was found")
    arguments = parser.parse_args()
    size, weights_dir = arguments.size, arguments.weights_dir
    light, light_sha256 = load_mobilenet("cpu", weights_dir)
    lpips, lpips_sha256 = load_lpips("cpu", weights_dir)
    head, head_sha256 = load_head_geometry("cpu", weights_dir)
    val, train = (scan_domains(arguments.data / split) for split in ("val", "train"))
    held_out, reals = (
        {n: decode(evenly(f, count), size, "clean") for n, f in zip(s.domains, s.files)}
        for s, count in ((val, arguments.count), (train, 4 * arguments.count))
    )
    world = World(Judges(Grid(), lpips, light, head), held_out, reals)
    rows = [FileRows(train.root, files, size) for files in train.files]
    judges = LightJudges(light, light_sha256)
    scorer = LightScorer(judges, load_pictures(val, size), rows, fakes=arguments.fakes)
    figures = {}
    print("case".ljust(12), *(name.rjust(max(len(name), 8)) for name in COLUMNS), sep="  ")
    for case in CASES:
        figures[case] = scores_of(case, world, scorer, arguments.outputs)
        values = [figures[case].get(name) for name in COLUMNS]
        told = ["" if value is None else f"{value:.3f}" for value in values]
        cells = [text.rjust(max(len(name), 8)) for text, name in zip(told, COLUMNS)]
        print(case.ljust(12), *cells, sep="  ", flush=True)
    if arguments.fixture:
        pictures = f"{len(val.domains)} domains ({', '.join(val.domains)}), {size} px, "
        pictures += f"{arguments.count} sources a domain, {arguments.outputs} references each; "
        pictures += f"{arguments.fakes} fakes a domain for retrieval and covered"
        networks = {"mobilenet-v2": light_sha256, "lpips": lpips_sha256, "head-pose": head_sha256}
        source = {"by": "benchmarks/validate_fusion_scores.py", "torch": torch.__version__}
        source |= {"measured": date.today().isoformat(), "pictures": pictures}
        text = json.dumps(
            {"provenance": source | {"networks": networks}, "cases": figures}, indent=1
        )
        arguments.fixture.write_text(text + "\n", encoding="utf-8")
    broken = broken_claims(figures)
    print(*broken, sep="\n")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
