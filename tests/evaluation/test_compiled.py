"""OpenVINO in place of PyTorch: the same numbers, whatever the batch."""

from __future__ import annotations

from pathlib import Path

import generated_weights as drawn
import openvino
import pytest
import torch
from drawn_faces import write_faces
from tiny_models import untrained

from facemeld.errors import UserError
from facemeld.evaluation import compiled
from facemeld.evaluation.compiled import (
    ROWS,
    WORTH,
    Compiled,
    CompiledGenerator,
    backend_for,
    generator_of,
)
from facemeld.evaluation.distances import frechet_distance
from facemeld.evaluation.plan import make_plan
from facemeld.evaluation.run import run_plan
from facemeld.networks.inception import InceptionFeatures

CAPABILITIES = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
SIDE = 75  # of Inception's pictures here, for speed
COUNT = 3 * ROWS + 1


@pytest.fixture(scope="module")
def inception() -> InceptionFeatures:
    network = InceptionFeatures("fid")
    network.load_published(drawn.inception(0))
    return network


def noise(count: int, seed: int, side: int = SIDE) -> torch.Tensor:
    """Smooth pictures, B 3 side side."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 6, 6, generator=random)
    return torch.nn.functional.interpolate(coarse, size=side, mode="bicubic")


def test_features_and_their_distance_are_those_of_pytorch(inception: InceptionFeatures) -> None:
    run = Compiled(inception, torch.zeros(1, 3, SIDE, SIDE))
    reals, fakes = noise(COUNT, 0), 0.7 * noise(COUNT, 1)
    with torch.inference_mode():
        wanted, found = ([f(x) for x in (fakes, reals)] for f in (inception, run))
    for a, b in zip(wanted, found, strict=True):
        assert (a - b).abs().max() < 1e-5 * a.abs().max()
    distances = [frechet_distance(*(x.numpy() for x in pair)) for pair in (wanted, found)]
    assert distances[0] > 1 and distances[1] == pytest.approx(distances[0], rel=1e-4)
    # the last bit does not depend on what else is in the batch
    for rows in (slice(0, 1), slice(2, 2 + ROWS), slice(5, COUNT)):
        assert torch.equal(run(reals[rows]), found[1][rows])


@pytest.mark.parametrize("style_encoder", ["resnet", "projected"])
def test_pictures_are_those_of_pytorch(style_encoder: str) -> None:
    networks = untrained(style_encoder)
    generator = CompiledGenerator(networks)
    pictures, labels = noise(COUNT, 0, 16).clamp(-1, 1), torch.arange(COUNT) % 2
    with torch.inference_mode():
        content = networks.generator.encode(pictures)
        style = networks.style_encoder(pictures.flip(0), labels)
        wanted = networks.generator.decode(content, style)
        found = generator.decode(generator.encode(pictures), style, None)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_pictures_in_bf16_are_near_those_in_fp32(backend: str) -> None:
    networks = untrained("projected")
    if backend == "openvino" and "BF16" not in CAPABILITIES:
        with pytest.raises(UserError, match="no bf16 for OpenVINO"):
            generator_of(networks, backend, "bf16")
        return
    pictures = noise(COUNT, 0, 16).clamp(-1, 1)
    with torch.inference_mode():
        style = networks.style_encoder(pictures, torch.arange(COUNT) % 2)
        made = []
        for precision in ("fp32", "bf16"):
            generator = generator_of(networks, backend, precision)
            made.append(generator.decode(generator.encode(pictures), style, None))
    assert made[1].dtype == torch.float32
    off = (made[1] - made[0]).abs().mean() / made[0].std()
    assert 1e-5 < off < 0.02


def test_it_is_chosen_for_much_work_on_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = torch.device("cpu")
    assert backend_for(processor, WORTH) == "openvino"
    assert backend_for(processor, WORTH - 1) == "torch"
    assert backend_for(torch.device("cuda"), WORTH) == "torch"
    monkeypatch.setattr(compiled, "find_spec", lambda package: None)
    assert backend_for(processor, WORTH) == "torch"


ROUNDED = {"likeness": 1e-4, "nearer_to_own": 0.01, "retrieval": 0.01}
"""What is left between backends of one minus a ratio of almost equal distances, and of shares of
pictures that are almost equally near: two votes."""


def test_an_evaluation_gives_the_same_numbers(
    resnet_model: Path, judges_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_faces(tmp_path / "val", {"cat": 10, "dog": 11}, first=100)
    write_faces(tmp_path / "train", {"cat": 12, "dog": 12})
    plan = make_plan("clean", resnet_model, tmp_path, outputs=2, weights_dir=judges_dir)
    slow = run_plan(plan, tmp_path / "slow")
    monkeypatch.setattr(compiled, "WORTH", 0)
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path / "home"))  # no cached features
    fast = run_plan(plan, tmp_path / "fast")
    assert (slow["backend"], fast["backend"]) == ("torch", "openvino")
    assert "compiling" in fast["seconds_by_part"]
    for one, other in zip(slow["pairs"], fast["pairs"], strict=True):
        for name, value in one.items():
            if isinstance(value, float):
                within = ROUNDED.get(name, 1e-5)
                assert other[name] == pytest.approx(value, rel=1e-3, abs=within), name


def test_an_evaluation_in_bf16_says_so_and_gives_nearly_the_same_numbers(
    resnet_model: Path, judges_dir: Path, tmp_path: Path
) -> None:
    write_faces(tmp_path / "val", {"cat": 10, "dog": 10}, first=100)
    write_faces(tmp_path / "train", {"cat": 12, "dog": 12})
    found = {}
    for precision in ("fp32", "bf16"):
        options = {"outputs": 2, "only": "distances", "precision": precision}
        plan = make_plan("clean", resnet_model, tmp_path, weights_dir=judges_dir, **options)
        found[precision] = run_plan(plan, tmp_path / precision)
        assert found[precision]["precision"] == precision
    one, other = (found[p]["mean"]["reference"] for p in ("fp32", "bf16"))
    assert one["fid"] != other["fid"] == pytest.approx(one["fid"], rel=0.02)
    with pytest.raises(UserError, match="there is no precision 'fp8'"):
        make_plan("clean", resnet_model, tmp_path, weights_dir=judges_dir, precision="fp8")
