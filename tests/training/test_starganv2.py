"""The paper's training step: its phases, its losses, and what each of them trains."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_runs import tiny_config
from torch import Tensor, nn

from facemeld.config import LossWeights
from facemeld.data.sampling import Batch, BatchSampler
from facemeld.data.store import PictureStore
from facemeld.networks.bundle import Networks, build_discriminator
from facemeld.networks.generator import Content
from facemeld.training.starganv2 import StarGANv2Recipe

WEIGHTS = LossWeights(adversarial=0.7, style=1.5, diversity=0.4, cycle=2.0)
PHASES = [
    ("discriminator",),
    ("discriminator",),
    ("generator", "mapping_network", "style_encoder"),
    ("generator",),
]


@pytest.fixture
def recipe() -> StarGANv2Recipe:
    torch.manual_seed(0)
    config = tiny_config("starganv2", r1=3.0)
    network = dataclasses.replace(config.network, domains=("cat", "dog"))
    return StarGANv2Recipe(config, Networks(network), build_discriminator(network))


@pytest.fixture
def batch() -> Batch:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8) for _ in range(2)]
    store = PictureStore(("cat", "dog"), pictures)
    return BatchSampler(store, sources=4, latent_size=4, seed=0).batch(0)


def play(recipe: StarGANv2Recipe, batch: Batch) -> tuple[list, dict[str, Tensor]]:
    """All phases of one step, without training in between."""
    numbers: dict[str, Tensor] = {}
    return list(recipe.step(batch, WEIGHTS, 0, numbers)), numbers


def test_the_phases_name_what_they_train(recipe: StarGANv2Recipe, batch: Batch) -> None:
    phases, numbers = play(recipe, batch)
    assert [trained for _, trained in phases] == PHASES
    assert all(torch.isfinite(loss) for loss, _ in phases)
    assert len(numbers) == 2 * 3 + 2 * 4
    assert all(torch.isfinite(n) and not n.requires_grad for n in numbers.values())


def test_every_named_network_gets_a_gradient(recipe: StarGANv2Recipe, batch: Batch) -> None:
    modules = dict(recipe.networks.named_children()) | {
        "discriminator": recipe.adversary.discriminator
    }
    for loss, trained in recipe.step(batch, WEIGHTS, 0, {}):
        for name in trained:
            gradients = torch.autograd.grad(
                loss, list(modules[name].parameters()), retain_graph=True, allow_unused=True
            )
            assert all(g is not None for g in gradients), name
            assert sum(g.abs().sum() for g in gradients) > 0, name


@pytest.mark.parametrize(("phase", "mode"), [(0, "latent"), (1, "reference")])
def test_the_discriminator_loss(
    recipe: StarGANv2Recipe, batch: Batch, phase: int, mode: str
) -> None:
    phases, numbers = play(recipe, batch)
    discriminator = recipe.adversary.discriminator
    real = batch.sources.clone().requires_grad_()
    real_logits = discriminator(real, batch.source_domains)
    (gradient,) = torch.autograd.grad(real_logits.sum(), real)
    fake = recipe.networks.generator(batch.sources, styles(recipe, batch, mode)[0])
    fake_logits = discriminator(fake.detach(), batch.targets)
    expected = {
        "real": -F.logsigmoid(real_logits).mean(),
        "fake": -F.logsigmoid(-fake_logits).mean(),
        "r1": gradient.square().flatten(1).sum(dim=1).mean() / 2,
    }
    for name, value in expected.items():
        torch.testing.assert_close(numbers[f"discriminator/{mode}/{name}"], value.detach())
    total = expected["real"] + expected["fake"] + 3.0 * expected["r1"]
    torch.testing.assert_close(phases[phase][0], total)


@pytest.mark.parametrize(("phase", "mode"), [(2, "latent"), (3, "reference")])
def test_the_generator_loss(recipe: StarGANv2Recipe, batch: Batch, phase: int, mode: str) -> None:
    phases, numbers = play(recipe, batch)
    networks = recipe.networks
    style, other_style = styles(recipe, batch, mode)
    fake = networks.generator(batch.sources, style)
    other = networks.generator(batch.sources, other_style)
    back = networks.generator(fake, networks.style_encoder(batch.sources, batch.source_domains))
    expected = {
        "adversarial": -F.logsigmoid(recipe.adversary.discriminator(fake, batch.targets)).mean(),
        "style": F.l1_loss(networks.style_encoder(fake, batch.targets), style),
        "diversity": F.l1_loss(fake, other),
        "cycle": F.l1_loss(back, batch.sources),
    }
    for name, value in expected.items():
        torch.testing.assert_close(numbers[f"generator/{mode}/{name}"], value.detach())
    signs = {"diversity": -1}
    total = sum(signs.get(n, 1) * getattr(WEIGHTS, n) * value for n, value in expected.items())
    torch.testing.assert_close(phases[phase][0], total)


def styles(recipe: StarGANv2Recipe, batch: Batch, mode: str) -> tuple[Tensor, Tensor]:
    """The styles of the first and the second code of every source."""
    network: nn.Module = recipe.networks.mapping_network
    codes = batch.latents
    if mode == "reference":
        network, codes = recipe.networks.style_encoder, batch.references
    both = network(codes, batch.targets.repeat_interleave(2))
    return both[0::2], both[1::2]


def test_masked_skips_get_the_masks_of_what_they_are_given(batch: Batch) -> None:
    config = tiny_config("starganv2")
    skips = dict(skips="masked", skip_resolutions=(16,))
    network = dataclasses.replace(config.network, domains=("cat", "dog"), **skips)
    asked: list[Tensor] = []

    def masker(pictures: Tensor) -> Tensor:
        asked.append(pictures)
        return torch.full((len(pictures), 2, 256, 256), float(len(asked)))

    networks = Networks(network)
    recipe = StarGANv2Recipe(config, networks, build_discriminator(network), masker)
    given: list[float] = []
    decode = networks.generator.decode

    def noted(content: Content, styles: Tensor, masks: Tensor) -> Tensor:
        given.append(masks.mean().item())
        return decode(content, styles, masks)

    networks.generator.decode = noted
    for _ in recipe.step(batch, WEIGHTS, 0, {}):
        pass
    assert torch.equal(asked[0], batch.sources) and len(asked) == 3
    assert given == [1, 1, 1, 2, 1, 1, 3], "sources have theirs, the fakes of each cycle theirs"
    assert not any(pictures.requires_grad for pictures in asked)
