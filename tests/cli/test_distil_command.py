"""``facemeld distil``: from a teacher to a student and a report about it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from drawn_faces import write_faces
from PIL import Image
from tiny_models import enliven

from facemeld.cli import main
from facemeld.data.catalogue import WEIGHTS
from facemeld.evaluation import distilled
from facemeld.networks.mobilenet import MobileNetV2Features
from facemeld.networks.model_folder import read_network_config
from facemeld.reports.evaluation import SCORES

TRAINING = ["--pictures", "16", "--processes", "1", "--precision", "fp32"]


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
        patch.setattr(MobileNetV2Features, "input_size", 48)  # for speed
        patch.setattr(distilled, "SOURCES", 16)
        yield folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_faces(root / "train", {"cat": 40, "dog": 40})
    write_faces(root / "val", {"cat": 4, "dog": 4}, first=100)
    return root


def test_a_student_and_what_it_lost(
    projected_model: Path,
    data: Path,
    weights_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    command = ["distil", "--teacher", str(projected_model), "--data", str(data / "train")]
    command += ["--test-data", str(data / "val"), "--out", str(out), "--fakes", "20"]
    command += ["--weights-dir", str(weights_dir), *TRAINING]
    main(command)
    told = capsys.readouterr()
    names = ("model", "distillation.json", "report.md", "report.html")
    assert told.out.split() == [str(out / name) for name in names] and "note" not in told.err

    result = json.loads((out / "distillation.json").read_text())
    costs = result["costs"]
    assert costs["teacher"]["gmac"] >= 10 * costs["student"]["gmac"] > 0
    assert costs["teacher"]["parameters"] > costs["student"]["parameters"]
    assert all(costs[who]["decoder_milliseconds"] > 0 for who in ("teacher", "student"))
    assert set(result["imitation"]) == {"reference", "latent", "own style"}
    light = result["light"]
    for mode in ("reference", "latent"):
        # the same reals and sources for both, but other pictures
        for name in ("floor", "unedited"):
            assert light["teacher"][mode][name] == light["student"][mode][name]
        assert light["teacher"][mode]["distance"] != light["student"][mode]["distance"]

    report = (out / "report.md").read_text()
    assert "Light evaluation" in report and "Not measured" not in report
    rows = [line.split(" | ")[0].removeprefix("| ") for line in report.splitlines()]
    means = light["teacher"]["reference"]
    of_pictures = ("floor", "unedited", "domain_accuracy_of_real")
    for name, (title, _) in SCORES.items():  # each score of a model has its row
        assert (title in rows) == (name in means and name not in of_pictures), name
    ratio = costs["teacher"]["gmac"] / costs["student"]["gmac"]
    assert f"{ratio:.1f} times fewer multiply-adds" in report
    assert f"facemeld distil --teacher {projected_model} --data" in report
    with Image.open(out / "side-by-side.jpg") as sheet:
        assert sheet.width > 6 * 16 and sheet.height > 2 * 16

    # the same command again trains nothing more, and measures the same
    weights = (out / "model" / "model.safetensors").read_bytes()
    main(command)
    assert (out / "model" / "model.safetensors").read_bytes() == weights
    again = json.loads((out / "distillation.json").read_text())
    assert again["imitation"] == result["imitation"] and again["light"] == result["light"]


def test_what_cannot_be_measured_is_said_before_and_in_the_report(
    resnet_model: Path,
    weights_dir: Path,
    faces: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["distil", "--teacher", str(resnet_model), "--data", str(faces), *TRAINING]
    command += ["--out", str(tmp_path / "run"), "--set", "weights.adversarial=0", "--widths", "4"]
    main([*command, "4"])
    told = capsys.readouterr().err
    reason = "the light evaluation, which needs held-out pictures (--test-data)"
    assert told.index(reason) < told.index("pictures/s")
    result = json.loads((tmp_path / "run" / "distillation.json").read_text())
    assert result["light"] is None and result["left_out"] == [reason]
    assert f"Not measured: {reason}" in (tmp_path / "run" / "report.md").read_text()
    assert read_network_config(tmp_path / "run" / "model").widths == (4, 4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--widths", "8", "16"], ("times fewer multiply-adds", "like 4 4")),
        (["--widths", "4", "4", "4"], ("3 widths", "give one for each of 8 16")),
        (["--pictures", "0", "--seed", "-1"], ("pictures is 0", "seed is -1")),
        (["--set", "recipe=lean"], ("the lean recipe ignores teacher, an option of distil",)),
    ],
)
def test_a_student_that_cannot_be_is_refused_before_training(
    options: list[str],
    expected: tuple[str, ...],
    projected_model: Path,
    faces: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["distil", "--teacher", str(projected_model), "--data", str(faces)]
    with pytest.raises(SystemExit) as caught:
        main([*command, "--out", str(tmp_path / "run"), *options])
    told = capsys.readouterr().err
    assert caught.value.code == 2 and all(part in told for part in expected), told
    assert list(tmp_path.iterdir()) == []


def test_held_out_pictures_lack_a_domain(
    projected_model: Path, faces: Path, data: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "cat").symlink_to(data / "val" / "cat")
    command = ["distil", "--teacher", str(projected_model), "--data", str(faces)]
    with pytest.raises(SystemExit):
        main([*command, "--test-data", str(tmp_path), "--out", str(tmp_path / "run")])
    assert "there is no domain 'dog'" in capsys.readouterr().err
