"""Batches in parts, recomputed activations, compiled networks: the same gradients."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from tiny_runs import tiny_config
from torch import Tensor

from facemeld.config import TrainingConfig
from facemeld.training.loop import _Run
from facemeld.training.measure import prepared_run


def gradients(config: TrainingConfig, out: Path) -> list[dict[str, Tensor]]:
    """Every gradient of the phases of iterations 0 and 1."""
    run: _Run = prepared_run(config, out)
    found: list[dict[str, Tensor]] = []

    def note(trained: tuple[str, ...]) -> None:
        found.append(
            {
                f"{name}.{n}": p.grad.clone()
                for name in trained
                for n, p in run.modules[name].named_parameters()
                if p.grad is not None
            }
        )

    step = run._train
    run._train = lambda phase, trained: (step(phase, trained), note(trained))
    recipe = run._recipe(discriminator_started=False)
    for _ in range(2):
        run.iterate(recipe, run.sampler.batch(run.iteration))
    return found


def test_a_batch_in_parts_has_the_gradients_of_the_whole(
    recipe_name: str, faces: Path, tmp_path: Path
) -> None:
    compare(recipe_name, faces, tmp_path, dict(accumulate=2))


def test_recomputed_activations_have_the_same_gradients(
    recipe_name: str, faces: Path, tmp_path: Path
) -> None:
    compare(recipe_name, faces, tmp_path, dict(recompute_activations=True))


def test_compiled_networks_have_the_same_gradients(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # traced and differentiated as always, but run by PyTorch: generating C++ takes a minute
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    compare("starganv2", faces, tmp_path, dict(compile=True))


def compare(recipe_name: str, faces: Path, tmp_path: Path, changes: dict) -> None:
    torch.set_num_threads(1)
    # a learning rate of zero: later phases must not drift by rounding
    still = dict(learning_rate=0.0, mapping_learning_rate=0.0, gradient_clip=0.0, weight_decay=0.0)
    plain = gradients(tiny_config(recipe_name, faces, **still), tmp_path)
    changed = gradients(tiny_config(recipe_name, faces, **still, **changes), tmp_path)
    assert len(plain) == len(changed) > 2
    for expected, found in zip(plain, changed):
        assert expected.keys() == found.keys()
        scale = max(g.abs().max() for g in expected.values())
        for name, gradient in expected.items():
            error = (gradient - found[name]).abs().max()
            assert error < 1e-4 * max(1e-2 * float(scale), float(gradient.abs().max())), name


def test_what_is_measured_is_the_work_after_warm_up_and_growing(
    faces: Path, tmp_path: Path
) -> None:
    config = tiny_config("lean", faces, warmup_pictures=8, outermost_pictures=16)
    run = prepared_run(config, tmp_path)
    assert run.config.warmup_pictures == run.config.outermost_pictures == 0
