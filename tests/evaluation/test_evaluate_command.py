"""``facemeld evaluate``: what it writes and prints for each protocol."""

from __future__ import annotations

import functools
import json
import re
import shlex
from pathlib import Path

import pytest
from drawn_faces import write_faces
from several_ranks import in_two_ranks

from facemeld.cli import main
from facemeld.data.catalogue import WEIGHTS
from facemeld.evaluation import bench, plan, run
from facemeld.evaluation.light_target import LightTarget


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
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "FAKES", 20)
    out = tmp_path / "an evaluation"
    main([*command, "--protocol", "clean", "--outputs", "2", "--out", str(out)])
    told = capsys.readouterr()
    files = [out / name for name in ("evaluation.json", "report.md", "report.html")]
    assert told.out.split("\n")[:-1] == [str(file) for file in files]
    assert "160/160 fakes" in told.err  # of the pairs, and of the light protocol
    result = json.loads(files[0].read_text(encoding="utf-8"))
    assert result["protocol"] == "clean" and result["people"] == []
    page = files[2].read_text(encoding="utf-8")
    again = page[page.index("The same again") :]
    assert "facemeld evaluate --data" in again and "--protocol clean --out &#x27;" in again
    assert "--outputs 2 --weights-dir" in again and "--fakes" not in again
    # the distances to each target are those of the light protocol, from the same material
    main([*command, "--fakes", "20", "--json"])
    light = json.loads(capsys.readouterr().out)
    assert [t["target"] for t in result["targets"]] == ["cat", "cat", "dog", "dog"]
    ours, theirs = (
        {(t["target"], t["mode"]): t["covered"] for t in found["targets"]}
        for found in (result, light)
    )
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert result["mean"]["latent"]["covered"] == pytest.approx(
        light["mean"]["latent"]["covered"], abs=1e-4
    )
    assert "covered, %" in page and "nearer to own, %" in page
    assert sorted(p.suffix for p in out.iterdir() if p.suffix == ".png") == [".png", ".png"]


def test_light_prints_tables_or_writes_one_file_or_a_folder(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*command, "--fakes", "20"])
    told = capsys.readouterr()
    assert "not FID" in told.out and "80/80 fakes" in told.err
    lines = [line.split() for line in told.out.splitlines()]
    assert ["cat", "dog", "latent"] in [line[:3] for line in lines]
    main([*command, "--fakes", "20", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert "not FID" in printed["measure"] and "examples" not in printed["pairs"][0]
    pairs = {(p["source"], p["target"], p["mode"]): p for p in printed["pairs"]}
    assert len(pairs) == 4 and 0 <= pairs["cat", "dog", "latent"]["domain_accuracy"] <= 1
    scores = tmp_path / "scores.json"
    main([*command, "--fakes", "20", "--out", str(scores)])
    assert same(scores, printed) and capsys.readouterr().out == f"{scores}\n"
    main([*command, "--fakes", "20", "--out", str(scores), "--json"])
    assert same(scores, json.loads(capsys.readouterr().out))
    out = tmp_path / "folder"
    main([*command, "--fakes", "20", "--out", str(out)])
    files = [str(out / name) for name in ("evaluation.json", "report.md", "report.html")]
    assert capsys.readouterr().out.splitlines() == files
    assert same(out / "evaluation.json", printed)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "These are not FID" in page and "light Fréchet" in page and ">FID<" not in page
    assert page.count("data:image/png") == 2  # a plot for each mode
    assert "Best and worst by likeness" in page and "data:image/jpeg" in page


def test_the_command_of_the_readme(
    data: Path,
    resnet_model: Path,
    judges_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^\./run_command\.sh (evaluate .*)$", text, flags=re.MULTILINE)
    (tmp_path / "faces").symlink_to(data)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "model").symlink_to(resnet_model)
    monkeypatch.chdir(tmp_path)
    main([*shlex.split(command), "--fakes", "20", "--weights-dir", str(judges_dir)])
    assert (tmp_path / "results" / "evaluation" / "report.html").is_file()


def test_a_stopped_light_evaluation_goes_on(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, judged = LightTarget.judge, []

    def stop_at_second(target: LightTarget, *arguments) -> dict:
        judged.append(target.name)
        if len(judged) == 2:
            raise KeyboardInterrupt
        return judge(target, *arguments)

    monkeypatch.setattr(LightTarget, "judge", stop_at_second)
    seeded = [*command, "--fakes", "20", "--seed", "3", "--json"]
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        main(seeded)
    capsys.readouterr()
    main(seeded)
    assert judged == ["cat", "dog", "dog"]
    told = json.loads(capsys.readouterr().out)
    assert [t["target"] for t in told["targets"]] == ["cat", "cat", "dog", "dog"]


def same(file: Path, result: dict) -> bool:
    """Whether a file holds a result, its time apart."""
    written = json.loads(file.read_text(encoding="utf-8"))
    times = {"seconds": 0, "seconds_by_part": {}}
    assert written["seconds"] > 0 and "generator" in written["seconds_by_part"]
    return written | times == result | times


def test_two_ranks_share_the_targets_of_light(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = """
from facemeld.cli import main
main(given)
"""
    alone = [*command, "--fakes", "20", "--json"]
    home = str(tmp_path / "home")
    told = in_two_ranks(program, alone, tmp_path, FACEMELD_HOME=home)
    found = json.loads(told[0])
    assert told[1] == "" and found["ranks"] == 2
    main(alone)
    expected = json.loads(capsys.readouterr().out)
    assert [t["target"] for t in found["targets"]] == ["cat", "cat", "dog", "dog"]
    for one, other in zip(expected["targets"], found["targets"], strict=True):
        assert other["distance"] == pytest.approx(one["distance"], rel=1e-4)
        assert other["layout_kept"] == pytest.approx(one["layout_kept"], rel=1e-3)
    assert found["mean"]["latent"]["covered"] == pytest.approx(
        expected["mean"]["latent"]["covered"], abs=1e-3
    )


def test_head_pose_is_measured_where_it_can_be_and_else_said_not_to_be(
    data: Path,
    judges_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    options = ["--fakes", "20", "--json", "--people", "cat", "dog"]
    main([*command, *options])
    told = json.loads(capsys.readouterr().out)
    assert told["people"] == ["cat", "dog"]
    for name in ("pose_degrees", "landmark_shift"):
        assert told["mean"]["latent"][name] > 0
        assert all(pair[name] > 0 for pair in told["pairs"])
    # without the network: refused if asked for, else said
    few = tmp_path / "weights"
    few.mkdir()
    name = WEIGHTS["mobilenet-v2"].file
    (few / name).symlink_to(judges_dir / name)
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path / "home"))
    command[command.index("--weights-dir") + 1] = str(few)
    with pytest.raises(SystemExit):
        main([*command, *options])
    assert "facemeld download head-pose" in capsys.readouterr().err
    monkeypatch.setattr(plan, "PEOPLE", frozenset({"cat", "dog"}))
    main([*command, "--fakes", "20", "--json"])
    told = capsys.readouterr()
    assert "Not measured: head pose" in told.err
    assert "head pose" in json.loads(told.out)["left_out"]


@pytest.mark.parametrize(
    ("protocol", "option", "others"),
    [
        ("light", "outputs", "clean or starganv2"),
        ("light", "sources", "clean or starganv2"),
        ("light", "only", "clean or starganv2"),
        ("light", "precision", "clean or starganv2"),
        ("clean", "fakes", "light"),
        ("starganv2", "fakes", "light"),
    ],
)
def test_options_of_another_protocol_are_refused(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    protocol: str,
    option: str,
    others: str,
) -> None:
    with pytest.raises(SystemExit) as caught:
        value = {"only": "distances", "precision": "bf16"}.get(option, "50")
        main([*command, "--protocol", protocol, f"--{option}", value, "--out", str(tmp_path / "o")])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert f"the {protocol} protocol has no --{option}" in told and f"--protocol {others}" in told


def test_bench_tells_where_the_time_of_a_fake_goes(
    resnet_model: Path,
    judges_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "bench", functools.partial(bench.bench, sources=10, outputs=2))
    command = ["bench", "evaluate", "--model", str(resnet_model), "--weights-dir", str(judges_dir)]
    main([*command, "--batch-size", "16", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["measured"] == "evaluate" and told["batch"] == 16
    parts = [told[f"milliseconds in {name}"] for name in ("inception", "lpips", "generator")]
    assert 0 < sum(parts) < told["milliseconds_per_picture"]
    assert told["pictures_per_second"] == pytest.approx(1000 / told["milliseconds_per_picture"])
    assert {"gflop_per_picture", "fraction_of_peak", "peak_memory_mb"} <= set(told)
    main([*command, "--only", "distances", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["only"] == "distances" and "milliseconds in fusion scores" not in told
    with pytest.raises(SystemExit):
        main([*command, "--batch-size", "0"])
    assert "batch_size is 0" in capsys.readouterr().err
