"""Every kind of generator with every kind of skips through the gates.

    python benchmarks/generator_gates.py [--image-size 32] [--processes 2] [--kind swin-unet]

Overfits eight faces under two styles and prints a table; exit code 1 if a gate is missed. What
the gates mean is in tests/networks/gates.py.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from facemeld.config.network import GENERATORS, SKIPS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "networks"))
from gates import Gates, gate_generator, measure, overfit, real_faces

STEPS, LEARNING_RATE = 1000, 4e-3
SIZES = (16, 32, 64)


def run(kind: str, skips: str, side: int) -> tuple[Gates, float]:
    """The gates of one combination, and the seconds of processor time that they took."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = gate_generator(kind, skips, side)
    faces = real_faces(side)
    began = time.process_time()
    styles = overfit(generator, faces, STEPS, LEARNING_RATE)
    return measure(generator, faces, styles), time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, choices=SIZES, default=32)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kind", choices=GENERATORS, help="this kind only")
    options = parser.parse_args()
    kinds = [options.kind] if options.kind else GENERATORS
    combinations = list(itertools.product(kinds, SKIPS))
    print("| generator | skips | dB | styles | spectrum | locality | half precision | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    missed = []
    with ProcessPoolExecutor(options.processes) as pool:
        for (kind, skips), (gates, seconds) in zip(
            combinations, pool.map(run, *zip(*combinations), itertools.repeat(options.image_size))
        ):
            print(
                f"| {kind} | {skips} | {gates.psnr:.1f} | {gates.style_contrast:.2f} "
                f"| {gates.spectrum_error:.1%} | {gates.locality:.0%} "
                f"| {gates.half_difference:.1%} | {seconds:.0f} |",
                flush=True,
            )
            missed += [f"{kind}, {skips}: {gate}" for gate in gates.missed()]
    for line in missed:
        print(line, file=sys.stderr)
    raise SystemExit(bool(missed))


if __name__ == "__main__":
    main()
