"""Every kind of generator with every kind of skips through the gates.

    python benchmarks/generator_gates.py [--image-size 16] [--processes 2] [--kind swin-unet]

Overfits eight faces under two styles and prints a table; exit code 1 if a gate is missed. What
the gates mean is in tests/networks/gates.py. About ten minutes of one core at 16 px, four times as
long at 32 px.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from facemeld.config import SwinConfig
from facemeld.config.network import GENERATORS, SKIPS
from facemeld.networks.generator import Generator

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "networks"))
from gates import Gates, measure, overfit, real_faces

STEPS, LEARNING_RATE = 1000, 4e-3
WIDTHS = {16: (32, 64), 32: (32, 64, 96), 64: (32, 64, 96, 128)}


def run(kind: str, skips: str, side: int) -> tuple[Gates, float]:
    """The gates of one combination, and the seconds of processor time that they took."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = Generator(
        kind=kind,
        image_size=side,
        widths=WIDTHS[side],
        style_size=16,
        encoder_blocks=1,
        decoder_blocks=1,
        skips=skips,
        skip_resolutions=(16, 32),
        styled_output=True,
        unit_styles=True,
        swin=SwinConfig(window_size=min(8, side // 4), convolutional_levels=1),
    )
    faces = real_faces(side)
    began = time.process_time()
    styles = overfit(generator, faces, STEPS, LEARNING_RATE)
    return measure(generator, faces, styles), time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, choices=WIDTHS, default=16)
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
