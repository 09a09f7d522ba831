"""facemeld bench: the promised numbers, consistent with each other, and operations that add up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from facemeld.cli import main
from facemeld.training.measure import Operations, matmul_peak

KEYS = {
    "pictures_per_second",
    "milliseconds_per_picture",
    "gflop_per_picture",
    "fraction_of_peak",
    "peak_memory_mb",
}


def measured(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    main(["bench", *arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_training_is_measured(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--data", str(faces), "--iterations", "1", "--precision", "fp32")
    found = measured(capsys, "train", "--preset", "smoke", "--image-size", "32", *options)
    assert found.keys() > KEYS and found["measured"] == "train" and found["batch_size"] == 4
    assert found["milliseconds_per_picture"] * found["pictures_per_second"] == pytest.approx(1000)
    assert 0 < found["fraction_of_peak"] < 1 and found["peak_memory_mb"] > 50
    assert not (faces / "cache").exists()


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_fusing_is_measured(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "fuse", "--backend", backend, "--seconds", "0.2")
    assert found.keys() > KEYS and found["backend"] == f"{backend}-fp32"
    assert found["milliseconds_per_picture"] * found["pictures_per_second"] == pytest.approx(1000)
    assert 0 < found["milliseconds_slider"] < found["milliseconds_first"]
    assert found["gflop_per_picture"] == pytest.approx(0.914, abs=0.01)
    assert 0 < found["fraction_of_peak"] < 1 and found["peak_memory_mb"] > 50


def test_lazy_penalties_cost_fewer_operations(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--preset", "smoke", "--recipe", "fast", "--iterations", "2", "--precision", "fp32")
    lazy, eager = (
        measured(capsys, "train", *options, "--set", f"r1_interval={interval}")
        for interval in (2, 1)
    )
    assert lazy["gflop_per_picture"] < eager["gflop_per_picture"]


def test_data_is_measured(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "data", "--data", str(faces), "--image-size", "16", "--seconds", "0.2")
    assert found.keys() > KEYS and found["gflop_per_picture"] is None
    assert found["pictures_per_second"] > 0 and found["decoded_pictures_per_second"] > 0
    assert not (faces / "cache").exists()


def test_operations_are_those_of_the_formulas() -> None:
    weight = torch.ones(8, 4, 3, 3, requires_grad=True)
    x = torch.ones(2, 4, 10, 10, requires_grad=True)
    once = 2 * 2 * 8 * 4 * 9 * 10 * 10
    with Operations() as operations:
        out = torch.nn.functional.conv2d(x, weight, padding=1)
        assert operations.total == once
        (gradient,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        assert operations.total == 2 * once
        gradient.square().sum().backward()
    assert operations.total > 5 * once  # the gradient's own derivative, and the convolution's


def test_the_peak_is_plausible() -> None:
    assert 1 < matmul_peak(torch.device("cpu"), "fp32") < 1e5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "either --preset or --config"),
        (["train", "--preset", "smoke", "--seconds", "0"], "seconds is 0.0"),
        (["data", "--data", "nowhere"], "no such folder"),
    ],
)
def test_mistakes_are_told(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", *arguments])
    assert caught.value.code == 2 and message in capsys.readouterr().err
