"""Backends that run exported graphs without torch: ONNX Runtime and OpenVINO."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facemeld.config import NetworkConfig
from facemeld.errors import UserError
from facemeld.fusion.backends import Content
from facemeld.fusion.exported import Exported, content_names
from facemeld.fusion.winograd import use_winograd

if TYPE_CHECKING:
    import openvino

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], list[np.ndarray]]
"""One graph: its inputs by name to its outputs in order."""

F32, BF16 = "f32", "bf16"  # as OpenVINO names them
_MASK_SIDE = 256  # as networks.landmarks.SIDE
_PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}
RUNTIMES = tuple(_PACKAGES)
"""The soonest to start first."""


def is_installed(runtime: str) -> bool:
    """Whether a runtime is there; nothing is imported."""
    return find_spec(_PACKAGES[runtime]) is not None


class GraphBackend:
    """A model's graphs, each loaded when it is first needed.

    Args:
        config: of the model.
        exported: its graphs.
        runtime: ``onnx``, or ``openvino``, which reads graphs of both formats.
        precision: ``fp32``: as the graphs are; ``bf16``: OpenVINO computes fp32 graphs in bf16.

    Raises:
        UserError: the runtime is not installed, or this processor or these graphs have no bf16.
    """

    batch = 1

    def __init__(
        self, config: NetworkConfig, exported: Exported, runtime: str, precision: str = "fp32"
    ) -> None:
        if not is_installed(runtime):
            raise UserError(
                f"the backend {runtime} needs the package {_PACKAGES[runtime]}",
                where="backend",
                fix=f"pip install 'facemeld[{runtime}]'",
            )
        bf16 = precision == "bf16"
        if bf16:
            check_bf16()
            if exported.precision != "fp32":
                raise UserError(
                    f"its graphs are {exported.precision} and cannot be computed in bf16",
                    where=str(exported.folder),
                    fix="leave the precision out, or export fp32 graphs",
                )
        self.config = config
        self.name = f"{runtime}-{precision if bf16 else exported.precision}"
        self._graph = cache(lambda name: load_graph(exported.files[name], runtime, bf16=bf16))

    def encode(self, pictures: np.ndarray) -> list[Content]:
        """See ``Backend``."""
        maps = self._run("encoder", {"pictures": pictures})
        return [tuple(m[i : i + 1] for m in maps) for i in range(len(pictures))]

    def decode(
        self,
        contents: Sequence[Content],
        styles: np.ndarray,
        *,
        masks: np.ndarray | None = None,
        skip_masks: np.ndarray | None = None,
        content_strength: float = 1.0,
    ) -> np.ndarray:
        """See ``Backend``."""
        maps = [np.concatenate(same) for same in zip(*contents)]
        inputs = dict(zip(content_names(self.config.skip_sides()), maps, strict=True))
        if self.config.skips != "none":
            inputs["content_strength"] = np.array(content_strength)
        if self.config.skips == "masked":
            # Empty masks let nothing pass, as if there were none.
            nothing = np.zeros((len(styles), 2, _MASK_SIDE, _MASK_SIDE))
            inputs["skip_masks"] = nothing if skip_masks is None else skip_masks
        if masks is None:
            (fused,) = self._run("decoder", inputs | {"styles": styles[:, :, 0]})
        else:
            inputs |= {"styles": styles, "masks": masks}
            (fused,) = self._run("decoder_regions", inputs)
        return fused

    def describe(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """See ``Backend``."""
        styles, *scores = self._run("style_encoder", {"pictures": pictures})
        return styles, scores[0] if scores else None

    def map_latents(self, latents: np.ndarray) -> np.ndarray:
        """See ``Backend``."""
        return self._run("mapping_network", {"latents": latents})[0]

    def _run(self, name: str, inputs: Arrays) -> list[np.ndarray]:
        rows = {key: np.asarray(v, np.float32, order="C") for key, v in inputs.items()}
        return self._graph(name)(rows)


def load_graph(path: Path, runtime: str, *, bf16: bool = False) -> Run:
    """One graph, ready to run.

    Args:
        path: an .onnx file, or for OpenVINO its own .xml.
        runtime: ``onnx`` or ``openvino``.
        bf16: compute in bf16, which OpenVINO alone can.

    Raises:
        UserError: the runtime cannot read it.
    """
    return _onnx_runtime(path) if runtime == "onnx" else _openvino(path, bf16)


def _onnx_runtime(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own kinds differ from version to version
        raise _unreadable(path, error) from None
    return lambda inputs: session.run(None, dict(inputs))


def compile_openvino(model: str | openvino.Model, options: Mapping[str, str]):
    """An OpenVINO model, which it changes, or the file of one, compiled for the processor."""
    import openvino

    if isinstance(model, str):
        model = openvino.Core().read_model(model)
    if options.get("INFERENCE_PRECISION_HINT") != BF16:  # Winograd's sums lose too much in bf16
        use_winograd(model)
    # OpenVINO gives the thread that compiles a stack for signals, and frees it with the model,
    # whichever thread that happens in; the next signal would end the process. So a thread of its
    # own compiles.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(openvino.compile_model, model, "CPU", options).result()


def check_bf16() -> None:
    """Refuses processors whose bf16 OpenVINO would only imitate, with a UserError."""
    import openvino

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UserError(
            "this processor has no bf16 for OpenVINO", where="precision", fix="leave that out"
        )


def _openvino(path: Path, bf16: bool = False) -> Run:
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        # without one the plug-in computes in bf16 wherever the processor can
        "INFERENCE_PRECISION_HINT": BF16 if bf16 else F32,
        "INFERENCE_NUM_THREADS": str(_threads()),
    }
    try:
        compiled = compile_openvino(str(path), options)
    except Exception as error:
        raise _unreadable(path, error) from None
    names = [output.any_name for output in compiled.outputs]

    def run(inputs: Arrays) -> list[np.ndarray]:
        found = compiled(dict(inputs), share_inputs=True)
        return [np.array(found[name]) for name in names]

    return run


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0][:200]
    return UserError(f"the graph cannot be loaded: {reason}", where=str(path))


def _threads() -> int:
    """As PyTorch chooses: what the environment says, else every core that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given):
        return int(given)
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1
