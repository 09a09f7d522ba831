"""Losses and gradients that are not numbers: the step is left out, counted, and ends the run."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from tiny_runs import checkpoints, log_lines, tensors_of, tiny_config

from facemeld.config import LossWeights
from facemeld.errors import UserError
from facemeld.training.checkpoint import load
from facemeld.training.guard import StepGuard
from facemeld.training.loop import train
from facemeld.training.measure import prepared_run

NAN, INFINITE = float("nan"), float("inf")
# a weight beyond the range of fp32: the generator's loss is infinite from this moment on
BROKEN = LossWeights(cycle=1e39)


def optimizer_after(gradients: list[float], loss: float = 1.0) -> tuple[StepGuard, list, dict]:
    """A guard, a parameter and its optimiser's state after steps with these gradients."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter], lr=0.1, weight_decay=0.1, fused=True)
    guard = StepGuard(torch.device("cpu"))
    for gradient in gradients:
        parameter.grad = torch.tensor([1.0, 2.0, gradient])
        norm = torch.nn.utils.get_total_norm([parameter.grad])
        guard.step([optimizer], torch.tensor(loss), norm)
        guard.end_iteration()
    return guard, parameter.tolist(), optimizer.state[parameter]


@pytest.mark.parametrize("bad", [NAN, INFINITE, -INFINITE])
def test_a_bad_gradient_moves_neither_weights_nor_optimiser(bad: float) -> None:
    guard, weights, state = optimizer_after([0.5, bad, -0.5, bad])
    assert guard.facts() == {"left_out": 2, "in_a_row": 1}
    _, expected, expected_state = optimizer_after([0.5, -0.5])
    assert weights == expected
    assert state.keys() == expected_state.keys()
    assert all(torch.equal(state[name], expected_state[name]) for name in state)


@pytest.mark.parametrize("loss", [NAN, INFINITE])
def test_a_bad_loss_is_enough(loss: float) -> None:
    guard, weights, _ = optimizer_after([0.5], loss=loss)
    assert guard.facts()["left_out"] == 1 and weights == [1, 1, 1]


def test_several_steps_left_out_are_one_iteration() -> None:
    guard = StepGuard(torch.device("cpu"), left_out=5, in_a_row=2)
    for _ in range(4):
        guard.step([], torch.tensor(NAN), torch.tensor(1.0))
    assert guard.end_iteration() == 3 and guard.facts() == {"left_out": 6, "in_a_row": 3}
    guard.step([], torch.tensor(1.0), torch.tensor(1.0))
    assert guard.end_iteration() == 0 and guard.facts() == {"left_out": 6, "in_a_row": 0}


def test_a_run_leaves_bad_steps_out_and_says_so(
    recipe_name: str, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(
        recipe_name, faces, late_weights=BROKEN, late_from=0.5, max_bad_steps=4, keep_checkpoints=9
    )
    train(config, tmp_path / "run")
    assert [line.get("left_out") for line in log_lines(tmp_path / "run")] == [None] * 3 + [1, 2, 3]
    assert "3 iterations with steps left out" in capsys.readouterr().err
    before, _ = load(checkpoints(tmp_path / "run")[0])
    after, facts = load(checkpoints(tmp_path / "run")[-1])
    assert facts["guard"] == {"left_out": 3, "in_a_row": 3}
    trained = [n for n in after if n.startswith("networks.generator")]
    assert trained and all(torch.equal(before[n], after[n]) for n in trained)
    assert all(torch.isfinite(t).all() for t in after.values())
    # the discriminator's own steps were good, and were taken
    heads = [n for n in after if n.startswith("discriminator") and "weight" in n]
    assert any(not torch.equal(before[n], after[n]) for n in heads)

    # also when it was cut in between: the count goes on
    shutil.rmtree(tmp_path / "run" / "model")
    checkpoints(tmp_path / "run")[-1].unlink()
    train(config, tmp_path / "run")
    resumed = tensors_of(tmp_path / "run")
    assert all(torch.equal(resumed[n], after[n]) for n in after)


def test_a_bad_part_of_a_batch_leaves_out_the_whole_step(faces: Path, tmp_path: Path) -> None:
    run = prepared_run(tiny_config("starganv2", faces, accumulate=2), tmp_path)
    weight = next(run.discriminator.parameters())
    before = weight.detach().clone()

    def step(*parts: float) -> dict[str, int]:
        run._train([weight.square().sum() * part for part in parts], ("discriminator",))
        run.guard.end_iteration()
        return run.guard.facts()

    for parts in [(NAN, 1.0), (1.0, INFINITE)]:
        assert step(*parts)["left_out"] > 0 and torch.equal(weight, before)
    assert step(1.0, 1.0) == {"left_out": 2, "in_a_row": 0}
    torch.testing.assert_close(weight.grad, 2 * before)  # the mean of the parts
    assert not torch.equal(weight, before)


def test_too_many_in_a_row_end_the_run_and_name_the_last_good_checkpoint(
    recipe_name: str, faces: Path, tmp_path: Path
) -> None:
    config = tiny_config(
        recipe_name,
        faces,
        late_weights=BROKEN,
        late_from=0.5,
        max_bad_steps=2,
        checkpoint_every=8,
        keep_checkpoints=1,
    )
    with pytest.raises(UserError, match="2 iterations in a row") as caught:
        train(config, tmp_path / "run")
    (good,) = checkpoints(tmp_path / "run")
    assert good.name == "pictures-000000000024.safetensors"
    assert str(good) in caught.value.where and f"--resume {good}" in caught.value.fix
    assert not (tmp_path / "run" / "model").exists()

    # what it says helps: from there with other weights
    mended = dataclasses.replace(config, late_weights=None)
    train(mended, tmp_path / "mended", resume=str(good))
    assert "left_out" not in log_lines(tmp_path / "mended")[-1]
