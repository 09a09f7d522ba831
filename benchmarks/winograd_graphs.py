"""Wide convolutions in OpenVINO: its own, and Winograd's as ``fusion.winograd`` writes them.

    OMP_NUM_THREADS=1 python benchmarks/winograd_graphs.py [--sizes 512x16 256x32 …] [--rounds 6]

Two convolutions with ReLU in a row, one picture, one thread. Printed is the least processor time of
each, taken in turn, so that other programs' time is left out.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import openvino
from openvino import opset13 as ops

from facemeld.fusion.winograd import use_winograd

OPTIONS = {
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_PRECISION_HINT": "f32",
    "INFERENCE_NUM_THREADS": "1",
}
SIZES = ["512x16", "512x32", "256x16", "256x32", "256x64"]
RANDOM = np.random.default_rng(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="channels x side")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    print("| channels, side | OpenVINO's own | Winograd | times faster |")
    print("|---|---|---|---|")
    for size in options.sizes:
        channels, side = map(int, size.split("x"))
        pictures = RANDOM.standard_normal((1, channels, side, side), np.float32)
        own = two_convolutions(channels, side)
        fast = own.clone()
        if not use_winograd(fast):
            parser.error(f"{size} is too small for Winograd's")
        contestants = [openvino.compile_model(model, "CPU", OPTIONS) for model in (own, fast)]
        least = [float("inf")] * 2
        for _ in range(1 + options.rounds):
            for i, run in enumerate(contestants):
                began = time.process_time()
                run(pictures)
                least[i] = min(least[i], 1000 * (time.process_time() - began))
        plain, winograd = least
        told = f"{plain:.1f} ms | {winograd:.1f} ms | {plain / winograd:.1f}"
        print(f"| {channels}, {side} px | {told} |", flush=True)


def two_convolutions(channels: int, side: int) -> openvino.Model:
    """A network of 3x3 convolutions that keep the size, with weights at random."""
    x = start = ops.parameter([-1, channels, side, side], np.float32, "pictures")
    for _ in range(2):
        weight = RANDOM.standard_normal((channels, channels, 3, 3), np.float32)
        weight /= 3 * channels**0.5
        x = ops.relu(ops.convolution(x, ops.constant(weight), *[[1, 1]] * 4))
    return openvino.Model([x], [start])


if __name__ == "__main__":
    main()
