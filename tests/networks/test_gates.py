"""The gates for every kind of generator and every kind of skips at 16 px, and the gates' own
measures; what they mean is in ``gates.py``. All pairs: ``benchmarks/generator_gates.py``."""

from __future__ import annotations

import pytest
import torch
from gates import gate_generator, measure, overfit, real_faces
from torch import Tensor, nn

from facemeld.config.network import GENERATORS, SKIPS

STEPS = 200
PAIRS = [
    ("resnet", "none"),
    ("resnet", "additive"),
    ("resnet", "masked"),
    ("swin-encoder", "additive"),
    ("swin-encoder", "highpass"),
    ("swin-unet", "additive"),
    ("swin-unet", "masked"),
    ("projected", "additive"),
]


@pytest.mark.parametrize(("kind", "skips"), PAIRS)
def test_a_generator_passes_every_gate(kind: str, skips: str) -> None:
    torch.manual_seed(0)
    generator = gate_generator(kind, skips, 16)
    faces = real_faces(16)
    styles = overfit(generator, faces, STEPS, learning_rate=4e-3)
    assert measure(generator, faces, styles).missed() == []


def test_every_kind_of_generator_and_of_skips_is_among_the_pairs() -> None:
    assert {kind for kind, _ in PAIRS} == set(GENERATORS)
    assert {skips for _, skips in PAIRS} == set(SKIPS)


class Made(nn.Module):
    """A generator that does what a function of pictures and style does, and a hair of noise."""

    skips = "none"

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, pictures: Tensor, styles: Tensor, masks: None) -> Tensor:
        second = styles[:, 0].bool()[:, None, None, None]
        return self.weight * self.function(pictures, second) + 1e-4


def exchange(pictures: Tensor, second: Tensor) -> Tensor:
    return torch.where(second, pictures.roll(1, dims=1), pictures)


def spread_out(pictures: Tensor, second: Tensor) -> Tensor:
    """What is edited anywhere changes every pixel alike."""
    return exchange(pictures, second) + 60 * (pictures.mean((1, 2, 3), keepdim=True) - AVERAGE)


def blurred(pictures: Tensor, second: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(exchange(pictures, second), 3, 1, 1, count_include_pad=False)


def faint_stripes(pictures: Tensor, second: Tensor) -> Tensor:
    """The marks of windows or of an upsampling."""
    return exchange(pictures, second) + 0.05 * torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(8)


FACES = real_faces(32)
AVERAGE = FACES.mean((1, 2, 3), keepdim=True)
STYLES = torch.tensor([[0.0], [1.0]])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (exchange, []),
        (lambda x, second: 0.9 * exchange(x, second), ["spectrum"]),
        (blurred, ["gives sources back", "spectrum"]),
        (faint_stripes, ["spectrum"]),
        (lambda x, second: x, ["two styles differ by 0%"]),
        (spread_out, ["of a local edit stays local"]),
        (lambda x, second: exchange(x, second) + 1e-3 * torch.randn_like(x), ["evaluations"]),
        (lambda x, second: exchange(x, second) * float("nan"), [""] * 6),
    ],
)
def test_each_gate_closes_before_what_it_is_for(function, expected: list[str]) -> None:
    missed = measure(Made(function), FACES, STYLES).missed()
    assert len(missed) == len(expected), missed
    assert all(words in sentence for words, sentence in zip(expected, missed)), missed


def test_half_precision_has_a_gate() -> None:
    class Fragile(Made):
        def forward(self, pictures: Tensor, styles: Tensor, masks: None) -> Tensor:
            fused = super().forward(pictures, styles, masks)
            return fused * (1 + 1e3 * (self.weight - 1.0001))

    generator = Fragile(exchange)
    with torch.no_grad():
        generator.weight.copy_(torch.tensor(1.0001))
    assert measure(generator, FACES, STYLES).missed()[-1].startswith("half precision deviates")


def test_an_even_spread_is_no_locality() -> None:
    torch.manual_seed(0)
    noise = torch.randn(8, 3, 32, 32)
    edits = measure(Made(lambda x, second: noise * (x - FACES).abs().mean()), FACES, STYLES)
    assert edits.locality == pytest.approx(0.25, abs=0.03)
