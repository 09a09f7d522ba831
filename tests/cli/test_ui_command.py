"""`facemeld ui` before the page opens: which models it offers, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from facemeld.cli import main
from facemeld.cli.ui import _models
from facemeld.networks.model_folder import bundled_models


def test_models_of_the_same_name_are_told_apart(
    resnet_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        shutil.copytree(resnet_model, tmp_path / "runs" / name / "model")
    monkeypatch.chdir(tmp_path)
    models = _models(("runs/a/model", "faces", "runs/b/model", "./runs/a/model"), only_here=True)
    assert list(models) == ["a", "faces", "b"]
    assert [offered.folder for offered in models.values()] == [
        tmp_path / "runs/a/model",
        bundled_models()["faces"].resolve(),
        tmp_path / "runs/b/model",
    ]
    named = [offered.named for offered in models.values()]
    assert named == [str(tmp_path / "runs/a/model"), "faces", str(tmp_path / "runs/b/model")]


def test_other_machines_are_not_told_where_folders_are(
    resnet_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(resnet_model, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    (offered,) = _models(("mine",), only_here=False).values()
    assert offered.named == "mine"


def test_all_bundled_models_are_offered_if_none_is_named() -> None:
    assert list(_models((), only_here=True)) == list(bundled_models())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--model", "nothing"], "no such model"),
        (["--host", "0.0.0.0"], "other machines could use this page"),
        (["--device", "nowhere"], "this device cannot be used"),
    ],
)
def test_mistakes_are_told_before_anything_opens(options, told, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ui", "--no-browser", "--port", "0", *options])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
