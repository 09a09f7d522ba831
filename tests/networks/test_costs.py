"""Costs of networks: against counts by hand, published numbers and real tensors."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_models import untrained
from torch import nn

from facemeld.config import NetworkConfig, preset, presets
from facemeld.networks.bundle import build_generator, without_values
from facemeld.networks.costs import PartCost, _cost, generator_gmac, network_costs
from facemeld.networks.kernels import SUBPIXEL_FROM

THREE = ("a", "b", "c")


def costs_of(config: NetworkConfig) -> dict[str, PartCost]:
    return {cost.part: cost for cost in network_costs(config)}


def generator_by_hand(config: NetworkConfig, *, published: bool) -> float:
    """GMAC of the ResNet generator, convolution by convolution.

    Args:
        published: as the paper's authors compute it: pooling after the convolution and after the
            shortcut, instead of folded into the one and before the other; upsampling before the
            convolution instead of folded into it; and the shortcut after the upsampling instead of
            before it.
    """
    config = config.resolved()
    widths, side = config.widths, config.image_size
    total = 9 * 3 * widths[0] * side**2 + widths[0] * 3 * side**2
    for fine, coarse in zip(widths, widths[1:]):
        half = side // 2
        shortcut = fine * coarse * (side if published else half) ** 2 * (fine != coarse)
        total += fine * fine * (9 * side**2 if published else 16 * half**2)
        total += 9 * fine * coarse * half**2 + shortcut
        folded = not published and half >= SUBPIXEL_FROM
        total += coarse * fine * (16 * (half + 1) ** 2 if folded else 9 * side**2)
        total += 9 * fine * fine * side**2 + shortcut
        total += config.style_size * 2 * (coarse + fine)
        side = half
    for _ in range(config.encoder_blocks + config.decoder_blocks):
        total += 2 * 9 * widths[-1] ** 2 * side**2
    total += config.decoder_blocks * config.style_size * 4 * widths[-1]
    return total / 1e9


def test_the_papers_generator_has_the_published_size() -> None:
    config = dataclasses.replace(preset("starganv2").network, domains=THREE)
    costs = costs_of(config)
    assert round(costs["generator"].parameters / 1e6, 3) == 33.893
    assert round(generator_by_hand(config, published=True), 2) == 48.65
    assert costs["generator"].gmac == pytest.approx(generator_by_hand(config, published=False))
    assert round(costs["style_encoder"].parameters / 1e6, 1) == 20.9
    assert round(costs["discriminator"].parameters / 1e6, 1) == 20.9
    assert round(costs["mapping_network"].parameters / 1e6, 2) == 3.26


@pytest.mark.parametrize("skips", ["none", "additive", "highpass", "masked"])
def test_the_parts_of_a_generator_add_up(skips: str) -> None:
    config = dataclasses.replace(preset("faces-64").network, skips=skips, domains=THREE)
    costs = costs_of(config)
    parts = [costs[p] for p in costs if p.startswith("generator/")]
    assert len(parts) == (2 if skips == "none" else 3)
    whole = costs["generator"]
    assert sum(p.parameters for p in parts) == whole.parameters
    assert sum(p.gmac for p in parts) == pytest.approx(whole.gmac)
    assert sum(p.weights_mb for p in parts) == pytest.approx(whole.weights_mb)
    assert all(0 < p.gmac and 0 <= p.peak_mb <= whole.peak_mb for p in parts)
    if skips != "none":  # one map of 48 channels at 16 px is carried
        assert costs["generator/skips"].peak_mb == pytest.approx(96 * 16 * 16 * 4 / 1e6, rel=0.01)


SWIN_PRESETS = [name for name in presets() if name.startswith("swin-")]


def residual_counterpart(name: str) -> NetworkConfig:
    """The networks with which a Swin preset is to be compared: see config/presets.py."""
    if name.endswith("-64"):
        return preset("faces-64").network
    paper = NetworkConfig(image_size=preset(name).network.image_size).resolved()
    if "-base-" in name:
        return paper
    return dataclasses.replace(paper, widths=tuple(width // 2 for width in paper.widths))


@pytest.mark.parametrize("name", SWIN_PRESETS)
def test_swin_presets_cost_what_residual_ones_do_and_what_they_say(name: str) -> None:
    size = generator_size(preset(name).network)
    assert size == pytest.approx(generator_size(residual_counterpart(name)), rel=0.2)
    told = re.search(r"([\d.]+) M and ([\d.]+) GMAC", presets()[name])
    for text, counted in zip(told.groups(), size):
        assert text == f"{counted:.{len(text.partition('.')[2])}f}"


def generator_size(config: NetworkConfig) -> tuple[float, float]:
    """Millions of parameters, and GMAC."""
    with without_values():
        generator = build_generator(config)
    return sum(p.numel() for p in generator.parameters()) / 1e6, generator_gmac(config)


def test_the_sizes_in_the_comparison_are_those_counted() -> None:
    text = Path(__file__).resolve().parents[2].joinpath("docs", "comparison.md").read_text("utf-8")
    row = r"^\| (generator|style encoder) \| `(.+?)` \| (.+?) M \| (.+?) \|"
    rows = re.findall(row, text, flags=re.MULTILINE)
    assert len(rows) == 6
    base = dataclasses.replace(preset("faces-64").network, domains=(*"abcdef",))
    widths = (*base.widths, base.widths[-1])
    for part, kind, parameters, gmac in rows:
        part = part.replace(" ", "_")
        changes = {part: kind}
        if kind == "swin-unet":
            changes["decoder_blocks"] = 1
        if changes == {"style_encoder": "resnet"}:
            changes["style_encoder_widths"] = widths
        cost = costs_of(dataclasses.replace(base, **changes))[part]
        assert (parameters, gmac) == (f"{cost.parameters / 1e6:.2f}", f"{cost.gmac:.3f}"), kind


def test_kinds_of_generators_and_style_encoders_are_all_counted() -> None:
    base = dataclasses.replace(preset("faces-64").network, domains=THREE)
    resnet = costs_of(base)
    for kind in ("swin-encoder", "swin-unet"):
        swin = costs_of(dataclasses.replace(base, generator=kind))
        assert swin["generator"].parameters != resnet["generator"].parameters
        parts = ("generator/encoder", "generator/decoder", "generator/skips")
        assert sum(swin[p].parameters for p in parts) == swin["generator"].parameters
        same = swin["generator/decoder"] == resnet["generator/decoder"]
        assert same == (kind == "swin-encoder")


def test_a_projected_model_names_its_frozen_features() -> None:
    costs = costs_of(preset("faces-64").network)
    features, encoder = costs["style_encoder/features"], costs["style_encoder"]
    assert 0 < features.parameters < encoder.parameters
    assert 0.9 * encoder.gmac < features.gmac < encoder.gmac
    assert costs["discriminator"].gmac < features.gmac  # its heads alone


@pytest.mark.parametrize("kind", ["projected", "resnet"])
def test_parameters_and_weights_are_those_of_the_built_networks(kind: str) -> None:
    networks = untrained(kind)
    costs = costs_of(networks.config)
    for name, part in networks.named_children():
        assert costs[name].parameters == sum(p.numel() for p in part.parameters())
        stored = sum(t.numel() * 4 for t in part.state_dict().values())
        assert costs[name].weights_mb == pytest.approx(stored / 1e6)


def test_work_on_weights_alone_is_not_a_pictures() -> None:
    weight = nn.Parameter(torch.ones(8, 8, device="meta"))

    def run(x):
        return x @ (weight @ weight)

    cost = _cost("x", run, (torch.ones(3, 8, device="meta"),))
    assert cost.gmac == pytest.approx(3 * 8 * 8 / 1e9) and cost.parameters == 64


def test_custom_functions_and_attention_are_counted() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x @ x.mT

    rows = torch.ones(2, 5, 16, 8, device="meta")
    cost = _cost("x", Square.apply, (rows,))
    assert cost.gmac == pytest.approx(2 * 5 * 16 * 16 * 8 / 1e9)

    cost = _cost("x", F.scaled_dot_product_attention, (rows, rows, rows))
    assert cost.gmac == pytest.approx(2 * 2 * 5 * 16 * 16 * 8 / 1e9)
    # the rows, counted once, and the output; no weights of 16 x 16
    assert cost.peak_mb == pytest.approx(2 * rows.numel() * 4 / 1e6)


def test_peak_memory_follows_what_is_alive() -> None:
    size = 1000 * 4 / 1e6
    x = torch.ones(1000, device="meta")

    def chain(x):
        for _ in range(5):
            x = x + 1
        return x

    def together(x):
        return torch.stack([x + 1, x + 2])

    def in_place(x):
        return x.view(10, 100).mul_(2).view(1000)

    # a chain keeps its input, the last result and the next one; a stack both results and the copy
    assert _cost("x", chain, (x,)).peak_mb == pytest.approx(3 * size)
    assert _cost("x", together, (x,)).peak_mb == pytest.approx(5 * size)
    assert _cost("x", in_place, (x,)).peak_mb == pytest.approx(size)


def test_a_configuration_without_domains_is_counted_with_three() -> None:
    config = preset("smoke").network
    assert network_costs(config) == network_costs(dataclasses.replace(config, domains=THREE))
    two = costs_of(dataclasses.replace(config, domains=("a", "b")))
    assert two["mapping_network"].parameters < costs_of(config)["mapping_network"].parameters


def test_costs_grow_as_they_should() -> None:
    network = dataclasses.replace(preset("faces-64").network, domains=THREE)
    # large enough for every upsampling to be folded into its convolution
    small = dataclasses.replace(network, image_size=128, skip_resolutions=(32,))
    large = dataclasses.replace(network, image_size=256, skip_resolutions=(64,))
    a, b = costs_of(small)["generator"], costs_of(large)["generator"]
    assert math.isclose(b.gmac / a.gmac, 4, rel_tol=0.01)
    assert math.isclose(b.peak_mb / a.peak_mb, 4, rel_tol=0.01)
    assert b.parameters == a.parameters
