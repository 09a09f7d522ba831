"""3x3 convolutions by Winograd's F(4x4, 3x3) (Lavin & Gray 2016), in graphs that OpenVINO runs.

Four by four results take 36 products a pair of channels in place of 144; what remains is one matrix
product, which runtimes compute at their peak. Its transforms pass over the maps several times more,
so it pays for wide convolutions only. The results are those of the plain convolution to about 1e-5
of the largest; the transformed weights take four times the memory.

Shapes: B pictures, C channels in, O out, T tiles of 4 x 4 results, R rows and S columns of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facemeld.networks.winograd_matrices import KERNEL, RESULT, TILE

if TYPE_CHECKING:
    import openvino

_FEWEST_CHANNELS, _SMALLEST_SIDE = 256, 16
_KERNEL = np.array(KERNEL)
_TO_PRODUCTS, _FROM_PRODUCTS = np.kron(TILE, TILE), np.kron(RESULT, RESULT)  # 36 36, 16 36


def use_winograd(model: openvino.Model) -> int:
    """Replaces the convolutions of a model that gain by it; returns how many."""
    found = [node for node in model.get_ordered_ops() if _gains(node)]
    for node in found:
        weight = _values(node.input_value(1))
        new = _convolution(node.input_value(0), weight)
        new.set_friendly_name(node.get_friendly_name())
        new.output(0).set_names(node.output(0).get_names())
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(new.output(0))
    return len(found)


def _gains(node: openvino.Node) -> bool:
    """Whether it is a plain 3x3 convolution, wide enough, of square maps of a known size."""
    if node.get_type_name() != "Convolution" or _values(node.input_value(1)) is None:
        return False
    about, maps = node.get_attributes(), node.input_value(0).partial_shape
    if not (maps[1].is_static and maps[2].is_static and maps[3].is_static):
        return False
    channels = min(list(node.input_value(1).shape)[:2])
    side = min(maps[2].get_length(), maps[3].get_length())
    plain = list(node.input_value(1).shape)[2:] == [3, 3] and all(
        list(about[name]) == value
        for name, value in (
            ("strides", [1, 1]),
            ("dilations", [1, 1]),
            ("pads_begin", [1, 1]),
            ("pads_end", [1, 1]),
        )
    )
    return plain and channels >= _FEWEST_CHANNELS and side >= _SMALLEST_SIDE


def _values(output: openvino.Output) -> np.ndarray | None:
    """Weights that are in the graph as numbers, in fp32 or halves that it converts."""
    node = output.get_node()
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant" or node.get_element_type().get_type_name() not in (
        "f32",
        "f16",
    ):
        return None
    return node.data


def _convolution(x: openvino.Output, weight: np.ndarray) -> openvino.Node:
    """B C H W and O C 3 3 -> B O H W."""
    from openvino import opset13 as ops

    channels, height, width = (x.partial_shape[axis].get_length() for axis in (1, 2, 3))
    rows, columns = -(-height // 4), -(-width // 4)
    outputs = weight.shape[0]

    def shaped(value, *shape: int) -> openvino.Node:
        return ops.reshape(value, np.array(shape), False)

    def turned(value, *order: int) -> openvino.Node:
        return ops.transpose(value, np.array(order))

    def cut(value, axis: int, start: int, stop: int) -> openvino.Node:
        return ops.slice(value, *(np.array([n]) for n in (start, stop, 1, axis)))

    # A tile is 4 rows and the first 2 of the next; likewise columns.
    after = [4 * (rows + 1) - height - 1, 4 * (columns + 1) - width - 1]
    x = ops.pad(x, np.array([0, 0, 1, 1]), np.array([0, 0, *after]), "constant", np.float32(0))
    x = turned(shaped(x, -1, channels, rows + 1, 4, columns + 1, 4), 3, 5, 0, 1, 2, 4)
    next_rows = cut(cut(x, 0, 0, 2), 4, 1, rows + 1)
    x = ops.concat([cut(x, 4, 0, rows), next_rows], 0)
    next_columns = cut(cut(x, 1, 0, 2), 5, 1, columns + 1)
    x = ops.concat([cut(x, 5, 0, columns), next_columns], 1)  # 6 6 B C R S
    kernel = np.einsum("ia,ocab,jb->ijoc", _KERNEL, weight.astype(np.float64), _KERNEL)
    kernel = kernel.reshape(36, 1, outputs, channels).astype(np.float32)
    x = ops.matmul(_TO_PRODUCTS.astype(np.float32), shaped(x, 36, -1), False, False)
    x = ops.matmul(kernel, shaped(x, 36, -1, channels, rows * columns), False, False)
    x = ops.matmul(_FROM_PRODUCTS.astype(np.float32), shaped(x, 36, -1), False, False)
    x = turned(shaped(x, 4, 4, -1, outputs, rows, columns), 2, 3, 4, 0, 5, 1)  # B O R 4 S 4
    x = shaped(x, -1, outputs, 4 * rows, 4 * columns)
    return cut(cut(x, 2, 0, height), 3, 0, width)
