"""One picture by the official generator of 256 px, and by ours with every backend, on the CPU.

    git clone https://github.com/clovaai/stargan-v2
    python benchmarks/fusion_speed.py --peer stargan-v2

prints milliseconds for encoder and decoder together, and how many times faster than the official
code each is: the same architecture (w_hpf 0, 33.9 M parameters) with weights drawn at random, batch
1, one process, the contestants taking turns so that other work on the machine slows all of them.
The least time of each counts. ``--backends`` chooses; ``--int8`` adds the quantised graphs,
``--bf16`` PyTorch and OpenVINO in bf16. Where other programs want the cores, ``OMP_NUM_THREADS=1 …
--clock processor`` leaves their time out. The peer's code is CC BY-NC 4.0 and stays where you put
it; see parity_stargan_v2.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from parity_stargan_v2 import load_peer

from facemeld.config import LEVELS, preset
from facemeld.export.runtimes import export_model
from facemeld.fusion.backends import Backend
from facemeld.fusion.choice import open_backend
from facemeld.networks.bundle import Networks, save_model

SIDE = 256
STYLE_SIZE = 64
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="checkout of clovaai/stargan-v2")
    parser.add_argument("--backends", nargs="+", default=["torch", "onnx", "openvino"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--int8", action="store_true", help="the quantised graphs, too")
    parser.add_argument("--bf16", action="store_true", help="bf16, too")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    clock = CLOCKS[options.clock]

    torch.manual_seed(0)
    official = load_peer(options.peer).Generator(SIDE, STYLE_SIZE, w_hpf=0).eval()
    random = np.random.default_rng(0)
    picture = random.standard_normal((1, 3, SIDE, SIDE), np.float32).clip(-1, 1)
    style = random.standard_normal((1, STYLE_SIZE), np.float32)

    def run_official() -> None:
        with torch.no_grad():
            official(torch.from_numpy(picture), torch.from_numpy(style))

    with tempfile.TemporaryDirectory() as folder:
        contestants = {"official": run_official}
        found = backends(Path(folder), options.backends, options.int8, options.bf16)
        for name, backend in found.items():
            contestants[name] = passes(backend, picture, style)
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(1 + options.rounds):
            for name, run in contestants.items():
                began = clock()
                run()
                times[name].append(clock() - began)
    least = {name: 1000 * min(seconds[1:]) for name, seconds in times.items()}
    for name, milliseconds in least.items():
        facts = {"backend": name, "milliseconds_per_picture": round(milliseconds, 1)}
        print(json.dumps(facts | {"times_faster": round(least["official"] / milliseconds, 2)}))


def passes(backend: Backend, picture: np.ndarray, style: np.ndarray) -> Callable[[], object]:
    """A function that fuses one picture."""
    styles = np.repeat(style[:, None, None], len(LEVELS), axis=1)
    return lambda: backend.decode(backend.encode(picture), styles)


def backends(folder: Path, names: list[str], int8: bool, bf16: bool) -> dict[str, Backend]:
    """Our networks of the official size with every backend."""
    config = preset("starganv2").network
    config = dataclasses.replace(config, domains=("cat", "dog", "wild"), skips="none")
    save_model(Networks(config), folder / "model", card="# random\n")
    found: dict[str, Backend] = {}
    for precision in ("fp32", "int8") if int8 else ("fp32",):
        exported = folder / precision
        # Weights at random have no looks to keep: any distance will do.
        distance = (lambda a, b: (a - b)[:, 0, 0, 0] * 0) if precision == "int8" else None
        export_model(folder / "model", exported, format="onnx", distance=distance)
        for name in names:
            if name != "torch" or precision == "fp32":
                found[f"{name}-{precision}"] = open_backend(exported, name)
            if bf16 and name != "onnx" and precision == "fp32":
                found[f"{name}-bf16"] = open_backend(exported, name, precision="bf16")
    return found


if __name__ == "__main__":
    main()
