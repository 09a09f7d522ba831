"""The command export: graphs for runtimes that need no PyTorch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from facemeld.cli.app import app


@app.command
def export(
    out: Path,
    model: str = "faces",
    format: Literal["onnx", "openvino"] = "onnx",
) -> None:
    """Write a model folder that also runs without PyTorch, by ONNX Runtime or OpenVINO.

    Encoder, decoder, style encoder and mapping network, of any batch size, each compared with
    PyTorch. Use it with `facemeld fuse --model OUT --backend onnx`.

    Args:
        out: folder to write; new or empty, or the model's own folder, which is then added to.
        model: bundled model or model folder.
        format: of the graphs.
    """
    from facemeld.networks.model_folder import find_model, read_network_config

    read_network_config(find_model(model))
    from facemeld.export.runtimes import export_model

    def on_graph(name: str, difference: float) -> None:
        text = f"{name}: differs from PyTorch by at most {difference:.1g}"
        print(text, file=sys.stderr, flush=True)

    print(export_model(model, out, format=format, on_graph=on_graph))
