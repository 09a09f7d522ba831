"""The light protocol on models whose scores are known beforehand.

The measuring network is random here: these scores do not depend on what it has learned.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from drawn_faces import write_faces
from tiny_models import enliven, untrained
from torch import Tensor, nn

import facemeld
from facemeld.config import NetworkConfig
from facemeld.data.catalogue import WEIGHTS
from facemeld.data.folders import scan_domains
from facemeld.data.store import load_pictures
from facemeld.errors import UserError
from facemeld.evaluation.light import DomainScore, quick, summary
from facemeld.networks.bundle import load_model
from facemeld.networks.mobilenet import MobileNetV2Features

SIDE = 16
FAKES = 30


class Oracle(nn.Module):
    """A model that returns the reference itself, or grey for a latent code."""

    config = NetworkConfig(image_size=SIDE, domains=("cat", "dog"))

    def style_encoder(self, pictures: Tensor, domains: Tensor) -> Tensor:
        return pictures.flatten(1)

    def mapping_network(self, latents: Tensor, domains: Tensor) -> Tensor:
        return torch.zeros(len(latents), 3 * SIDE * SIDE)

    def generator(self, pictures: Tensor, styles: Tensor) -> Tensor:
        return styles.view_as(pictures)


class Copier(Oracle):
    """A model that returns the source as it is."""

    def generator(self, pictures: Tensor, styles: Tensor) -> Tensor:
        return pictures


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Held-out pictures and reals."""
    root = tmp_path_factory.mktemp("evaluation")
    held_out = write_faces(root / "held out", {"cat": 30, "dog": 30}, first=100)
    return held_out, write_faces(root / "reals", {"cat": 40, "dog": 41})


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable]:
    """``facemeld.evaluate`` with weights of this test in place of the published ones."""
    torch.manual_seed(0)
    features = MobileNetV2Features()
    enliven(features)
    entry, folder = WEIGHTS["mobilenet-v2"], tmp_path_factory.mktemp("weights")
    torch.save(features.state_dict(), folder / entry.file)
    digest = hashlib.sha256((folder / entry.file).read_bytes()).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WEIGHTS, "mobilenet-v2", dataclasses.replace(entry, sha256=digest))
        patch.setattr(MobileNetV2Features, "input_size", 48)  # for speed
        yield functools.partial(facemeld.evaluate, weights_dir=folder)


def of(scores: list[DomainScore], mode: str) -> list[DomainScore]:
    return [score for score in scores if score.mode == mode]


def test_returning_the_reference_goes_all_the_way(
    evaluate: Callable, folders: tuple[Path, Path]
) -> None:
    seen: list[tuple[int, int]] = []
    scores = evaluate(Oracle(), *folders, fakes=FAKES, progress=lambda *done: seen.append(done))
    assert [(s.domain, s.mode) for s in scores] == [
        ("cat", "reference"), ("cat", "latent"), ("dog", "reference"), ("dog", "latent"),
    ]  # fmt: skip
    assert seen == [(done, 4) for done in (1, 2, 3, 4)]
    for score in of(scores, "reference"):
        assert score.fakes == FAKES and score.reals == 20
        assert score.floor < 0.95 * score.unedited
        assert 0.7 < score.covered < 1.3, score
        assert score.retrieval == 1.0
        assert score.structure < 0.9
    for score in of(scores, "latent"):
        assert score.retrieval is None and score.covered < 0.5
        assert score.structure == pytest.approx(0, abs=1e-6)  # grey has no layout
    assert evaluate(Oracle(), *folders, fakes=FAKES) == scores


def test_returning_the_source_goes_nowhere(evaluate: Callable, folders: tuple[Path, Path]) -> None:
    scores = evaluate(Copier(), *folders, fakes=FAKES)
    for score in scores:
        assert score.distance == pytest.approx(score.unedited, rel=1e-5)
        assert score.covered == pytest.approx(0, abs=1e-4)
        assert score.structure == pytest.approx(1, abs=1e-2)
    assert all(score.retrieval < 0.8 for score in of(scores, "reference"))


def test_the_summary_is_the_mean_over_the_domains() -> None:
    score = DomainScore(
        domain="cat", mode="reference", fakes=20, reals=20, distance=4.0, floor=1.0,
        unedited=9.0, covered=0.6, structure=0.5, retrieval=0.75,
    )  # fmt: skip
    other = dataclasses.replace(score, domain="dog", distance=6.0, covered=0.2, retrieval=0.25)
    latent = [dataclasses.replace(s, mode="latent", retrieval=None) for s in (score, other)]
    told = json.loads(json.dumps(summary([score, other, *latent])))
    assert told["mean"]["reference"] == {
        "distance": 5.0, "floor": 1.0, "unedited": 9.0, "covered": 0.4, "structure": 0.5,
        "retrieval": 0.5, "least_covered": 0.2,
    }  # fmt: skip
    assert "retrieval" not in told["mean"]["latent"]
    assert [d["domain"] for d in told["domains"]] == ["cat", "dog", "cat", "dog"]
    assert "not FID" in told["protocol"]


def test_a_real_model_gets_scores(
    evaluate: Callable, folders: tuple[Path, Path], resnet_model: Path
) -> None:
    scores = evaluate(load_model(resnet_model), *folders, fakes=20)
    assert len(scores) == 4
    for score in scores:
        assert score.distance > score.floor > 0 and -1 <= score.structure <= 1


def test_unknown_domains_are_refused(evaluate: Callable, folders: tuple[Path, Path]) -> None:
    networks = untrained("resnet", domains=("cat", "bird"))
    with pytest.raises(UserError, match="no domain 'dog'") as caught:
        evaluate(networks, *folders)
    assert caught.value.where == str(folders[0]) and "bird" in caught.value.fix


def test_folders_of_different_domains_are_refused(
    evaluate: Callable, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    networks = untrained("resnet", domains=("bird", "cat", "dog"))
    other = write_faces(tmp_path / "other", {"bird": 1, "cat": 1})
    with pytest.raises(UserError, match="different domains") as caught:
        evaluate(networks, folders[0], other)
    assert "bird, cat" in caught.value.where and "cat, dog" in caught.value.where


def test_too_few_reals_are_named(
    evaluate: Callable, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    few = write_faces(tmp_path / "few", {"cat": 40, "dog": 39})
    with pytest.raises(UserError, match=r"fewer than 40 real pictures: dog \(39\)"):
        evaluate(Oracle(), folders[0], few)


@pytest.mark.parametrize(("name", "value"), [("fakes", 0), ("fakes", 19), ("seed", -1)])
def test_impossible_numbers_are_refused(
    evaluate: Callable, folders: tuple[Path, Path], name: str, value: int
) -> None:
    with pytest.raises(UserError, match=f"{name} is {value}"):
        evaluate(Oracle(), *folders, **{name: value})


def test_the_numbers_for_a_log_are_the_means(
    evaluate: Callable, folders: tuple[Path, Path]
) -> None:
    expected = summary(evaluate(Copier(), *folders, fakes=FAKES))["mean"]
    features = MobileNetV2Features()
    weights = evaluate.keywords["weights_dir"] / WEIGHTS["mobilenet-v2"].file
    features.load_published(torch.load(weights, weights_only=True))
    held_out, reals = (load_pictures(scan_domains(folder), SIDE) for folder in folders)
    found = quick(Copier(), features, held_out, reals, fakes=FAKES)
    assert found["light_distance_latent"] == expected["latent"]["distance"]
    assert found["light_retrieval_reference"] == expected["reference"]["retrieval"]
    assert len(found) == 7 and all(isinstance(value, float) for value in found.values())
