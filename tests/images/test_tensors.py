"""Pictures and tensors: [-1, 1], exact both ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from facemeld.images.tensors import to_pictures, to_tensor


def test_the_round_trip_is_exact_for_every_value() -> None:
    pixels = np.arange(2 * 16 * 8 * 3, dtype=np.uint8).reshape(2, 16, 8, 3)
    tensor = to_tensor([Image.fromarray(picture) for picture in pixels])
    assert tensor.shape == (2, 3, 16, 8) and tensor.dtype == torch.float32
    assert np.array_equal(np.stack([np.asarray(image) for image in to_pictures(tensor)]), pixels)


def test_black_is_minus_one_and_white_is_one() -> None:
    image = Image.new("RGB", (2, 1), "black")
    image.putpixel((1, 0), (255, 0, 255))
    expected = torch.tensor([[[-1.0, 1.0]], [[-1.0, -1.0]], [[-1.0, 1.0]]])
    assert torch.equal(to_tensor([image])[0], expected)


def test_values_outside_are_clamped_and_the_rest_rounded() -> None:
    tensor = torch.tensor([-3.0, 3.0, 0.001]).view(1, 3, 1, 1)
    assert to_pictures(tensor)[0].getpixel((0, 0)) == (0, 255, 128)
    half = tensor.bfloat16().requires_grad_()
    assert to_pictures(half)[0].getpixel((0, 0)) == (0, 255, 128)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        to_tensor([])
    with pytest.raises(ValueError, match="one size"):
        to_tensor([Image.new("RGB", (2, 2)), Image.new("RGB", (3, 2))])
    with pytest.raises(ValueError, match="RGB"):
        to_tensor([Image.new("L", (2, 2))])
    with pytest.raises(ValueError, match="B 3 H W"):
        to_pictures(torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="not finite"):
        to_pictures(torch.full((1, 3, 2, 2), float("nan")))
