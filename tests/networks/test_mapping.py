"""The mapping network: shapes, gradients, single = batch, and each domain's own layers."""

from __future__ import annotations

import itertools

import pytest
import torch

from facemeld.networks.mapping import MappingNetwork

DEPTHS = pytest.mark.parametrize(
    ("shared", "own", "unit"), list(itertools.product((0, 1, 4), (1, 4), (False, True)))
)


def build(shared: int, own: int, unit: bool = False, domains: int = 3) -> MappingNetwork:
    torch.manual_seed(0)
    network = MappingNetwork(
        latent_size=4,
        style_size=6,
        domains=domains,
        width=10,
        shared_layers=shared,
        domain_layers=own,
        unit_styles=unit,
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@DEPTHS
def test_shape_and_gradients(shared, own, unit):
    network = build(shared, own, unit)
    latents = torch.randn(6, 4, requires_grad=True)
    styles = network(latents, torch.arange(6) % 3)
    assert styles.shape == (6, 6) and styles.isfinite().all()
    if unit:
        torch.testing.assert_close(styles.square().mean(dim=1), torch.ones(6), atol=1e-3, rtol=0)
    (styles * torch.randn_like(styles)).sum().backward()
    for name, tensor in [("latents", latents), *network.named_parameters()]:
        assert tensor.grad.isfinite().all() and tensor.grad.abs().max() > 0, name


@DEPTHS
def test_a_latent_alone_gives_what_it_gives_in_a_batch(shared, own, unit):
    network = build(shared, own, unit)
    latents, domains = torch.randn(5, 4), torch.tensor([2, 0, 1, 1, 2])
    with torch.inference_mode():
        together = network(latents, domains)
        for i in range(5):
            alone = network(latents[i : i + 1], domains[i : i + 1])
            torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-5)


def test_only_the_own_domains_layers_count():
    network = build(2, 3)
    network(torch.randn(4, 4), torch.ones(4, dtype=torch.int64)).sum().backward()
    for head in network.heads:
        used = head.weight.grad.abs().amax(dim=(1, 2)) > 0
        assert used.tolist() == [False, True, False]
