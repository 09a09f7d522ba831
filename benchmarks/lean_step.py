"""Times the lean recipe's step with one option changed at a time, against the preset's.

    python benchmarks/lean_step.py --data faces/train [--rounds 20]

All variants run in one process on one thread and take turns, so that other work on the machine
slows them alike; times are the processor's. Printed are the median ratio of a fake's time to that
of the preset with its spread (10th to 90th percentile), and the operations of a fake. Variants
marked "same result" compute what the preset computes; the others change the dynamics, so what they
do to quality has to be looked at apart.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import torch

from facemeld.config import preset
from facemeld.networks import kernels
from facemeld.training.measure import Operations, prepared_run, write_made_up_pictures

SHARE = 8  # fakes of one of the two processes that train with the preset
CYCLE = 4  # iterations after which every term came round
VARIANTS: dict[str, dict] = {
    "the preset": {},
    "upsampling not folded (same result)": {},
    "cycle_interval = 4": {"cycle_interval": 4},
    "network.feature_size = 96": {"feature_size": 96},
    "cycle_interval = 4, network.feature_size = 96": {"cycle_interval": 4, "feature_size": 96},
    "batch_size doubled": {"batch_size": 2 * SHARE},
}


class Variant:
    """A run with some options changed."""

    def __init__(self, name: str, data: Path, out: Path) -> None:
        changes = VARIANTS[name]
        config = dataclasses.replace(
            preset("faces-64"),
            data=str(data),
            precision="fp32",
            batch_size=changes.get("batch_size", SHARE),
            cycle_interval=changes.get("cycle_interval", preset("faces-64").cycle_interval),
        )
        size = changes.get("feature_size", config.network.feature_size)
        network = dataclasses.replace(config.network, feature_size=size)
        self.run = prepared_run(dataclasses.replace(config, network=network), out)
        self.recipe = self.run._recipe(discriminator_started=False)
        self.subpixel_from = 10**6 if "not folded" in name else kernels.SUBPIXEL_FROM

    def seconds(self) -> float:
        """Processor time of a fake, over one cycle of iterations."""
        usual, kernels.SUBPIXEL_FROM = kernels.SUBPIXEL_FROM, self.subpixel_from
        self.run.iteration = CYCLE
        began = time.process_time()
        for _ in range(CYCLE):
            batch = self.run.sampler.batch(self.run.iteration)
            self.run.iterate(self.recipe, batch)
        kernels.SUBPIXEL_FROM = usual
        return (time.process_time() - began) / (CYCLE * self.run.config.batch_size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of domains; else pictures are made up")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder) / "pictures"
        if options.data is None:
            write_made_up_pictures(data, size=64, domains=6)
        variants = {name: Variant(name, data, Path(folder)) for name in VARIANTS}
    gflop = {}
    for name, variant in variants.items():
        with Operations() as operations:
            variant.seconds()
        gflop[name] = operations.total / (CYCLE * variant.run.config.batch_size) / 1e9
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(options.rounds):
        for name, variant in variants.items():
            times[name].append(variant.seconds())
    print("| variant | GFLOP a fake | time of a fake, preset = 1 (10-90 %) |\n|---|---|---|")
    for name, taken in times.items():
        ratios = sorted(a / b for a, b in zip(taken, times["the preset"]))
        low, high = (ratios[round(q * (len(ratios) - 1))] for q in (0.1, 0.9))
        middle = statistics.median(ratios)
        print(f"| {name} | {gflop[name]:.2f} | {middle:.3f} ({low:.3f}-{high:.3f}) |")
    best = statistics.median(times["the preset"])
    print(f"\nthe preset: {1 / best:.1f} fakes a second of processor time on one thread")


if __name__ == "__main__":
    main()
