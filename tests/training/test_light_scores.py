"""A run that evaluates itself: its scores in the log, and nothing else changed by it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from drawn_faces import write_faces
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_models import enliven
from tiny_runs import checkpoints, log_lines, tiny_config

import facemeld
from facemeld.config import TrainingConfig
from facemeld.data.catalogue import WEIGHTS
from facemeld.errors import UserError
from facemeld.evaluation.light import summary
from facemeld.evaluation.light_target import LightTarget
from facemeld.networks.bundle import load_model
from facemeld.networks.mobilenet import MobileNetV2Features
from facemeld.training import light_scores
from facemeld.training.loop import train

FAKES = 20


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Drawn weights of the light network, in place of the published ones."""
    torch.manual_seed(0)
    network = MobileNetV2Features()
    enliven(network)
    entry, folder = WEIGHTS["mobilenet-v2"], tmp_path_factory.mktemp("weights")
    torch.save(network.state_dict(), folder / entry.file)
    digest = hashlib.sha256((folder / entry.file).read_bytes()).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WEIGHTS, "mobilenet-v2", dataclasses.replace(entry, sha256=digest))
        patch.setattr(light_scores, "FAKES", FAKES)
        patch.setattr(MobileNetV2Features, "input_size", 48)  # for speed
        yield folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    """Three iterations, the last of which is evaluated."""
    root = tmp_path_factory.mktemp("data")
    data = write_faces(root / "train", {"cat": 40, "dog": 40})
    held_out = write_faces(root / "val", {"bird": 1, "cat": 4, "dog": 4}, first=100)
    return tiny_config(
        "starganv2", data, samples_from=str(held_out), pictures=24, evaluate_every=32
    )


def test_scores_of_the_average_are_logged(
    config: TrainingConfig, weights_dir: Path, tmp_path: Path
) -> None:
    model = train(config, tmp_path / "run", weights_dir=weights_dir)
    lines = log_lines(tmp_path / "run")
    assert [line["pictures"] for line in lines] == [8, 16, 24]
    found = {n: v for n, v in lines[-1].items() if n.startswith("evaluation/")}
    assert not any(n.startswith("evaluation/") for line in lines[:-1] for n in line)

    # the finished model is the average that was scored; its card's place has no bird either
    held_out = tmp_path / "held out"
    held_out.mkdir()
    for name in ("cat", "dog"):
        (held_out / name).symlink_to(Path(config.samples_from) / name)
    means = summary(
        facemeld.evaluate(
            load_model(model), held_out, config.data, fakes=FAKES, weights_dir=weights_dir
        )
    )
    everywhere = ("distance", "covered", "structure", "layout_kept", "domain_accuracy")
    assert set(found) == {
        f"evaluation/light_{name}_{mode}"
        for mode, names in (
            ("reference", ("likeness", "nearer_to_own", "retrieval")),
            ("latent", ()),
        )
        for name in (*everywhere, *names)
    }
    for mode in ("reference", "latent"):
        logged = found[f"evaluation/light_distance_{mode}"]
        assert logged == pytest.approx(means[mode]["distance"], rel=1e-3)
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    told = events.Scalars("evaluation/light_distance_latent")
    assert [event.step for event in told] == [24]
    assert told[0].value == pytest.approx(found["evaluation/light_distance_latent"], rel=1e-3)

    plain = dataclasses.replace(config, evaluate_every=0)
    train(plain, tmp_path / "plain")
    weights = [p / "model.safetensors" for p in (model, tmp_path / "plain" / "model")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_what_would_stop_an_evaluation_is_told_before_the_run(
    config: TrainingConfig, weights_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = write_faces(tmp_path / "few", {"cat": 39, "dog": 40})
    other = write_faces(tmp_path / "other", {"bird": 2, "dog": 2})
    for changes, message in (
        (dict(samples_from=""), "evaluate_every needs samples_from"),
        (dict(evaluate_every=20), r"multiple of log_every \(8\)"),
        (dict(evaluate_every=-8), "evaluate_every"),
        (dict(data=str(few)), r"fewer than 40 real pictures: cat \(39\)"),
        (dict(samples_from=str(other)), "held-out pictures of 2 of the run's domains"),
    ):
        with pytest.raises(UserError, match=message):
            train(dataclasses.replace(config, **changes), tmp_path / "run", weights_dir=weights_dir)
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"mobilenet"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_request_to_stop_ends_an_evaluation(
    config: TrainingConfig,
    weights_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = dataclasses.replace(config, evaluate_every=8)
    judged, judge = [], LightTarget.judge

    def judge_and_signal(target: LightTarget, *rest):
        judged.append(target.name)
        os.kill(os.getpid(), signal.SIGTERM)
        return judge(target, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(LightTarget, "judge", judge_and_signal)
        with pytest.raises(SystemExit) as caught:
            train(config, tmp_path / "run", weights_dir=weights_dir)
    assert caught.value.code == 143 and len(judged) == 1, "the second target was judged, too"
    told = capsys.readouterr().err
    assert "this evaluation is left out" in told and "saved at 16 pictures" in told
    assert [p.name for p in checkpoints(tmp_path / "run")] == ["pictures-000000000016.safetensors"]
    assert not any(
        n.startswith("evaluation/") for line in log_lines(tmp_path / "run") for n in line
    )

    model = train(config, tmp_path / "run", weights_dir=weights_dir)
    assert "evaluation/light_distance_latent" in log_lines(tmp_path / "run")[-1]
    whole = train(dataclasses.replace(config, evaluate_every=0), tmp_path / "whole")
    weights = [p / "model.safetensors" for p in (model, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
