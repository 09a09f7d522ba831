"""Models made of models: averages lie between, and a moved domain is further from another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_models import untrained
from torch import Tensor

from facemeld.data.folders import scan_domains
from facemeld.data.sampling import as_tensor
from facemeld.data.store import load_pictures
from facemeld.errors import UserError
from facemeld.networks.blend import average, move_away, spread_out
from facemeld.networks.bundle import Networks

LATENTS = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def networks() -> Networks:
    return untrained("projected").requires_grad_(False)


@pytest.fixture
def pictures(faces: Path) -> dict[str, Tensor]:
    store = load_pictures(scan_domains(faces, only=("cat", "dog")), 16)
    return {n: as_tensor(p, "cpu") for n, p in zip(store.domains, store.pictures)}


def styles(networks: Networks, pictures: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean styles of each domain, from pictures and from codes."""
    found = {}
    for k, name in enumerate(networks.config.domains):
        rows, codes = torch.full((len(pictures[name]),), k), torch.full((len(LATENTS),), k)
        encoded = networks.style_encoder(pictures[name], rows)
        found[name] = encoded.mean(0), networks.mapping_network(LATENTS, codes).mean(0)
    return found


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_an_average_lies_between(networks: Networks, share: float) -> None:
    other = untrained("projected").requires_grad_(False)
    for value in other.state_dict().values():
        value += 1.0
    kept = {name: value.clone() for name, value in networks.state_dict().items()}
    for name, value in average(networks, other, share).state_dict().items():
        torch.testing.assert_close(value, kept[name] + share, rtol=0, atol=1e-6)
        assert torch.equal(networks.state_dict()[name], kept[name])


def test_heads_are_averaged_by_the_names_of_their_domains() -> None:
    before = untrained("projected", domains=("ape", "cat", "dog")).requires_grad_(False)
    after = untrained("projected", domains=("dog", "cat", "elk")).requires_grad_(False)
    for value in after.state_dict().values():
        value += 1.0
    heads = {n: m.mapping_network.heads[-1].bias.clone() for n, m in (("b", before), ("a", after))}
    mixed = average(before, after, 0.25).mapping_network.heads[-1].bias
    for here, there in ((0, 2), (1, 1)):  # dog and cat
        expected = 0.75 * heads["b"][there] + 0.25 * heads["a"][here]
        torch.testing.assert_close(mixed[here], expected, rtol=0, atol=1e-6)
    assert torch.equal(mixed[2], heads["a"][2])  # only the second knows elks


def test_other_networks_and_shares_are_refused(networks: Networks) -> None:
    with pytest.raises(UserError, match="same networks"):
        average(networks, untrained("resnet"), 0.5)
    with pytest.raises(UserError, match="no domain in common"):
        average(networks, untrained("projected", domains=("elk", "ape")), 0.5)
    with pytest.raises(UserError, match="between 0 and 1"):
        average(networks, networks, 1.5)


def test_a_domain_moves_away_and_nothing_else_changes(
    networks: Networks, pictures: dict[str, Tensor]
) -> None:
    before = styles(networks, pictures)
    weights = {name: value.clone() for name, value in networks.state_dict().items()}
    move_away(networks, pictures, LATENTS, domain="dog", other="cat", by=1.0)
    after = styles(networks, pictures)
    way = before["dog"][0] - before["cat"][0]
    for old, new in zip(before["dog"], after["dog"], strict=True):
        assert (new - old) @ way > 0.01 * way @ way
    assert all(map(torch.equal, before["cat"], after["cat"]))
    changed = {n for n, v in networks.state_dict().items() if not torch.equal(v, weights[n])}
    assert changed == {"style_encoder.heads.bias", "mapping_network.heads.0.bias"}


def test_a_domain_is_spread_out_around_its_middle(
    networks: Networks, pictures: dict[str, Tensor]
) -> None:
    dogs = torch.full((len(pictures["dog"]),), networks.config.domains.index("dog"))
    before, cats = networks.style_encoder(pictures["dog"], dogs), styles(networks, pictures)["cat"]
    spread_out(networks, pictures, domain="dog", by=1.5)
    after = networks.style_encoder(pictures["dog"], dogs)
    wider = (after - after.mean(dim=0)).norm() / (before - before.mean(dim=0)).norm()
    assert 1.2 < wider <= 1.5
    torch.testing.assert_close(after.square().mean(dim=1), torch.ones(len(dogs)), atol=1e-3, rtol=0)
    middles = F.cosine_similarity(before.mean(dim=0), after.mean(dim=0), dim=0)
    assert middles > 0.99
    assert all(map(torch.equal, cats, styles(networks, pictures)["cat"]))


def test_by_nothing_changes_nothing(networks: Networks, pictures: dict[str, Tensor]) -> None:
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    move_away(networks, pictures, LATENTS, domain="dog", other="cat", by=0.0)
    spread_out(networks, pictures, domain="dog", by=1.0)
    assert all(torch.equal(v, before[n]) for n, v in networks.state_dict().items())


def test_unknown_domains_and_other_encoders_are_refused(pictures: dict[str, Tensor]) -> None:
    ways = dict(domain="dgo", other="cat", by=1.0)
    with pytest.raises(UserError, match="did you mean 'dog'"):
        move_away(untrained("projected"), pictures, LATENTS, **ways)
    with pytest.raises(UserError, match="style_encoder = projected"):
        move_away(untrained("resnet"), pictures, LATENTS, **ways)
    with pytest.raises(UserError, match="did you mean 'dog'"):
        spread_out(untrained("projected"), pictures, domain="dgo", by=2.0)
