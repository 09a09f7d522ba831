"""Step time and communication on many GPUs, estimated on paper: the tables of docs/scaling.md.

    python benchmarks/scaling_estimate.py

Nothing is measured here but the numbers of parameters, which are those of the real networks.
"""

from __future__ import annotations

import argparse
import dataclasses

import torch
from torch import nn

from facemeld.config import preset
from facemeld.networks.bundle import Networks, build_discriminator

NODE = 8  # GPUs that NVLink connects
SIZES = (8, 64, 512)
# what each phase of an iteration trains, and so what is averaged after it
PHASES = {
    "starganv2": (
        ("discriminator",),
        ("discriminator",),
        ("generator", "style_encoder", "mapping_network"),
        ("generator",),
    ),
    "fast": (("discriminator",), ("generator", "style_encoder", "mapping_network")),
}
GFLOP = {"starganv2": 1540.0, "fast": 673.0}  # a picture an iteration at 256 px, bench train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peak", type=float, default=989, help="TFLOP/s of a GPU, dense bf16")
    parser.add_argument("--share", type=float, default=0.35, help="share of the peak that is kept")
    parser.add_argument("--inside", type=float, default=350, help="GB/s a GPU within a node")
    parser.add_argument("--between", type=float, default=40, help="GB/s a GPU between nodes")
    parser.add_argument("--latency", type=float, default=10, help="microseconds a ring step")
    given = parser.parse_args()
    parameters = count_parameters()
    print_parameters(parameters)
    for recipe in PHASES:
        for title, pictures in (
            ("8 pictures a GPU", dict.fromkeys(SIZES, 8)),
            ("512 pictures in all", {n: 512 // n for n in SIZES}),
        ):
            print(f"\n`{recipe}`, {title}\n")
            print("| GPUs | batch | compute ms | communication ms | step ms | pictures/s | kept |")
            print("|---|---|---|---|---|---|---|")
            for gpus in SIZES:
                print_row(recipe, gpus, pictures[gpus], parameters, given)


def count_parameters() -> dict[str, int]:
    """Trained parameters of the paper's networks at 256 px with three domains."""
    network = dataclasses.replace(preset("starganv2").network, domains=("a", "b", "c"))
    with torch.device("meta"):
        modules: dict[str, nn.Module] = dict(Networks(network).named_children())
        modules["discriminator"] = build_discriminator(network)
    return {name: sum(p.numel() for p in m.parameters()) for name, m in modules.items()}


def print_parameters(parameters: dict[str, int]) -> None:
    print("| network | parameters | fp32 gradient MB |\n|---|---|---|")
    for name, count in parameters.items():
        print(f"| {name.replace('_', ' ')} | {count / 1e6:.2f} M | {4 * count / 1e6:.1f} |")
    for recipe, phases in PHASES.items():
        sent = sum(4 * parameters[name] for phase in phases for name in phase)
        print(f"| averaged in an iteration of `{recipe}` | | {sent / 1e6:.0f} |")


def print_row(recipe: str, gpus: int, pictures: int, parameters: dict[str, int], given) -> None:
    compute = pictures * GFLOP[recipe] / (given.peak * given.share)  # GFLOP / (TFLOP/s) = ms
    bandwidth = given.inside if gpus <= NODE else given.between
    communication = 0.0
    for phase in PHASES[recipe]:
        size = sum(4 * parameters[name] for name in phase)
        # ring all-reduce: 2 (N - 1) steps, each of size / N
        communication += 2 * (gpus - 1) / gpus * size / (bandwidth * 1e9) * 1e3
        communication += 2 * (gpus - 1) * given.latency * 1e-3
    step = compute + communication
    rate = 1e3 * gpus * pictures / step
    print(
        f"| {gpus} | {gpus * pictures} | {compute:.1f} | {communication:.1f} | {step:.1f} "
        f"| {rate:,.0f} | {100 * compute / step:.0f} % |"
    )


if __name__ == "__main__":
    main()
