"""How far a model's pictures are from those in fp32, by every other way of computing them.

    facemeld download lpips-alexnet-flax
    python benchmarks/fusion_precision.py --model faces faces-64 [--int8]

prints the mean LPIPS over the bundled faces, each under the look of another one: of PyTorch in bf16
and of the runtimes that are installed, in fp32 and, with ``--int8``, by graphs written for it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from facemeld.errors import UserError
from facemeld.evaluation.judges import load_lpips
from facemeld.export.int8 import FacePairs
from facemeld.export.runtimes import export_model
from facemeld.fusion.choice import open_backend
from facemeld.fusion.graph_backends import RUNTIMES, is_installed
from facemeld.networks.model_folder import find_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["faces"])
    parser.add_argument("--int8", action="store_true", help="write int8 graphs and try them, too")
    parser.add_argument("--weights-dir", type=Path)
    options = parser.parse_args()
    try:
        distance, _ = load_lpips("cpu", options.weights_dir)
    except UserError as error:
        sys.exit(f"error: {error}")
    print("| model | by | LPIPS to fp32 |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for model in options.model:
            folder = find_model(model)
            pairs = FacePairs(open_backend(folder, "torch"))
            exact = torch.from_numpy(pairs.fused(pairs.backend))
            ways = [(folder, {"wanted": "torch", "precision": "bf16"})]
            folders = [folder]
            if options.int8:
                quantised = Path(scratch) / folder.name
                try:
                    export_model(folder, quantised, format="onnx", distance=distance)
                    folders.append(quantised)
                except UserError as error:
                    print(f"| {folder.name} | int8 | refused: {error.what} |", flush=True)
            ways += [(f, {"wanted": r}) for f in folders for r in RUNTIMES if is_installed(r)]
            for place, how in ways:
                backend = open_backend(place, **how)
                found = torch.from_numpy(pairs.fused(backend))
                with torch.no_grad():
                    mean = distance(exact, found).mean().item()
                print(f"| {folder.name} | {backend.name} | {mean:.4f} |", flush=True)


if __name__ == "__main__":
    main()
