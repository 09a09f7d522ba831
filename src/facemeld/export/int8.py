"""Graphs whose convolutions compute with 8-bit integers, calibrated on the bundled faces.

Weights are quantised a channel, the maps between them a tensor, as ONNX describes it (QDQ), so that
ONNX Runtime and OpenVINO both run it. Weights take 7 of the 8 bits: processors without VNNI add two
products in 16 bits, which with 8 overflow there, and an exported folder may be used on any machine.
The style encoder and the mapping network stay as they are: they cost little, and every picture
depends on their codes.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from facemeld.config import LEVELS
from facemeld.data.folders import bundled_faces
from facemeld.fusion.backends import Backend
from facemeld.fusion.encodings import Encodings
from facemeld.fusion.exported import content_names
from facemeld.fusion.inputs import Input, read_input

Arrays = dict[str, np.ndarray]


class FacePairs:
    """Every bundled face under the look of another one, as inputs of a model's graphs.

    Args:
        backend: the model in full precision.
    """

    quantised = ("encoder", "decoder", "decoder_regions")
    """The graphs that are worth it."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.encodings = Encodings(backend)
        self.inputs: list[Input] = [read_input(path) for path in bundled_faces()]
        looks = self.inputs[3:] + self.inputs[:3]
        # The domains in turn: not every model can tell which is a face's own.
        domains = backend.config.domains
        named = [domains[i % len(domains)] for i in range(len(looks))]
        styles = self.encodings.styles(looks, named, "domain")
        self.styles = styles[:, None, None].repeat(len(LEVELS), axis=1)  # B L 1 S

    def fused(self, backend: Backend) -> np.ndarray:
        """What a backend of the same model makes of the pairs. -> B 3 H W"""
        encodings = Encodings(backend)
        return np.concatenate(
            [
                backend.decode(encodings.contents([given]), style[None])
                for given, style in zip(self.inputs, self.styles)
            ]
        )

    def samples(self, graph: str) -> Iterator[Arrays]:
        """Inputs of one of those graphs, one pair each."""
        config = self.backend.config
        side = config.image_size
        for given, style in zip(self.inputs, self.styles):
            if graph == "encoder":
                yield {"pictures": np.ascontiguousarray(self.encodings.pictures([given]))}
                continue
            (content,) = self.encodings.contents([given])
            maps = zip(content_names(config.skip_sides()), content, strict=True)
            inputs = {name: np.asarray(values) for name, values in maps}
            if config.skips != "none":
                inputs["content_strength"] = np.array(1, np.float32)
            if config.skips == "masked":
                inputs["skip_masks"] = np.full((1, 2, 256, 256), 0.5, np.float32)
            if graph == "decoder_regions":
                inputs["masks"] = np.ones((1, 1, side, side), np.float32)
            yield inputs | {"styles": style[None] if "masks" in inputs else style[None, :, 0]}


def quantise(model: onnx.ModelProto, samples: Iterator[Arrays]) -> onnx.ModelProto:
    """The graph with 8-bit convolutions.

    Args:
        model: with its weights inside.
        samples: inputs, from which the ranges of the maps are taken.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole, ready, done = (Path(folder) / f"{name}.onnx" for name in ("whole", "ready", "done"))
        onnx.save(model, whole)
        logging.disable(logging.WARNING)  # it recommends what is being done
        try:
            quant_pre_process(whole, ready, skip_symbolic_shape=True)
            quantize_static(
                ready,
                done,
                _Samples(list(samples)),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["Conv", "ConvTranspose"],
            )
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(done)


class _Samples(CalibrationDataReader):
    def __init__(self, samples: Sequence[Arrays]) -> None:
        self._left = iter(samples)

    def get_next(self) -> Arrays | None:
        return next(self._left, None)
