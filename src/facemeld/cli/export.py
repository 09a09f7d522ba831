"""The command export: graphs for runtimes that need no PyTorch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from facemeld.cli.app import app
from facemeld.errors import UserError


@app.command
def export(
    out: Path,
    model: str = "faces",
    format: Literal["onnx", "openvino"] = "onnx",
    precision: Literal["fp32", "int8"] = "fp32",
    weights_dir: Path | None = None,
) -> None:
    """Write a model folder that also runs without PyTorch, by ONNX Runtime or OpenVINO.

    Encoder, decoder, style encoder and mapping network, of any batch size, each compared with
    PyTorch. Use it with `facemeld fuse --model OUT --backend onnx`.

    Args:
        out: folder to write; new or empty, or the model's own folder, which is then added to.
        model: bundled model or model folder.
        format: of the graphs; OpenVINO reads onnx, too.
        precision: int8 is written if the generator's pictures stay near enough to fp32, as LPIPS
            measures it; needs the weights lpips-alexnet or lpips-alexnet-flax.
        weights_dir: folder to look in first for those weights.
    """
    from facemeld.export.target import check_folder, check_packages
    from facemeld.networks.model_folder import find_model, read_network_config

    folder = find_model(model)
    read_network_config(folder)
    check_packages(format)
    check_folder(folder, out)
    if precision == "int8" and format != "onnx":
        raise UserError(
            "int8 graphs are written as onnx, which OpenVINO reads, too", where="--precision"
        )
    from facemeld.export.runtimes import export_model

    distance = None
    if precision == "int8":
        from facemeld.evaluation.judges import load_lpips

        distance, _ = load_lpips("cpu", weights_dir)

    def on_graph(name: str, difference: float) -> None:
        text = f"{name}: differs from PyTorch by at most {difference:.1g}"
        print(text, file=sys.stderr, flush=True)

    print(export_model(model, out, format=format, distance=distance, on_graph=on_graph))
