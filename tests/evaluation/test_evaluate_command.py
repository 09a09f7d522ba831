"""``facemeld evaluate``: what it writes and prints for each protocol."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drawn_faces import write_faces

from facemeld.cli import main
from facemeld.cli.evaluate import _Progress


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_faces(root / "val", {"cat": 10, "dog": 10}, first=100)
    write_faces(root / "train", {"cat": 40, "dog": 40})
    return root


@pytest.fixture
def command(data: Path, resnet_model: Path, judges_dir: Path) -> list[str]:
    options = {"--data": data, "--model": resnet_model, "--weights-dir": judges_dir}
    return ["evaluate", *(str(part) for option in options.items() for part in option)]


def test_clean_writes_numbers_and_a_report_that_names_the_command(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "an evaluation"
    main([*command, "--protocol", "clean", "--outputs", "2", "--out", str(out)])
    told = capsys.readouterr()
    files = [out / name for name in ("evaluation.json", "report.md", "report.html")]
    assert told.out.split("\n")[:-1] == [str(file) for file in files]
    assert "80/80 fakes" in told.err
    result = json.loads(files[0].read_text(encoding="utf-8"))
    assert result["protocol"] == "clean" and result["people"] == []
    page = files[2].read_text(encoding="utf-8")
    again = page[page.index("The same again") :]
    assert "facemeld evaluate --data" in again and "--protocol clean --out &#x27;" in again
    assert "--outputs 2 --weights-dir" in again and "--fakes" not in again
    assert sorted(p.suffix for p in out.iterdir() if p.suffix == ".png") == [".png", ".png"]


def test_light_prints_or_writes_one_file_or_a_folder(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*command, "--fakes", "20"])
    printed = json.loads(capsys.readouterr().out)
    assert "not FID" in printed["protocol"]
    main([*command, "--fakes", "20", "--out", str(tmp_path / "scores.json")])
    assert json.loads((tmp_path / "scores.json").read_text(encoding="utf-8")) == printed
    main([*command, "--fakes", "20", "--out", str(tmp_path / "folder"), "--json"])
    whole = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert whole["summary"] == printed
    page = (tmp_path / "folder" / "report.html").read_text(encoding="utf-8")
    assert "These are not FID" in page and "light Fréchet" in page and ">FID<" not in page


def test_progress_tells_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import time

    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = _Progress("fakes")
    for seconds, done in ((0, 100), (5, 150), (20, 300), (60, 700)):
        now[0] = seconds
        progress(done, 700)
    # 200 fakes in 20 seconds after the first 100, which an earlier run had made
    assert capsys.readouterr().err.splitlines() == [
        "300/700 fakes, about 0.7 min left",
        "700/700 fakes, about 0.0 min left",
    ]
