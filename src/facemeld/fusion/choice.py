"""Which backend a model is computed by; ``auto`` measures once and remembers in facemeld's home.

PyTorch is not among what ``auto`` measures where a model has graphs: loading it takes longer than a
whole fusion, and it was slower than the runtimes wherever that was measured (docs/benchmarks.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facemeld.config import LEVELS
from facemeld.data.catalogue import home
from facemeld.errors import UserError, did_you_mean
from facemeld.files import write_whole
from facemeld.fusion.backends import Backend
from facemeld.fusion.exported import has_graphs, manifest_path, read_exported
from facemeld.fusion.graph_backends import RUNTIMES, GraphBackend, is_installed
from facemeld.fusion.inputs import file_sha256
from facemeld.networks.model_folder import read_network_config

if TYPE_CHECKING:
    import torch

BACKENDS = ("auto", "torch", *RUNTIMES)
TRIALS = 5
_WORTH = 0.9  # of the time of one that starts sooner


def open_backend(
    folder: Path,
    wanted: str = "auto",
    *,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    compile: bool = False,
    on_note: Callable[[str], None] = lambda text: None,
) -> Backend:
    """The backend of this name for a model folder.

    Args:
        folder: the model's.
        wanted: ``torch``, ``onnx`` (ONNX Runtime), ``openvino``, or ``auto`` for the fastest here
            that can do the rest of what is asked for.
        device: of PyTorch; the runtimes compute on the CPU.
        precision: ``fp32``; of PyTorch and OpenVINO ``bf16``, too, and of PyTorch ``auto``, the
            faster one.
        compile: compile PyTorch's networks.
        on_note: is told what ``auto`` measured.

    Raises:
        UserError: unknown name, runtime not installed, the model has no graphs for it, or it
            cannot do what is asked for.
    """
    if wanted not in BACKENDS:
        raise UserError(
            f"there is no backend '{wanted}'", where="backend", fix=did_you_mean(wanted, BACKENDS)
        )
    lacking = {b: _lacking(b, device, precision, compile) for b in ("auto", *RUNTIMES)}
    if wanted in RUNTIMES and lacking[wanted]:
        able = ["torch", *(r for r in RUNTIMES if not lacking[r])]
        raise UserError(
            f"the backend {wanted} has no {' and no '.join(lacking[wanted])}",
            where="backend",
            fix=f"take the backend {' or '.join(able)}, or leave that out",
        )
    if wanted == "auto":
        wanted = "torch" if lacking["auto"] else fastest_backend(folder, on_note=on_note)
    if wanted == "torch":
        import torch

        from facemeld.fusion.torch_backend import TorchBackend
        from facemeld.networks.bundle import load_model

        # Rounds by 1e-5 otherwise, which 8 bits do not show, and is up to a fifth faster.
        networks = load_model(folder, device=device).to(memory_format=torch.channels_last)
        return TorchBackend(networks, precision=precision, compile=compile)
    # OpenVINO reads ONNX, too.
    own = wanted == "openvino" and has_graphs(folder, "openvino")
    exported = read_exported(folder, "openvino" if own else "onnx")
    return GraphBackend(read_network_config(folder), exported, wanted, precision)


def _lacking(backend: str, device: str | torch.device, precision: str, compile: bool) -> list[str]:
    """What a runtime, or each of them (``auto``), cannot do of what is asked for, in words."""
    known = ("fp32", "bf16") if backend == "openvino" else ("fp32",)
    lacking = [] if precision in known else [f"precision {precision}"]
    lacking += ["compile"] if compile else []
    return lacking + ([f"device {device}"] if str(device) != "cpu" else [])


def named_backend(name: str) -> dict[str, str]:
    """Arguments of ``FusionPipeline.from_pretrained`` for what results call ``torch-bf16``, …"""
    backend, _, precision = name.partition("-")
    asked = backend == "torch" or precision == "bf16"  # else it is that of the graphs
    return {"backend": backend} | ({"precision": precision} if asked else {})


def usable_backends(folder: Path) -> list[str]:
    """Those that ``auto`` chooses from for this model here, the soonest to start first."""
    graphs = {
        "onnx": has_graphs(folder, "onnx"),
        "openvino": has_graphs(folder, "onnx") or has_graphs(folder, "openvino"),
    }
    return [r for r in RUNTIMES if graphs[r] and is_installed(r)] or ["torch"]


def fastest_backend(folder: Path, *, on_note: Callable[[str], None] = lambda text: None) -> str:
    """The fastest usable backend: remembered, or measured now."""
    usable = usable_backends(folder)
    if len(usable) == 1:
        return usable[0]
    measured = remembered(folder)
    if measured is None:
        on_note(f"measuring once which is fastest here: {', '.join(usable)}")
        measured = {name: _milliseconds(open_backend(folder, name)) for name in usable}
        _remember(folder, measured)
        on_note(f"{explained(measured)}; {fastest(measured)} is used from now on")
    return fastest(measured)


def fastest(measured: dict[str, float]) -> str:
    """The one with the least milliseconds; one that starts sooner may be a little slower."""
    chosen = None
    for name in RUNTIMES:
        if name in measured and (chosen is None or measured[name] < _WORTH * measured[chosen]):
            chosen = name
    assert chosen is not None
    return chosen


def explained(measured: dict[str, float]) -> str:
    """Each backend's milliseconds, as a sentence says them."""
    return ", ".join(f"{name} {ms:.1f} ms" for name, ms in measured.items()) + " a picture"


def remembered(folder: Path) -> dict[str, float] | None:
    """Milliseconds a picture of each backend, as measured earlier for this model and machine."""
    try:
        measured = json.loads(_memory(folder).read_text("utf-8"))
        return {name: float(measured[name]) for name in usable_backends(folder)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _remember(folder: Path, measured: dict[str, float]) -> None:
    text = json.dumps({name: round(ms, 3) for name, ms in measured.items()})
    try:
        write_whole(_memory(folder), lambda partial: partial.write_text(text, "utf-8"))
    except (UserError, OSError):
        pass  # a home that cannot be written to costs time only


def _memory(folder: Path) -> Path:
    """The file that tells of this model, these packages and this machine."""
    manifests = [manifest_path(folder, form) for form in ("onnx", "openvino")]
    parts = [file_sha256(p) for p in (folder / "model.safetensors", *manifests) if p.is_file()]
    for package in ("onnxruntime", "openvino"):
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    parts += [platform.machine(), platform.processor(), str(os.cpu_count())]
    parts.append(os.environ.get("OMP_NUM_THREADS", ""))
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    return home() / "cache" / "backends" / f"{name}.json"


def _milliseconds(backend: Backend) -> float:
    """One picture's encoder and decoder passes, the fastest of several."""
    config = backend.config
    pictures = np.zeros((1, 3, config.image_size, config.image_size), np.float32)
    pictures[:, :, ::2] = 0.5
    styles = np.ones((1, len(LEVELS), 1, config.style_size), np.float32)
    times = []
    for _ in range(1 + TRIALS):  # the first one loads
        began = time.perf_counter()
        backend.decode(backend.encode(pictures), styles)
        times.append(time.perf_counter() - began)
    return 1000 * min(times[1:])
