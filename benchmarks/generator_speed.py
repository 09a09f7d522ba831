"""Training speed of each kind of generator and style encoder, measured in turn.

    python benchmarks/generator_speed.py --data FACES [--rounds 5] [--weights-dir DIR]

Runs iterations of the `lean` recipe at 64 px with each combination in turn, in one process of one
thread, and prints the median of its processor time and the ratio to the first combination with its
spread over the rounds. FACES has a subfolder of pictures for each domain; a few hundred are enough.
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
from facemeld.data.catalogue import find_weights
from facemeld.data.folders import scan_domains
from facemeld.training.loop import _Run
from facemeld.training.processes import Team

STEPS = 4
STYLE_WIDTHS = (24, 48, 96, 192, 192)
COMBINATIONS = {
    "resnet, none": {"skips": "none"},
    "resnet, additive": {},
    "swin-encoder, none": {"generator": "swin-encoder", "skips": "none"},
    "swin-encoder, additive": {"generator": "swin-encoder"},
    "swin-unet, none": {"generator": "swin-unet", "skips": "none", "decoder_blocks": 1},
    "swin-unet, additive": {"generator": "swin-unet", "decoder_blocks": 1},
    "resnet, additive, style resnet": {
        "style_encoder": "resnet",
        "style_encoder_widths": STYLE_WIDTHS,
    },
    "resnet, additive, style swin": {"style_encoder": "swin"},
}


class Timed:
    """A run of one combination, of which iterations are timed."""

    def __init__(self, changes: dict, data: str, features: Path, out: Path) -> None:
        config = preset("faces-64")
        folders = scan_domains(data)
        network = dataclasses.replace(config.network, domains=folders.domains, **changes)
        config = dataclasses.replace(
            config, network=network, data=data, precision="fp32", processes=1, warmup_pictures=0
        ).resolved()
        self.run = _Run(Team(), config, folders, out, features, None)
        self.recipe = self.run._recipe(False)

    def seconds(self) -> float:
        """Processor seconds of ``STEPS`` iterations."""
        run, began = self.run, time.process_time()
        for _ in range(STEPS):
            batch = run.sampler.batch(run.iteration)
            for loss, trained in self.recipe.step(batch, run._weights(), run.iteration, {}):
                run._train(loss, trained)
            run.ema.update(run.iteration)
            run.iteration += 1
        return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weights-dir")
    options = parser.parse_args()
    torch.set_num_threads(1)
    features = find_weights("efficientnet-lite0", options.weights_dir)
    with tempfile.TemporaryDirectory() as out:
        runs = {
            name: Timed(changes, options.data, features, Path(out))
            for name, changes in COMBINATIONS.items()
        }
        for run in runs.values():
            run.seconds()  # warm
        rounds = [
            {name: run.seconds() for name, run in runs.items()} for _ in range(options.rounds)
        ]
    batch = preset("faces-64").batch_size
    first = next(iter(COMBINATIONS))
    print("| combination | pictures a processor second | speed against the first |")
    print("|---|---|---|")
    for name in COMBINATIONS:
        ratios = [r[first] / r[name] for r in rounds]
        speed = STEPS * batch / statistics.median(r[name] for r in rounds)
        print(
            f"| {name} | {speed:.1f} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


if __name__ == "__main__":
    main()
