"""`facemeld export`: a model folder with graphs for ONNX Runtime or OpenVINO, each checked."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import facemeld
from facemeld.errors import UserError
from facemeld.export.graphs import Graph, graphs_of
from facemeld.export.target import check_folder, check_packages
from facemeld.files import write_whole
from facemeld.fusion.exported import VERSION, Exported, manifest_path
from facemeld.fusion.graph_backends import RUNTIMES, GraphBackend, is_installed, load_graph
from facemeld.fusion.inputs import file_sha256
from facemeld.fusion.torch_backend import TorchBackend
from facemeld.networks.bundle import Networks, load_model
from facemeld.networks.model_folder import find_model

if TYPE_CHECKING:
    from facemeld.export.int8 import FacePairs

TOLERANCE = 1e-3
"""The most that a graph's outputs may differ from PyTorch's, relative to the largest value but at
least 1. Pictures are in [-1, 1], where a level of 8-bit colour is 8e-3."""
INT8_LPIPS = 0.05
"""The most that int8 graphs may change the bundled faces' fusions, as mean LPIPS."""
Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Pictures B 3 H W in [-1, 1] twice -> B, like LPIPS."""


def export_model(
    model: str | Path,
    out: Path,
    *,
    format: str,
    distance: Distance | None = None,
    on_graph: Callable[[str, float], None] = lambda name, difference: None,
) -> Path:
    """Writes a model folder that holds graphs of a format; returns the manifest's path.

    Args:
        model: bundled name or model folder.
        out: a new or empty folder, or the model's own, which is then added to.
        format: ``onnx`` or ``openvino``.
        distance: makes the generator's convolutions int8 (ONNX only, which OpenVINO reads, too), if
            by this measure they change the pictures by at most ``INT8_LPIPS``.
        on_graph: is told of each graph and its largest difference to PyTorch.

    Raises:
        UserError: a package is missing, ``out`` holds something else, or a graph does not compute
            what PyTorch does.
    """
    check_packages(format)
    source = find_model(model)
    in_place = check_folder(source, out)
    if distance is not None and format != "onnx":
        raise UserError("int8 graphs are written as onnx, which OpenVINO reads, too")
    networks = load_model(source)
    precision = "fp32" if distance is None else "int8"
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        shutil.copyfile(source / "model.safetensors", work / "model.safetensors")
        graphs, files = {}, {}
        pairs = None if distance is None else _pairs(networks)
        for graph in graphs_of(networks):
            exact = pairs is None or graph.name not in pairs.quantised
            written = _write(graph, work, format, None if exact else pairs)
            difference = _difference(graph, work / written[0], format, exact=exact)
            on_graph(graph.name, difference)
            graphs[graph.name] = {"file": written[0], "largest_difference": difference}
            files |= {name: file_sha256(work / name) for name in written}
        manifest = {
            "version": VERSION,
            "format": format,
            "precision": precision,
            "facemeld": facemeld.__version__,
            "torch": torch.__version__,
            "model_sha256": file_sha256(work / "model.safetensors"),
            "tolerance": TOLERANCE,
            "graphs": graphs,
            "files": files,
        }
        if pairs is not None:
            paths = {name: work / graphs[name]["file"] for name in graphs}
            exported = Exported(work, format, precision, paths)
            manifest["lpips"] = _perceived(pairs, exported, distance)
            manifest["most_lpips"] = INT8_LPIPS
        out.mkdir(parents=True, exist_ok=True)
        kept = [] if in_place else [f for f in sorted(source.iterdir()) if _belongs(f)]
        for path in (*kept, *(work / name for name in files)):
            write_whole(out / path.name, lambda partial, path=path: shutil.copyfile(path, partial))
    text = json.dumps(manifest, indent=2) + "\n"
    path = manifest_path(out, format)
    write_whole(path, lambda partial: partial.write_text(text, "utf-8"))
    return path


def _belongs(path: Path) -> bool:
    """Whether a file is of the model itself, not of other graphs made from it."""
    return path.is_file() and (
        path.name in ("config.json", "model.safetensors", "README.md")
        or path.suffix in (".jpg", ".txt")
    )


def _write(graph: Graph, folder: Path, format: str, pairs: FacePairs | None) -> list[str]:
    """Writes one graph, quantised if there are pairs; returns its files, first the one to load."""
    path, weights = folder / f"{graph.name}.onnx", folder / "model.safetensors"
    if format == "openvino":
        from facemeld.export.openvino import write_openvino

        write_openvino(graph, path.with_suffix(".xml"), weights)
        return [f"{graph.name}.xml", f"{graph.name}.bin"]
    from facemeld.export.onnx import trace, write_onnx

    if pairs is None:
        write_onnx(graph, path, weights)
    else:
        from facemeld.export.int8 import quantise

        model = quantise(trace(graph), pairs.samples(graph.name))
        path.write_bytes(model.SerializeToString())
    return [path.name]


def _pairs(networks: Networks) -> FacePairs:
    from facemeld.export.int8 import FacePairs

    return FacePairs(TorchBackend(networks))


def _perceived(pairs: FacePairs, exported: Exported, distance: Distance) -> dict[str, float]:
    """How much the quantised graphs change pictures, by each runtime that is installed.

    Raises:
        UserError: more than they may.
    """
    ours = torch.from_numpy(pairs.fused(pairs.backend))
    found = {}
    for runtime in filter(is_installed, RUNTIMES):
        theirs = pairs.fused(GraphBackend(pairs.backend.config, exported, runtime))
        mean = distance(ours, torch.from_numpy(theirs)).mean().item()
        if not mean <= INT8_LPIPS:
            raise UserError(
                f"by {runtime}, int8 changes the pictures by an LPIPS of {mean:.3f}, more than "
                f"{INT8_LPIPS}",
                where="--precision int8",
                fix="export in fp32",
            )
        found[runtime] = float(f"{mean:.3g}")
    return found


def _difference(graph: Graph, path: Path, format: str, *, exact: bool) -> float:
    """The largest relative difference to PyTorch, for two samples and for one.

    Raises:
        UserError: it is to be exact, and above the tolerance.
    """
    run = load_graph(path, format)
    largest = 0.0
    for count in (2, 1):
        inputs = {name: v[:count] if v.dim() else v for name, v in graph.inputs.items()}
        with torch.no_grad():
            expected = graph.module(*inputs.values())
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = run({name: v.contiguous().numpy() for name, v in inputs.items()})
        for ours, theirs in zip(expected, found, strict=True):
            scale = max(1.0, ours.abs().max().item())
            largest = max(largest, float(np.abs(ours.numpy() - theirs).max()) / scale)
    if exact and not largest <= TOLERANCE:
        raise UserError(
            f"the graph {graph.name} differs from PyTorch by {largest:.2g}, more than "
            f"{TOLERANCE:g}",
            where=format,
        )
    return float(f"{largest:.3g}")
