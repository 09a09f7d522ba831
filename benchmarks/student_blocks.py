"""Two students of a teacher with equally many multiply-adds: of full and of separable convolutions.

    python benchmarks/student_blocks.py --data FACES/train --test-data FACES/val [--pictures 1200]

Both see the same batches of the `distil` recipe, pixels and frozen features only, for so many
pictures. Printed is how far each is then from the teacher on held-out pictures. The beginnings of
two runs say which kind learns sooner, not how good either gets. Both folders have a subfolder of
pictures for each of the teacher's domains.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

from facemeld.config import NetworkConfig
from facemeld.config.presets import distillation
from facemeld.data.folders import of_domains
from facemeld.data.store import load_pictures
from facemeld.evaluation.distilled import Pair, imitation
from facemeld.networks.bundle import load_model
from facemeld.networks.costs import generator_gmac
from facemeld.networks.model_folder import find_model, read_network_config
from facemeld.networks.student import student_network
from facemeld.training.loop import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", default="faces")
    parser.add_argument("--data", required=True)
    parser.add_argument("--test-data", required=True)
    parser.add_argument("--pictures", type=int, default=1200)
    parser.add_argument("--full-widths", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    parser.add_argument("--sources", type=int, default=96, help="held-out pictures of the measure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights-dir")
    options = parser.parse_args()
    folder = find_model(options.teacher)
    network, teacher = read_network_config(folder), load_model(folder)
    store = load_pictures(of_domains(options.test_data, network.domains), network.image_size)
    print("| student | widths | times fewer multiply-adds | mode | L1 | style | layout kept |")
    print("|---|---|---|---|---|---|---|")
    for kind, student in students(network, tuple(options.full_widths)).items():
        ratio = generator_gmac(network) / generator_gmac(student)
        config = dataclasses.replace(
            distillation(options.teacher, student),
            data=options.data,
            pictures=options.pictures,
            warmup_pictures=options.pictures,  # imitation only, without the discriminator
            seed=options.seed,
            processes=1,
        )
        with tempfile.TemporaryDirectory() as out:
            model = train(config, Path(out) / "run", weights_dir=options.weights_dir)
            pair = Pair(teacher, load_model(model))
            found = imitation(pair, store, seed=options.seed, sources=options.sources)
        widths = " ".join(map(str, student.widths))
        for mode, scores in found.items():
            numbers = (scores["l1"], scores["style_student"], scores["structure_student"])
            told = " | ".join(f"{number:.4f}" for number in numbers)
            print(f"| {kind} | {widths} | {ratio:.1f} | {mode} | {told} |", flush=True)


def students(teacher: NetworkConfig, full_widths: tuple[int, ...]) -> dict[str, NetworkConfig]:
    """The networks that are compared; one styled block pays for some of the full ones' width."""
    separable = student_network(teacher)
    full = dataclasses.replace(separable, separable=False, widths=full_widths, decoder_blocks=1)
    return {"full": full.resolved(), "separable": separable}


if __name__ == "__main__":
    main()
