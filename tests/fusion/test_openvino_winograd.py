"""Winograd's convolution in OpenVINO's graphs: the function of the plain one."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from facemeld.fusion import winograd
from facemeld.fusion.graph_backends import compile_openvino
from facemeld.fusion.winograd import use_winograd

RANDOM = np.random.default_rng(0)
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def drawn(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, dtype=np.float32)


def network(*layers: tuple, side: tuple[int, int], inputs: int, half: bool = False):
    """Convolutions in a row; each is weights, stride and padding. Any number of pictures."""
    x = start = ops.parameter([-1, inputs, *side], np.float32, "pictures")
    for weight, stride, padding in layers:
        kernel = ops.constant(weight.astype(np.float16 if half else np.float32))
        if half:
            kernel = ops.convert(kernel, "f32")
        x = ops.convolution(x, kernel, [stride] * 2, [padding] * 2, [padding] * 2, [1, 1])
    return openvino.Model([x], [start])


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "_FEWEST_CHANNELS", 8)
    monkeypatch.setattr(winograd, "_SMALLEST_SIDE", 4)


@pytest.mark.parametrize("side", [(4, 4), (5, 5), (6, 9), (7, 7), (16, 32)])
@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_it_is_the_plain_convolution(
    side: tuple[int, int], half: bool, count: int, narrow: None
) -> None:
    model = network((drawn(20, 24, 3, 3), 1, 1), side=side, inputs=24, half=half)
    pictures = drawn(count, 24, *side)
    wanted = openvino.compile_model(model, "CPU", F32)(pictures)[0]
    assert use_winograd(model) == 1
    found = openvino.compile_model(model, "CPU", F32)(pictures)[0]
    assert found.shape == wanted.shape and not np.array_equal(found, wanted)
    assert np.abs(found - wanted).max() < 3e-5 * np.abs(wanted).max()


def test_only_wide_plain_convolutions_are_replaced(narrow: None) -> None:
    plain = (drawn(8, 8, 3, 3), 1, 1)
    layers = {
        "too narrow": ((drawn(8, 3, 3, 3), 1, 1), 3, (16, 16), 0),
        "wide": (plain, 8, (16, 16), 1),
        "too small": (plain, 8, (3, 16), 0),
        "of points": ((drawn(8, 8, 1, 1), 1, 0), 8, (16, 16), 0),
        "halving": ((drawn(8, 8, 3, 3), 2, 1), 8, (16, 16), 0),
        "without a border": ((drawn(8, 8, 3, 3), 1, 0), 8, (16, 16), 0),
    }
    for name, (layer, inputs, side, expected) in layers.items():
        assert use_winograd(network(layer, side=side, inputs=inputs)) == expected, name
    both = network(plain, plain, side=(16, 16), inputs=8)
    assert use_winograd(both) == 2 and use_winograd(both) == 0


def test_what_is_compiled_has_it() -> None:
    wide = network((drawn(256, 256, 3, 3) / 48, 1, 1), side=(16, 16), inputs=256)
    pictures = drawn(2, 256, 16, 16)
    plain = openvino.compile_model(wide, "CPU", F32)(pictures)[0]
    found = compile_openvino(wide, F32)(pictures)[0]
    assert 0 < np.abs(found - plain).max() < 1e-4 and use_winograd(wide) == 0
