"""A model's graphs as OpenVINO's own files: an .xml of the nodes beside a .bin of the weights."""

from __future__ import annotations

from pathlib import Path

import openvino

from facemeld.export.graphs import Graph
from facemeld.export.onnx import holds_halves, trace


def write_openvino(graph: Graph, path: Path, weights: Path) -> None:
    """Writes one graph.

    Args:
        graph: what to write.
        path: the .xml file; the .bin goes beside it.
        weights: the model's weights. If they are fp16 there, so are they in the .bin, which loses
            nothing; computed is in fp32.
    """
    model = openvino.Core().read_model(trace(graph).SerializeToString())
    openvino.save_model(model, path, compress_to_fp16=holds_halves(weights))
