"""The light protocol on models whose scores are known beforehand.

The measuring network is random here: these scores do not depend on what it has learned.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from drawn_faces import draw_face, write_faces
from tiny_models import enliven, untrained
from torch import Tensor, nn

import facemeld
from facemeld.config import NetworkConfig
from facemeld.data.catalogue import WEIGHTS
from facemeld.data.folders import scan_domains
from facemeld.data.store import load_pictures
from facemeld.errors import UserError
from facemeld.evaluation.judges import load_mobilenet
from facemeld.evaluation.light import DomainScore, LightScorer, run_light_plan, summary
from facemeld.evaluation.light_plan import make_light_plan
from facemeld.evaluation.light_target import LightJudges
from facemeld.evaluation.unfinished import Session, Unfinished
from facemeld.networks.bundle import load_model
from facemeld.networks.mobilenet import MobileNetV2Features

SIDE = 16
FAKES = 30


class Oracle(nn.Module):
    """A model that returns the reference itself, or grey for a latent code."""

    config = NetworkConfig(image_size=SIDE, domains=("cat", "dog"))

    @property
    def generator(self) -> Oracle:
        return self

    def style_encoder(self, pictures: Tensor, domains: Tensor) -> Tensor:
        return pictures.flatten(1)

    def mapping_network(self, latents: Tensor, domains: Tensor) -> Tensor:
        return torch.zeros(len(latents), 3 * SIDE * SIDE)

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, content: Tensor, styles: Tensor, masks: None) -> Tensor:
        return styles.view_as(content)


class Copier(Oracle):
    """A model that returns the source as it is."""

    def decode(self, content: Tensor, styles: Tensor, masks: None) -> Tensor:
        return content


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
    assert seen[0] == (0, 4 * FAKES) and seen[-1] == (4 * FAKES, 4 * FAKES)
    assert seen == sorted(seen)
    for score in of(scores, "reference"):
        assert score.fakes == FAKES and score.reals == 20
        assert score.floor < 0.95 * score.unedited
        assert 0.7 < score.covered < 1.3, score
        assert score.retrieval == score.nearer_to_own == 1.0
        assert score.likeness == pytest.approx(1, abs=1e-3)
        assert score.domain_accuracy == pytest.approx(score.domain_accuracy_of_real, abs=0.15)
        assert score.domain_accuracy > 0.7
        assert score.structure < 0.9 and score.layout_kept < 0.5
    for score in of(scores, "latent"):
        assert score.retrieval is score.nearer_to_own is None and score.covered < 0.5
        assert score.structure == pytest.approx(0, abs=1e-6)  # grey has no layout
        assert score.layout_kept == pytest.approx(0, abs=0.1)
    assert evaluate(Oracle(), *folders, fakes=FAKES) == scores


def test_returning_the_source_goes_nowhere(evaluate: Callable, folders: tuple[Path, Path]) -> None:
    scores = evaluate(Copier(), *folders, fakes=FAKES)
    for score in scores:
        assert score.distance == pytest.approx(score.unedited, rel=1e-5)
        assert score.covered == pytest.approx(0, abs=1e-4)
        assert score.structure == pytest.approx(1, abs=1e-2)
        assert score.layout_kept > 0.95
        assert score.domain_accuracy < 0.3
    for score in of(scores, "reference"):
        assert score.retrieval < 0.8 and score.nearer_to_own == pytest.approx(0.5, abs=0.2)


def test_the_summary_is_the_mean_over_the_domains() -> None:
    score = DomainScore(
        domain="cat", mode="reference", fakes=20, reals=20, distance=4.0, floor=1.0,
        unedited=9.0, covered=0.6, structure=0.5, layout_kept=0.7,
        domain_accuracy=0.9, domain_accuracy_of_real=0.95, likeness=0.1,
        nearer_to_own=0.8, retrieval=0.75, pose_degrees=None, landmark_shift=0.25, pairs=(),
    )  # fmt: skip
    other = dataclasses.replace(score, domain="dog", distance=6.0, covered=0.2, retrieval=0.25)
    latent = [dataclasses.replace(s, mode="latent", retrieval=None) for s in (score, other)]
    means = summary([score, other, *latent])
    assert means["reference"] == {
        "distance": 5.0, "floor": 1.0, "unedited": 9.0, "covered": 0.4, "structure": 0.5,
        "layout_kept": 0.7, "domain_accuracy": 0.9, "domain_accuracy_of_real": 0.95,
        "likeness": 0.1, "nearer_to_own": 0.8, "retrieval": 0.5, "landmark_shift": 0.25,
        "least_covered": 0.2,
    }  # fmt: skip
    assert "retrieval" not in means["latent"]


def test_a_real_model_gets_scores(
    evaluate: Callable, folders: tuple[Path, Path], resnet_model: Path
) -> None:
    scores = evaluate(load_model(resnet_model), *folders, fakes=20)
    assert len(scores) == 4
    for score in scores:
        assert score.distance > score.floor > 0 and -1 <= score.structure <= 1
        (pair,) = score.pairs  # of two domains, one is the source of the other
        assert {pair.source, pair.target} == {"cat", "dog"} and pair.target == score.domain
        assert pair.fakes == score.fakes and pair.domain_accuracy == score.domain_accuracy


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


def test_a_scorer_measures_every_model_with_the_same_material(
    evaluate: Callable, folders: tuple[Path, Path]
) -> None:
    held_out, reals = (load_pictures(scan_domains(folder), SIDE) for folder in folders)
    judges = LightJudges(*load_mobilenet("cpu", evaluate.keywords["weights_dir"]))
    scorer = LightScorer(judges, held_out, reals.pictures, fakes=FAKES)
    for model in (Oracle(), Copier(), Oracle()):
        assert scorer.score(model) == evaluate(model, *folders, fakes=FAKES)


class Masked(Oracle):
    """A model that returns its mask."""

    def decode(self, content: Tensor, styles: Tensor, masks: Tensor) -> Tensor:
        return masks[:, :1].expand(-1, 3, -1, -1)


def test_masked_models_get_masks_of_their_sources(
    evaluate: Callable, folders: tuple[Path, Path]
) -> None:
    held_out, reals = (load_pictures(scan_domains(folder), SIDE) for folder in folders)
    judges = LightJudges(*load_mobilenet("cpu", evaluate.keywords["weights_dir"]))

    def luminance(pictures: Tensor) -> Tensor:
        return pictures.mean(dim=1, keepdim=True).expand(-1, 2, -1, -1)

    scorer = LightScorer(judges, held_out, reals.pictures, fakes=20, masker=luminance)
    for score in scorer.score(Masked()):
        assert score.structure == pytest.approx(1, abs=1e-2)


def test_a_masked_model_without_a_landmark_network_is_refused(
    evaluate: Callable,
    folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path))
    networks = Oracle()
    networks.config = dataclasses.replace(Oracle.config, skips="masked")
    with pytest.raises(UserError, match="skips need masks of the face"):
        evaluate(networks, *folders)


def test_features_of_real_pictures_come_from_the_disk_the_next_time(
    evaluate: Callable, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path))
    scores, looked_at = evaluate(Copier(), *folders, fakes=FAKES), []
    looks = MobileNetV2Features.with_layout
    monkeypatch.setattr(
        MobileNetV2Features,
        "with_layout",
        lambda self, x: (looked_at.append(len(x)), looks(self, x))[1],
    )
    assert evaluate(Copier(), *folders, fakes=FAKES) == scores
    # the sources and the fakes in two modes of two domains
    assert sum(looked_at) == 6 * FAKES


def test_pictures_of_several_sizes_are_refused(
    evaluate: Callable, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    write_faces(tmp_path, {"cat": 40, "dog": 40})
    draw_face("cat", 1, 40).save(tmp_path / "cat" / "odd.png")
    with pytest.raises(UserError, match=r"2 different sizes \(140 of 48 x 48, 1 of 40 x 40\)"):
        evaluate(Oracle(), folders[0], tmp_path)


def test_what_was_stopped_goes_on_and_ends_with_the_same_bits(
    evaluate: Callable,
    folders: tuple[Path, Path],
    resnet_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path))
    networks, weights = load_model(resnet_model), evaluate.keywords["weights_dir"]
    plan = make_light_plan(networks.config, *folders, fakes=20, weights_dir=weights)
    whole = run_light_plan(plan, networks)
    unfinished = Unfinished.beside_the_cache(plan.fingerprint("its hash"))
    done: list[tuple[int, int]] = []

    def stop(fakes: int, total: int) -> None:
        if fakes > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_light_plan(plan, networks, stop, unfinished)
    (time_file,) = unfinished.names("time-")
    spent, session = unfinished.get(time_file), Session(unfinished)
    again = run_light_plan(
        plan, networks, lambda *now: done.append(now), unfinished, session=session
    )
    seconds, parts = session.spent  # of both sessions
    assert seconds > spent["seconds"] and parts["generator"] > spent["parts"]["generator"] > 0
    assert done[0] == (40, 80) and done[-1] == (80, 80)  # only the second target was made
    assert list(map(dataclasses.asdict, again)) == list(map(dataclasses.asdict, whole))
    assert not unfinished.folder.exists()
    others = [
        plan.fingerprint("another"),
        dataclasses.replace(plan, seed=1).fingerprint("its hash"),
    ]
    assert len({plan.fingerprint("its hash"), *others}) == 3
