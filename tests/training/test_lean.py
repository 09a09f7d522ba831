"""The lean step: its phases, its losses, and what each of them trains.

The frozen feature network is random here: the equations do not depend on its weights.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_models import enliven, untrained
from tiny_runs import tiny_config
from torch import Tensor

from facemeld.config import LossWeights
from facemeld.data.randomness import random_at
from facemeld.data.sampling import MOVEMENT, RIVALS, Batch, BatchSampler, as_tensor
from facemeld.data.store import PictureStore
from facemeld.networks.bundle import Networks, build_discriminator
from facemeld.networks.points import PointReader
from facemeld.training.guide import Guide
from facemeld.training.landmarks import Landmarks, Wanted, entropy
from facemeld.training.lean import LeanRecipe
from facemeld.training.losses import (
    Movement,
    edge_lines,
    feature_distance,
    geometry_consistency,
    self_similarity_distance,
)

WEIGHTS = LossWeights(
    adversarial=0.7,
    style=1.5,
    diversity=0.4,
    cycle=2.0,
    reconstruction=0.9,
    features=3.0,
    content=1.1,
    style_matching=0.6,
    geometry=0.8,
    self_similarity=1.2,
    perceptual=0.3,
    landmarks=0.5,
    likeness=0.2,
    edges=0.3,
    style_spread=0.3,
    guide=1.3,
)
TRAINED = ("generator", "style_encoder", "mapping_network")


@pytest.fixture(params=["resnet", "projected"])
def recipe(request: pytest.FixtureRequest) -> LeanRecipe:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (2, 6, 4, 4, 3), dtype=np.uint8)
    store = PictureStore(("cat", "dog"), list(coarse.repeat(4, axis=2).repeat(4, axis=3)))
    config = tiny_config("lean")
    network = dataclasses.replace(
        config.network, domains=store.domains, generator=request.param, feature_size=64
    )
    config = dataclasses.replace(config, network=network)
    networks, discriminator = Networks(network), build_discriminator(network)
    encoder = networks.style_encoder
    enliven(encoder.features)
    pictures = as_tensor(np.concatenate(store.pictures), "cpu")
    with torch.no_grad():
        features = encoder.features(pictures)
        statistics = encoder.statistics(features, pictures)
        labels = torch.tensor([0] * 6 + [1] * 6)
        encoder.fit(statistics, labels)
        discriminator.set_scale(features)
        reader = PointReader().requires_grad_(False)
        points, maps = reader(features)
    landmarks = Landmarks(reader, points, entropy(maps), labels, 2)
    sampler = BatchSampler(store, sources=4, latent_size=4, seed=0)
    guide = Guide(untrained("projected"), store.domains)
    known = (statistics, landmarks, guide)
    return LeanRecipe(config, networks, discriminator, encoder, sampler, *known)


def batch_of(recipe: LeanRecipe, *, from_latents: bool) -> Batch:
    return dataclasses.replace(recipe.sampler.batch(0), from_latents=from_latents)


def play(
    recipe: LeanRecipe, batch: Batch, iteration: int = 4
) -> tuple[list[tuple[Tensor, tuple[str, ...]]], dict[str, Tensor]]:
    """All phases of one step, without training in between."""
    recipe.discriminator.eval()  # the power iterations of its spectral norms stand still
    numbers: dict[str, Tensor] = {}
    return list(recipe.step(batch, WEIGHTS, iteration, numbers)), numbers


@pytest.mark.parametrize("from_latents", [False, True])
def test_the_phases_name_what_they_train(recipe: LeanRecipe, from_latents: bool) -> None:
    phases, numbers = play(recipe, batch_of(recipe, from_latents=from_latents))
    assert [trained for _, trained in phases] == [("discriminator",), TRAINED]
    assert all(torch.isfinite(n) and not n.requires_grad for n in numbers.values())
    modules = dict(recipe.networks.named_children()) | {"discriminator": recipe.discriminator}
    for loss, trained in phases:
        for name in trained:
            parameters = [p for p in modules[name].parameters() if p.requires_grad]
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            assert all(g is not None for g in gradients), name
            assert sum(g.abs().sum() for g in gradients) > 0, name


def test_the_discriminator_does_not_train_the_generator(recipe: LeanRecipe) -> None:
    (loss, _), _ = play(recipe, batch_of(recipe, from_latents=True))[0]
    parameters = [p for p in recipe.networks.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    assert all(g is None for g in gradients)


def test_the_first_pictures_are_only_rebuilt(recipe: LeanRecipe) -> None:
    batch = batch_of(recipe, from_latents=False)
    phases, numbers = play(recipe, batch, iteration=0)
    ((loss, trained),) = phases
    assert trained == ("generator", "style_encoder")
    assert list(numbers) == [f"generator/warmup/{n}" for n in ("reconstruction", "perceptual")]
    networks, features = recipe.networks, recipe.frozen.features
    own = networks.style_encoder.from_statistics(
        recipe.statistics[batch.source_rows], batch.source_domains
    )
    rebuilt = networks.generator(batch.sources, own)
    perceptual = feature_distance(features(rebuilt), features(batch.sources))
    expected = F.l1_loss(rebuilt, batch.sources) + WEIGHTS.perceptual * perceptual
    torch.testing.assert_close(loss, expected)


def test_the_references_are_the_real_batch(recipe: LeanRecipe) -> None:
    batch = batch_of(recipe, from_latents=False)
    phases, numbers = play(recipe, batch)
    features, targets = recipe.frozen.features, batch.targets.repeat_interleave(2)
    real = recipe.discriminator(features(batch.references), targets)
    fake = recipe.discriminator(features(fakes_of(recipe, batch)[0]), targets)
    expected = {"real": F.relu(1 - real).mean(), "fake": F.relu(1 + fake).mean()}
    for name, value in expected.items():
        torch.testing.assert_close(numbers[f"discriminator/{name}"], value.detach())
    torch.testing.assert_close(phases[0][0], expected["real"] + expected["fake"])


@pytest.mark.parametrize("mode", ["reference", "latent"])
@pytest.mark.parametrize("iteration", [4, 5])
def test_the_generator_loss(recipe: LeanRecipe, mode: str, iteration: int) -> None:
    batch = batch_of(recipe, from_latents=mode == "latent")
    phases, numbers = play(recipe, batch, iteration)
    networks, encoder = recipe.networks, recipe.networks.style_encoder
    targets = batch.targets.repeat_interleave(2)
    fakes, styles = fakes_of(recipe, batch)
    fake_statistics = encoder.statistics(encoder.features(fakes), fakes)
    own = encoder.from_statistics(recipe.statistics[batch.source_rows], batch.source_domains)
    half = fakes[0::2] if iteration == 4 else fakes[1::2]
    expected = {
        "adversarial": -recipe.discriminator(recipe.frozen.features(fakes), targets).mean(),
        "style": F.l1_loss(encoder.from_statistics(fake_statistics, targets), styles),
        "diversity": -F.l1_loss(fakes[0::2], fakes[1::2]),
        "cycle": F.l1_loss(networks.generator(half, own), batch.sources),
    }
    if mode == "reference":
        references = recipe.statistics[batch.reference_rows]
        expected["features"] = F.l1_loss(
            encoder.standardise(fake_statistics), encoder.standardise(references)
        )
        random = random_at(0, iteration, RIVALS)
        rows = torch.stack([recipe.sampler.rows_of_domain(k, random, 15) for k in range(2)])
        logits = []
        for fake, own_row, target in zip(fake_statistics, batch.reference_rows, targets):
            compared = [own_row, *(row for row in rows[target] if row != own_row)]
            others = encoder.standardise(recipe.statistics[torch.stack(compared)])
            gaps = (encoder.standardise(fake[None]) - others).abs()
            for level in gaps.split((48, 80, 224, 640, 6), dim=1):  # four maps and the colours
                logits.append((-level.mean(dim=1) / 0.05).log_softmax(dim=0)[0])
        expected["likeness"] = -torch.stack(logits).mean()
        shown = recipe.guide.networks
        looks = shown.style_encoder(batch.references, targets)
        doubled = batch.sources.repeat_interleave(2, dim=0)
        expected["guide"] = F.l1_loss(fakes, shown.generator(doubled, looks))
    if iteration % 4 == 0:
        rebuilt = networks.generator(batch.sources, own)
        expected["reconstruction"] = F.l1_loss(rebuilt, batch.sources)
        features = recipe.frozen.features
        expected["perceptual"] = feature_distance(features(rebuilt), features(batch.sources))

    features = recipe.frozen.features
    wanted = recipe.landmarks.wanted(features(batch.sources), batch.source_domains, batch.targets)
    wanted = Wanted(*(part.repeat_interleave(2, dim=0) for part in wanted))
    expected["landmarks"], off = recipe.landmarks.loss(features(fakes), wanted)
    expected["self_similarity"] = self_similarity_distance(
        features(fakes)[1], features(batch.sources)[1].repeat_interleave(2, dim=0)
    )
    expected["edges"] = edge_lines(fakes, batch.references)
    movement = Movement.draw(random_at(0, iteration, MOVEMENT), fakes.shape[-1])
    rows = torch.arange(iteration % 4, len(fakes), 4)
    again = networks.generator(movement(batch.sources)[rows // 2], styles[rows])
    expected["geometry"] = geometry_consistency(again, fakes[rows], movement)

    prefix = f"generator/{mode}/"
    found = {n.removeprefix(prefix): v for n, v in numbers.items() if n.startswith(prefix)}
    unchecked = {"content", "correlation", "style_matching", "style_spread"}
    torch.testing.assert_close(found.pop("landmarks_off"), off.detach())
    assert found.keys() == expected.keys() | unchecked
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.detach(), rtol=1e-4, atol=1e-5)
    assert -1 <= found["correlation"] <= 1 and found["content"] >= 0
    found.pop("correlation")
    total = sum(getattr(WEIGHTS, name) * value for name, value in found.items())
    torch.testing.assert_close(phases[1][0].detach(), total)


def test_terms_of_no_weight_are_not_computed(recipe: LeanRecipe) -> None:
    numbers: dict[str, Tensor] = {}
    weights = LossWeights()  # the optional ones of this recipe are 0
    for _ in recipe.step(batch_of(recipe, from_latents=False), weights, 4, numbers):
        pass
    names = {name.rsplit("/", 1)[1] for name in numbers}
    wanted = LossWeights()
    optional = {f.name for f in dataclasses.fields(wanted) if not getattr(wanted, f.name)}
    assert not names & optional and "landmarks_off" not in names


def test_style_matching_makes_latent_styles_like_encoded_ones(recipe: LeanRecipe) -> None:
    mapping = recipe.networks.mapping_network
    optimizer = torch.optim.Adam(mapping.parameters(), lr=3e-2)
    weights = dataclasses.replace(LossWeights(), adversarial=0, style=0, diversity=0, cycle=0)
    weights = dataclasses.replace(weights, style_matching=1.0)
    batch, distances = batch_of(recipe, from_latents=False), []
    for iteration in range(1, 21):
        numbers: dict[str, Tensor] = {}
        for loss, trained in recipe.step(batch, weights, iteration, numbers):
            if "mapping_network" in trained:
                optimizer.zero_grad()
                loss.backward(inputs=list(mapping.parameters()))
                optimizer.step()
        distances.append(numbers["generator/reference/style_matching"].item())
    assert np.mean(distances[-4:]) < 0.6 * np.mean(distances[:4])


def test_style_spread_drives_the_styles_of_a_domain_apart(recipe: LeanRecipe) -> None:
    encoder = recipe.networks.style_encoder
    trained = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-2)
    weights = dataclasses.replace(LossWeights(), adversarial=0, style=0, diversity=0, cycle=0)
    weights = dataclasses.replace(weights, style_spread=1.0)
    batch, short = batch_of(recipe, from_latents=False), []
    for iteration in range(4, 84, 4):
        numbers: dict[str, Tensor] = {}
        for loss, names in recipe.step(batch, weights, iteration, numbers):
            if "style_encoder" in names:
                optimizer.zero_grad()
                loss.backward(inputs=trained)
                optimizer.step()
        short.append(numbers["generator/reference/style_spread"].item())
    assert min(short) >= 0 and np.mean(short[-3:]) < 0.5 * short[0]


def fakes_of(recipe: LeanRecipe, batch: Batch) -> tuple[Tensor, Tensor]:
    """Every source under its two styles, source by source, and the styles."""
    networks, targets = recipe.networks, batch.targets.repeat_interleave(2)
    if batch.from_latents:
        styles = networks.mapping_network(batch.latents, targets)
    else:
        styles = networks.style_encoder.from_statistics(
            recipe.statistics[batch.reference_rows], targets
        )
    return networks.generator(batch.sources.repeat_interleave(2, dim=0), styles), styles
