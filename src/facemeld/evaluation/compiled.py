"""Networks of an evaluation under OpenVINO: on a processor the same numbers in less time.

PyTorch's networks stay what they are; a compiled one is traced from them when it is made. It takes
a batch in parts of a fixed size, and each thread computes a part of its own: threads that share a
part would wait for each other at every layer. So a picture's numbers do not depend on the batch
that it comes in, either.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor, nn

from facemeld.export.graphs import Encoder, Graph
from facemeld.networks.bundle import Networks
from facemeld.networks.generator import Content, Generator
from facemeld.networks.lpips import LPIPS
from facemeld.networks.mobilenet import MobileNetV2Features

ROWS = 4
"""Pictures of a part."""
WORTH = 200
"""Pictures from which on compiling, which takes seconds, pays."""
_PACKAGES = ("openvino", "onnx")


def backend_for(device: torch.device, pictures: int) -> str:
    """``openvino`` where it is installed, there is no GPU and the work is worth it; or ``torch``.

    Args:
        device: of the evaluation.
        pictures: fakes and reals in all.
    """
    there = all(find_spec(package) is not None for package in _PACKAGES)
    return "openvino" if device.type == "cpu" and pictures >= WORTH and there else "torch"


class Compiled:
    """A frozen network, whose inputs and outputs have one row a picture.

    Args:
        network: takes tensors, gives a tensor or several.
        example: its inputs, of any number of pictures.
        precision: ``fp32`` or ``bf16``.
    """

    def __init__(self, network: nn.Module, *example: Tensor, precision: str = "fp32") -> None:
        import openvino

        from facemeld.export.onnx import trace
        from facemeld.fusion.graph_backends import BF16, F32, compile_openvino

        inputs = {f"input{i}": _rows(value, ROWS) for i, value in enumerate(example)}
        with torch.no_grad():
            found = network(*inputs.values())
        self._single = isinstance(found, Tensor)
        outputs = tuple(f"output{i}" for i in range(1 if self._single else len(found)))
        graph = trace(Graph("network", network, inputs, outputs))
        model = openvino.Core().read_model(graph.SerializeToString())
        model.reshape({name: list(value.shape) for name, value in inputs.items()})
        threads = torch.get_num_threads()
        options = {
            "INFERENCE_PRECISION_HINT": BF16 if precision == "bf16" else F32,
            "INFERENCE_NUM_THREADS": str(threads),
            "NUM_STREAMS": str(threads),
        }
        self._queue = openvino.AsyncInferQueue(compile_openvino(model, options), threads)
        self._queue.set_callback(_keep)

    def __call__(self, *inputs: Tensor) -> Tensor | list[Tensor]:
        count, parts = len(inputs[0]), []
        for start in range(0, count, ROWS):
            rows = [_rows(value[start : start + ROWS], ROWS) for value in inputs]
            parts.append([])
            self._queue.start_async([row.contiguous().numpy() for row in rows], parts[-1])
        self._queue.wait_all()
        whole = [torch.from_numpy(np.concatenate(same)[:count]) for same in zip(*parts)]
        return whole[0] if self._single else whole


def compiled_maps(lpips: LPIPS, image_size: int) -> Callable[[Tensor], list[Tensor]]:
    """``LPIPS.maps`` for pictures of one size."""
    return Compiled(_Maps(lpips), torch.zeros(1, 3, image_size, image_size))


def compiled_layouts(
    light: MobileNetV2Features, image_size: int
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """``MobileNetV2Features.with_layout`` for pictures of one size."""
    run = Compiled(_Layouts(light), torch.zeros(1, 3, image_size, image_size))
    return lambda pictures: tuple(run(pictures))


def generator_of(networks: Networks, backend: str, precision: str) -> FakesGenerator:
    """What makes the fakes of an evaluation.

    Args:
        networks: of the model.
        backend: see ``backend_for``.
        precision: ``fp32`` or ``bf16``.

    Raises:
        UserError: bf16 by OpenVINO on a processor that has none.
    """
    if backend == "openvino":
        return CompiledGenerator(networks, precision)
    return AutocastGenerator(networks.generator) if precision == "bf16" else networks.generator


class AutocastGenerator:
    """A generator that PyTorch computes in bf16, with pictures in fp32."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def encode(self, pictures: Tensor) -> Content:
        """As ``Generator.encode``."""
        with torch.autocast(pictures.device.type, torch.bfloat16):
            return self.generator.encode(pictures)

    def decode(self, content: Content, style: Tensor, masks: Tensor | None) -> Tensor:
        """As ``Generator.decode``."""
        with torch.autocast(style.device.type, torch.bfloat16):
            return self.generator.decode(content, style, masks).float()


class CompiledGenerator:
    """A generator's two halves. With masks, which few models have, PyTorch decodes."""

    def __init__(self, networks: Networks, precision: str = "fp32") -> None:
        from facemeld.fusion.graph_backends import check_bf16

        if precision == "bf16":
            check_bf16()
        generator, side = networks.generator, networks.config.image_size
        self._eager = generator_of(networks, "torch", precision)
        pictures = torch.zeros(1, 3, side, side)
        with torch.no_grad():
            content = generator.encode(pictures)
        style = torch.ones(1, networks.config.style_size)
        maps = (content.bottleneck, *content.skips)
        self._encode = Compiled(Encoder(generator), pictures, precision=precision)
        self._decode = Compiled(_Decoder(generator), style, *maps, precision=precision)

    def encode(self, pictures: Tensor) -> Content:
        """As ``Generator.encode``."""
        bottleneck, *skips = self._encode(pictures)
        return Content(bottleneck, tuple(skips))

    def decode(self, content: Content, style: Tensor, masks: Tensor | None) -> Tensor:
        """As ``Generator.decode``."""
        if masks is not None:
            return self._eager.decode(content, style, masks)
        return self._decode(style, content.bottleneck, *content.skips)


FakesGenerator = Generator | CompiledGenerator | AutocastGenerator


class _Maps(nn.Module):
    def __init__(self, lpips: LPIPS) -> None:
        super().__init__()
        self.lpips = lpips

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.lpips.maps(pictures))


class _Layouts(nn.Module):
    def __init__(self, light: MobileNetV2Features) -> None:
        super().__init__()
        self.light = light

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        return self.light.with_layout(pictures)


class _Decoder(nn.Module):
    """One style for all levels, at full strength: less to compute than the exported decoder."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, style: Tensor, bottleneck: Tensor, *skips: Tensor) -> Tensor:
        return self.generator.decode(Content(bottleneck, skips), style)


def _rows(value: Tensor, count: int) -> Tensor:
    """The first rows, as many as asked for; the last one is repeated if there are too few."""
    missing = count - len(value)
    if missing <= 0:
        return value[:count]
    return torch.cat([value, value[-1:].expand(missing, *value.shape[1:])])


def _keep(request, part: list) -> None:
    """Called when a part is done: the next one overwrites the request's own memory."""
    part += [np.array(output.data) for output in request.output_tensors]
