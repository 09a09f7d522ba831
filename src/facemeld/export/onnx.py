"""A model as ONNX graphs that read their weights from the model's own ``model.safetensors``.

The tensors of a safetensors file lie in it as plain rows of numbers, which is what ONNX calls
external data. So a folder holds its weights once, for PyTorch and for every other runtime, and the
graphs add next to nothing.
"""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper

from facemeld.export.graphs import Graph
from facemeld.files import write_whole
from facemeld.networks.bundle import other_name

OPSET = 20
_TYPES = {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT}


def write_onnx(graph: Graph, path: Path, weights: Path) -> None:
    """Writes one graph.

    Args:
        graph: what to write.
        path: the file; in the same folder as the weights.
        weights: the model's weights, in which parameters are found by their names.
    """
    model = trace(graph)
    _refer_to(model, weights)
    write_whole(path, lambda partial: partial.write_bytes(model.SerializeToString()))


def trace(graph: Graph) -> onnx.ModelProto:
    """The graph with all its weights inside."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # Tracing takes seconds; torch.export and its translation take minutes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.module.eval(),
            tuple(graph.inputs.values()),
            stream,
            dynamo=False,
            opset_version=OPSET,
            do_constant_folding=False,  # so that the weights stay as they are in their file
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes=graph.free_dimensions(),
        )
    return onnx.load_from_string(stream.getvalue())


def holds_halves(weights: Path) -> bool:
    """Whether the generator's weights are stored as fp16."""
    entries, _ = _header(weights)
    return any(e["dtype"] == "F16" for n, e in entries.items() if n.startswith("generator."))


def _header(weights: Path) -> tuple[dict, int]:
    """The tensors of a safetensors file, and where in it their numbers begin."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length)), 8 + length


def _refer_to(model: onnx.ModelProto, weights: Path) -> None:
    """Replaces each weight by its place in the file; halves are turned into fp32 by the graph."""
    entries, start = _header(weights)
    inside, casts = [], []
    for tensor in model.graph.initializer:
        entry = entries.get(tensor.name) or entries.get(other_name(tensor.name))
        if entry is None or entry["shape"] != list(tensor.dims) or entry["dtype"] not in _TYPES:
            inside.append(tensor)
            continue
        half = entry["dtype"] == "F16"
        name = f"{tensor.name}.half" if half else tensor.name
        begin, end = entry["data_offsets"]
        place = TensorProto(name=name, dims=tensor.dims, data_type=_TYPES[entry["dtype"]])
        place.data_location = TensorProto.EXTERNAL
        where = {"location": weights.name, "offset": start + begin, "length": end - begin}
        for key, value in where.items():
            place.external_data.add(key=key, value=str(value))
        inside.append(place)
        if half:
            casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
    del model.graph.initializer[:]
    model.graph.initializer.extend(inside)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
