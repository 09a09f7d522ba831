"""A guide: what its loss measures, what a run does with it, and which models it may be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_models import untrained
from tiny_runs import checkpoints, log_lines, tiny_config

from facemeld.config import LossWeights, TrainingConfig
from facemeld.errors import UserError
from facemeld.networks.bundle import save_model
from facemeld.training.guide import Guide
from facemeld.training.loop import train


@pytest.fixture
def pictures() -> torch.Tensor:
    """Six pictures of twice the size of the guide's, with nothing finer than its pixels."""
    torch.manual_seed(1)
    networks = untrained("resnet")
    small = torch.rand(6, 3, networks.config.image_size, networks.config.image_size) * 2 - 1
    return F.interpolate(small, scale_factor=2)


def guided(pictures: torch.Tensor, guide: Guide, names: tuple[str, ...]) -> torch.Tensor:
    """What the guide makes of two sources and four references, at the size of the pictures."""
    small = F.avg_pool2d(pictures, 2)
    domains = torch.tensor([guide.networks.config.domains.index(n) for n in names])
    styles = guide.networks.style_encoder(small[2:], domains)
    with torch.no_grad():
        results = guide.networks.generator(small[:2].repeat_interleave(2, dim=0), styles)
    return F.interpolate(results, scale_factor=2)


def test_results_like_the_guides_cost_nothing_and_others_their_distance(
    pictures: torch.Tensor,
) -> None:
    guide = Guide(untrained("resnet"), domains=("bird", "dog", "cat"))
    targets = torch.tensor([2, 2, 1, 1])
    fakes = guided(pictures, guide, ("cat", "cat", "dog", "dog"))
    assert guide.loss(pictures[:2], pictures[2:], fakes, targets) < 1e-6
    stripes = torch.tensor([0.3, -0.3]).repeat(fakes.shape[-1] // 2)  # finer than the guide sees
    assert guide.loss(pictures[:2], pictures[2:], fakes + stripes, targets) < 1e-6
    off = fakes + torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None, None, None]
    loss = guide.loss(pictures[:2], pictures[2:], off, targets)
    torch.testing.assert_close(loss, torch.tensor(0.25))
    only_cats = Guide(untrained("resnet"), ("bird", "dog", "cat"), ("cat",))
    loss = only_cats.loss(pictures[:2], pictures[2:], off, targets)
    torch.testing.assert_close(loss, torch.tensor((0.1 + 0.2) / 4))


def test_domains_that_the_guide_does_not_know_are_free(pictures: torch.Tensor) -> None:
    guide = Guide(untrained("resnet"), domains=("bird", "dog", "cat"))
    fakes = torch.zeros(4, 3, *pictures.shape[2:], requires_grad=True)
    assert guide.loss(pictures[:2], pictures[2:], fakes, torch.zeros(4, dtype=torch.long)) == 0


def test_only_the_results_learn(pictures: torch.Tensor) -> None:
    guide = Guide(untrained("resnet"), domains=("cat", "dog"))
    fakes = torch.zeros(4, 3, *pictures.shape[2:], requires_grad=True)
    guide.loss(pictures[:2], pictures[2:], fakes, torch.tensor([0, 0, 1, 1])).backward()
    assert fakes.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in guide.networks.parameters())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(untrained("projected"), tmp_path / "model", card="")
    return tmp_path / "model"


def guided_config(data: Path, guide: Path | str, **changes) -> TrainingConfig:
    weights = LossWeights(adversarial=0.0, diversity=0.0, cycle=0.0, guide=10.0)
    changes = dict(warmup_pictures=0, reference_share=1.0, weights=weights) | changes
    return tiny_config("lean", data, guide=str(guide), late_weights=None, **changes)


def test_a_run_comes_nearer_to_its_guide(model: Path, faces: Path, tmp_path: Path) -> None:
    train(guided_config(faces, model, pictures=240), tmp_path / "run")
    off = [line["generator/reference/guide"] for line in log_lines(tmp_path / "run")]
    assert sum(off[-5:]) < 0.8 * sum(off[:5])


def test_a_run_goes_on_with_its_own_guide_only(model: Path, faces: Path, tmp_path: Path) -> None:
    config = guided_config(faces, model, pictures=16, checkpoint_every=8)
    train(config, tmp_path / "run")
    longer = dataclasses.replace(config, pictures=24)
    other = untrained("projected")
    with torch.no_grad():
        other.generator.to_rgb.bias += 1
    save_model(other, model, card="")
    with pytest.raises(UserError, match="the run began with another guide"):
        train(longer, tmp_path / "run")
    save_model(untrained("projected"), model, card="")
    train(longer, tmp_path / "run")
    assert checkpoints(tmp_path / "run")[-1].name == "pictures-000000000024.safetensors"

    alone = dataclasses.replace(config, guide="", weights=LossWeights())
    train(alone, tmp_path / "alone")  # a run that began without one may branch off to it
    first = str(checkpoints(tmp_path / "alone")[0])
    train(longer, tmp_path / "branch", resume=first)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(guided_domains=("dgo",)), "the guide has no domain named 'dgo': .*dog"),
        (dict(weights=LossWeights()), "guide and weights.guide need each other"),
        (dict(guide=""), "guide and weights.guide need each other"),
        (dict(guide="", weights=LossWeights(), guided_domains=("dog",)), "need a guide"),
        (dict(guide="faces-64"), "64 px, more than this run's 16"),
        (dict(recipe="fast"), "the fast recipe ignores guide"),
    ],
)
def test_guides_that_cannot_be_are_refused_before_anything_is_made(
    model: Path, faces: Path, tmp_path: Path, changes: dict, words: str
) -> None:
    config = dataclasses.replace(guided_config(faces, model), **changes)
    with pytest.raises(UserError, match=words):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
