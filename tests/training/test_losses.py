"""Each loss against its equation, computed another way."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from facemeld.training import losses


def pictures(count: int, size: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_logistic_and_hinge_losses_follow_their_equations() -> None:
    values = [-3.0, -0.5, 0.0, 0.7, 2.5]
    logits = torch.tensor(values)
    expected = {
        losses.logistic_real: [math.log1p(math.exp(-v)) for v in values],
        losses.logistic_fake: [math.log1p(math.exp(v)) for v in values],
        losses.hinge_real: [max(0, 1 - v) for v in values],
        losses.hinge_fake: [max(0, 1 + v) for v in values],
    }
    for loss, terms in expected.items():
        assert math.isclose(loss(logits).item(), sum(terms) / 5, rel_tol=1e-6), loss.__name__


def test_logistic_losses_stay_finite_for_extreme_logits() -> None:
    logits = torch.tensor([-1e4, 1e4])
    assert losses.logistic_real(logits).item() == losses.logistic_fake(logits).item() == 5e3


def test_r1_of_a_linear_function_is_half_its_squared_weight() -> None:
    x = pictures(4).requires_grad_()
    weight = pictures(1, seed=1)[0].requires_grad_()
    penalty = losses.r1_penalty((x * weight).sum(dim=(1, 2, 3)), x)
    torch.testing.assert_close(penalty, 0.5 * weight.square().sum())
    penalty.backward()
    torch.testing.assert_close(weight.grad, weight.detach())  # d/dw of w^2 / 2


def test_r1_is_the_mean_over_the_pictures() -> None:
    x = torch.stack([torch.full((3, 4, 4), v) for v in (1.0, 3.0)]).requires_grad_()
    # D(x) = sum x^2 / 2 has the gradient x: 48 / 2 of the first picture, 48 * 9 / 2 of the second
    penalty = losses.r1_penalty(0.5 * x.square().sum(dim=(1, 2, 3)), x)
    assert penalty.item() == (24 + 24 * 9) / 2


def test_content_correlation_is_that_of_the_luminance_gradients() -> None:
    fakes, sources = pictures(3), pictures(3, seed=1)
    expected = []
    for fake, source in zip(fakes.mean(1).numpy(), sources.mean(1).numpy(), strict=True):
        gradients = [
            np.concatenate([np.diff(p, axis=1)[:-1].ravel(), np.diff(p, axis=0)[:, :-1].ravel()])
            for p in (fake, source)
        ]
        expected.append(np.corrcoef(*gradients)[0, 1])
    loss, correlation = losses.content_hinge(fakes, sources, target=0.05)
    assert math.isclose(correlation.item(), np.mean(expected), abs_tol=1e-4)
    assert math.isclose(loss.item(), np.maximum(0, 0.05 - np.array(expected)).mean(), abs_tol=1e-4)


def test_content_is_kept_whatever_the_contrast_and_the_colour() -> None:
    sources = pictures(4, size=64)
    tint = torch.tensor([0.2, -0.5, 0.4])[:, None, None]
    for fakes in (sources, 0.2 * sources + 0.3, 0.9 * sources + tint):
        loss, correlation = losses.content_hinge(fakes, sources, target=0.9)
        assert correlation.item() > 0.99 and loss.item() == 0
    _, negative = losses.content_hinge(-sources, sources, target=0.5)
    _, other = losses.content_hinge(sources.flip(0), sources, target=0.5)
    assert negative.item() < -0.99 and abs(other.item()) < 0.2


def test_content_hinge_of_flat_pictures_is_finite_with_gradient() -> None:
    fakes = torch.zeros(2, 3, 32, 32, requires_grad=True)
    loss, correlation = losses.content_hinge(fakes, pictures(2, size=32), target=0.5)
    loss.backward()
    assert correlation.item() == 0 and loss.item() == 0.5
    assert torch.isfinite(fakes.grad).all() and fakes.grad.abs().sum() > 0


def test_energy_distance_follows_its_equation() -> None:
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, 3, generator=random), torch.randn(2, 4, 3, generator=random)
    for distance, x, y in zip(losses.energy_distance(a, b), a.numpy(), b.numpy(), strict=True):
        between = np.mean([np.linalg.norm(p - q) for p in x for q in y])
        within = [
            np.mean([np.linalg.norm(p - q) for p, q in itertools.permutations(sample, 2)])
            for sample in (x, y)
        ]
        expected = (2 * between - sum(within)) / math.sqrt(3)
        assert math.isclose(distance.item(), expected, abs_tol=1e-5)


def test_energy_distance_is_zero_in_expectation_for_one_distribution_only() -> None:
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 400, 32, 8, generator=random)
    same = losses.energy_distance(a, b)
    standard_error = same.std() / math.sqrt(len(same))
    assert abs(same.mean()) < 4 * standard_error
    assert losses.energy_distance(a, b + 1).min() > 0.1
    assert losses.energy_distance(a, 3 * b).min() > 0.1


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("down", "across"), [(0, 0), (2, -1), (-2, 2)])
def test_a_movement_takes_every_pixel_along(mirrored: bool, down: int, across: int) -> None:
    pictures = torch.rand(2, 3, 16, 16)
    moved = losses.Movement(mirrored, down, across)(pictures)
    column = 15 - 6 if mirrored else 6
    torch.testing.assert_close(moved[..., 7 + down, column + across], pictures[..., 7, 6])


def test_movements_are_drawn_within_an_eighth() -> None:
    drawn = [losses.Movement.draw(np.random.default_rng(seed), 16) for seed in range(200)]
    assert {m.down for m in drawn} == {m.across for m in drawn} == {-2, -1, 0, 1, 2}
    assert {m.mirrored for m in drawn} == {False, True}


def test_what_moves_with_the_source_is_consistent_and_a_fixed_face_is_not() -> None:
    sources, fixed = torch.rand(2, 3, 16, 16), torch.rand(1, 3, 16, 16).expand(2, -1, -1, -1)
    movement = losses.Movement(True, 1, -2)
    follows = losses.geometry_consistency(1 - movement(sources), 1 - sources, movement)
    assert follows < 1e-6
    assert losses.geometry_consistency(fixed, fixed, movement) > 0.1


def test_self_similarity_sees_the_layout_and_not_the_colours() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 24, 4, 4)
    turned = torch.linalg.qr(torch.randn(24, 24)).Q
    recoloured = 3 * torch.einsum("dc,bchw->bdhw", turned, features) + torch.randn(1, 24, 1, 1)
    assert losses.self_similarity_distance(features, recoloured) < 1e-5
    shuffled = features.flatten(2)[..., torch.randperm(16)].unflatten(2, (4, 4))
    assert losses.self_similarity_distance(features, shuffled) > 0.3


def test_self_similarity_against_its_definition() -> None:
    places = pictures(1, size=3)[0].flatten(1).T.double()
    places = places - places.mean(dim=0)
    similar = torch.corrcoef(torch.nn.functional.cosine_similarity(places[:, None], places, dim=2))
    other = pictures(1, size=3, seed=1)
    rows = losses.self_similarity(pictures(1, size=3))[0].double()
    torch.testing.assert_close(rows @ rows.T, similar, rtol=1e-4, atol=1e-5)
    distance = losses.self_similarity_distance(pictures(1, size=3), other)
    wanted = 1 - (rows * losses.self_similarity(other)[0]).sum() / len(rows)
    torch.testing.assert_close(distance.double(), wanted.double(), rtol=1e-4, atol=1e-5)


def test_style_spread_counts_what_each_deviation_falls_short_of() -> None:
    styles = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0)) * 0.5
    deviations = styles.double().numpy().std(axis=1, ddof=1)
    expected = np.maximum(0.7 - np.sqrt(deviations**2 + 1e-4), 0).mean(axis=1)
    found = losses.style_spread_hinge(styles, 0.7)
    assert (expected > 0).all()
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    assert losses.style_spread_hinge(styles * 10, 0.7).max() == 0


def test_edge_lines_are_steps_at_the_sides_beyond_those_of_real_pictures() -> None:
    smooth = torch.zeros(2, 3, 16, 16)
    framed = smooth.clone()
    framed[:, :, -1] = 0.5  # the row at the bottom alone
    assert losses.edge_lines(framed, framed) == losses.edge_lines(smooth, framed) == 0
    assert losses.edge_lines(framed, smooth) == pytest.approx(0.5)
    framed[:, :, -3:] = 0.5
    assert losses.edge_lines(framed, smooth) == pytest.approx(0.5)  # still the third step
    framed[:, :, -4:] = 0.5
    assert losses.edge_lines(framed, smooth) == 0  # too far inside


@pytest.mark.parametrize(
    "side", [np.s_[..., 0], np.s_[..., -1], np.s_[..., 0, :], np.s_[..., -1, :]]
)
def test_edge_lines_are_seen_at_every_side_and_trained_away(side: tuple) -> None:
    reals = pictures(3, seed=1) * 0.1
    fakes = pictures(3) * 0.1
    fakes[side] += 0.8
    fakes.requires_grad_()
    line = losses.edge_lines(fakes, reals)
    assert line > 0.5
    (gradient,) = torch.autograd.grad(line, fakes)
    assert gradient[side].mean() > 0
    assert not gradient[..., 4:-4, 4:-4].any()
    assert losses.edge_lines(fakes - gradient, reals) < line
