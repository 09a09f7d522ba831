"""DiffAugment: what each change does, and that gradients pass through it twice."""

from __future__ import annotations

import torch
from torch import Tensor

from facemeld.training.augment import augment, cover, move, recolour

SIDE = 16
HALF = torch.full((2,), 0.5)


def pictures() -> Tensor:
    return torch.rand(2, 3, SIDE, SIDE) * 2 - 1


def test_half_way_draws_change_no_colour() -> None:
    x = pictures()
    torch.testing.assert_close(recolour(x, HALF, HALF, HALF), x)


def test_colours() -> None:
    x, one = pictures(), torch.ones(2)
    brighter = recolour(x, one, HALF, HALF)
    torch.testing.assert_close(brighter, x + 0.5)
    grey = recolour(x, HALF, 0 * one, HALF)
    torch.testing.assert_close(grey, x.mean(dim=1, keepdim=True).expand_as(x))
    flatter = recolour(x, HALF, HALF, 0 * one)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(flatter - mean, (x - mean) / 2)


def test_pictures_move_by_whole_pixels_up_to_an_eighth() -> None:
    x = pictures()
    moved = move(x, torch.tensor([0.0, 0.5]), torch.tensor([0.999, 0.5]))
    expected = torch.zeros_like(x[0])
    expected[:, : SIDE - 2, 2:] = x[0, :, 2:, : SIDE - 2]
    assert torch.equal(moved[0], expected) and torch.equal(moved[1], x[1])


def test_a_square_of_half_the_side_is_covered() -> None:
    x = torch.ones(2, 3, SIDE, SIDE)
    covered = cover(x, HALF, torch.tensor([0.5, 0.0]))
    assert (covered == 0).sum(dim=(1, 2, 3)).tolist() == [3 * 8 * 8, 3 * 8 * 4]
    assert (covered[0, :, 4:12, 4:12] == 0).all() and (covered[1, :, 4:12, :4] == 0).all()


def test_each_picture_is_changed_by_its_own_numbers() -> None:
    x, uniform = pictures(), torch.rand(2, 8)
    both = augment(x, uniform)
    for i in range(2):
        torch.testing.assert_close(augment(x[i : i + 1], uniform[i : i + 1])[0], both[i])
    assert not torch.allclose(both, x)


def test_gradients_pass_twice() -> None:
    x = pictures().double().requires_grad_()
    weight = torch.randn(3, SIDE, SIDE).double().requires_grad_()
    logits = (augment(x, torch.rand(2, 8)) * weight).tanh().sum(dim=(1, 2, 3))
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), weight)
    assert gradient.abs().sum() > 0 and second.abs().sum() > 0
