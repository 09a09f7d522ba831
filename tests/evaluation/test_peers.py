"""Features and distances against what other people's code gave for the same drawn inputs.

data/peer_figures.json was written by benchmarks/parity_metrics.py, and says by which versions.
"""

from __future__ import annotations

import json
from pathlib import Path

import generated_weights as drawn
import numpy as np
import pytest
import torch

from facemeld.evaluation.distances import (
    FeatureSet,
    density_and_coverage,
    frechet_distance,
    kernel_distance,
)
from facemeld.networks.inception import InceptionFeatures
from facemeld.networks.lpips import LPIPS, GroupDistance, distance

FIGURES = json.loads((Path(__file__).parent / "data" / "peer_figures.json").read_text("utf-8"))
SETS = ((1, 150), (2, 120))


@pytest.fixture(scope="module")
def sets() -> list[np.ndarray]:
    return [drawn.features(seed, rows, 64) for seed, rows in SETS]


def test_inception_of_2015_is_torch_fidelitys() -> None:
    network = InceptionFeatures("fid")
    network.load_published(drawn.inception(0))
    found = network.features(drawn.pixels(3, 2, 299))
    expected = torch.tensor(FIGURES["fid_inception"])
    assert torch.allclose(found[:, : expected.shape[1]], expected, rtol=1e-4, atol=1e-5)


def test_inception_of_torchvision_is_the_official_codes() -> None:
    network = InceptionFeatures("torchvision")
    network.load_published(drawn.inception(0))
    found = network.features(drawn.pixels(4, 2, 64))
    expected = torch.tensor(FIGURES["torchvision_inception"])
    # Pillow rounds between its two passes: up to one level of 256
    assert torch.allclose(found[:, : expected.shape[1]], expected, rtol=2e-3, atol=1e-3)


def test_both_orders_of_weights_load_the_same() -> None:
    published = drawn.inception(0)
    network = InceptionFeatures("fid")
    network.load_published(published)
    in_order = {}
    for name in (n.removesuffix(".conv.weight") for n in published if n.endswith("conv.weight")):
        # a norm without scale, as the TorchScript file has it
        scale = published[f"{name}.bn.weight"]
        in_order[f"{name}.weight"] = published[f"{name}.conv.weight"] * scale[:, None, None, None]
        in_order[f"{name}.beta"] = published[f"{name}.bn.bias"]
        in_order[f"{name}.mean"] = published[f"{name}.bn.running_mean"] * scale
        in_order[f"{name}.var"] = published[f"{name}.bn.running_var"]
    other = InceptionFeatures("fid")
    other.load_execution_order(in_order)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError):
        other.load_execution_order(dict(list(in_order.items())[:-4]))


def test_lpips_is_the_packages() -> None:
    network = LPIPS()
    network.load_published(drawn.alexnet(5), drawn.lpips_heads(6))
    pairs = drawn.pixels(7, 4, 64).float() / 127.5 - 1
    found = network(pairs[:2], pairs[2:])
    assert found.tolist() == pytest.approx(FIGURES["lpips"], abs=1e-5, rel=1e-5)


def test_lpips_of_a_flax_file_is_the_same() -> None:
    alexnet, heads = drawn.alexnet(5), drawn.lpips_heads(6)
    network, other = LPIPS(), LPIPS()
    network.load_published(alexnet, heads)
    tree: dict = {"AlexNet_0": {}}
    for index, (position, *_) in enumerate(drawn.ALEXNET):
        kernel = alexnet[f"features.{position}.weight"].permute(2, 3, 1, 0).numpy()
        bias = alexnet[f"features.{position}.bias"].numpy()
        tree["AlexNet_0"][f"Conv_{index}"] = {"kernel": kernel, "bias": bias}
        head = heads[f"lin{index}.model.1.weight"].permute(2, 3, 1, 0).numpy()
        tree[f"NetLinLayer_{index}"] = {"Conv_0": {"kernel": head}}
    other.load_flax(tree)
    for name, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    heads["lin2.model.1.weight"] = -heads["lin2.model.1.weight"]
    with pytest.raises(ValueError, match="head 2"):
        other.load_published(alexnet, heads)


def test_the_distance_of_a_group_is_the_mean_over_its_pairs() -> None:
    network = LPIPS()
    network.load_published(drawn.alexnet(5), drawn.lpips_heads(6))
    pictures = drawn.pixels(9, 8, 64).float() / 127.5 - 1  # four members of two groups
    maps = [network.maps(pictures[i : i + 2]) for i in range(0, 8, 2)]
    group = GroupDistance()
    for member in maps:
        group.add(member)
    pairs = [distance(a, b) for i, a in enumerate(maps) for b in maps[:i]]
    assert len(pairs) == 6
    assert torch.allclose(group.mean().float(), torch.stack(pairs).mean(dim=0), rtol=1e-5)


def test_small_pictures_are_enlarged_for_lpips() -> None:
    network = LPIPS()
    network.load_published(drawn.alexnet(5), drawn.lpips_heads(6))
    small = drawn.pixels(7, 2, 16).float() / 127.5 - 1
    large = torch.nn.functional.interpolate(small, scale_factor=2.0, mode="bilinear")
    assert torch.equal(network(small[:1], small[1:]), network(large[:1], large[1:]))


def test_fid_and_kid_are_torch_fidelitys(sets: list[np.ndarray]) -> None:
    a, b = sets
    expected = FIGURES["distances"]
    assert frechet_distance(a, b) == pytest.approx(expected["fid"], rel=1e-3)
    size = min(len(a), len(b))
    random = np.random.default_rng(0)
    kid, deviation = kernel_distance(FeatureSet(a[:size]), FeatureSet(b[:size]), random, subsets=2)
    assert kid == pytest.approx(expected["kid"], rel=1e-3)
    assert deviation == pytest.approx(0, abs=1e-9)  # a subset of all has one value


def test_both_ways_to_the_frechet_distance_agree(sets: list[np.ndarray]) -> None:
    a, b = (np.concatenate([s, s[:, ::-1] ** 2], axis=1) for s in sets)  # 128 features
    few = a[:60]  # 2 * 60 < 128: the small matrix
    direct = FeatureSet(few)
    values = np.linalg.eigvals(direct.covariance @ FeatureSet(b).covariance)
    expected = np.square(direct.mean - FeatureSet(b).mean).sum()
    expected += direct.variance + FeatureSet(b).variance
    expected -= 2 * np.sqrt(values.astype(complex)).real.sum()
    assert frechet_distance(few, b) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_of_one_distribution_is_about_zero() -> None:
    random = np.random.default_rng(0)
    a, b = (FeatureSet(random.standard_normal((400, 16))) for _ in range(2))
    near, spread = kernel_distance(a, b, np.random.default_rng(1), subsets=20, subset_size=100)
    assert abs(near) < 3 * spread
    far, _ = kernel_distance(
        a, FeatureSet(b.features + 1), np.random.default_rng(1), subsets=20, subset_size=100
    )
    assert far > 10 * spread


def test_density_and_coverage_by_hand() -> None:
    reals = FeatureSet(np.arange(20.0)[:, None] ** 1.0)
    # every ball reaches its fifth neighbour: three to each side inside, at the ends farther
    inside = density_and_coverage(FeatureSet(np.array([[9.5], [10.5]])), reals)
    balls = sum(abs(r - 9.5) < _reach(r) for r in range(20))
    balls += sum(abs(r - 10.5) < _reach(r) for r in range(20))
    covered = sum(min(abs(r - 9.5), abs(r - 10.5)) < _reach(r) for r in range(20))
    assert inside == (balls / 10, covered / 20)
    assert density_and_coverage(FeatureSet(np.full((6, 1), 99.0)), reals) == (0, 0)


def _reach(row: int) -> float:
    return sorted(abs(row - other) for other in range(20))[5]
