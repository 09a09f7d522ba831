"""benchmarks/compare_architectures.py: what its runs share, which checkpoints meet, its tables."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_folders import write_checkpoint, write_run
from tiny_models import untrained

from facemeld.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "compare_architectures.py"
sys.path.insert(0, str(SCRIPT.parent))
import architecture_tables  # noqa: E402
import compare_architectures as script  # noqa: E402


def options_of(*more: str, out: Path = Path("out")):
    given = ["--config", str(ROOT / "recipes" / "faces-64.toml"), "--data", "train"]
    given += ["--test-data", "val", "--out", str(out), "--pictures", "9600"]
    return script.read_options([*given, *more])


def test_the_runs_differ_in_their_networks_alone() -> None:
    configs = script.configurations(options_of())
    assert list(configs) == list(script.COMBINATIONS) and len(configs) == 8
    first = configs["resnet-none"]
    for config in configs.values():
        assert dataclasses.replace(config, network=first.network) == first
    assert (first.pictures, first.checkpoint_every, first.log_every) == (9600, 800, 800)
    assert (first.keep_checkpoints > 12, first.decay_from, first.processes) == (True, 1.0, 1)
    networks = [config.network for config in configs.values()]
    kinds = [(n.generator, n.skips, n.style_encoder) for n in networks]
    assert len(set(kinds)) == 8 and kinds[1] == ("resnet", "additive", "projected")
    assert configs["style-resnet"].network.style_encoder_widths == (24, 48, 96, 192, 192)
    blocks = {name: config.network.decoder_blocks for name, config in configs.items()}
    assert {name for name, count in blocks.items() if count == 1} == {
        "swin-unet-none",
        "swin-unet-additive",
    }


def test_options_for_all_and_for_one() -> None:
    changes = ["--set", "warmup_pictures=960", "--set-for", "swin-unet-none:network.widths=[24,48]"]
    changes += ["--only", "resnet-none", "swin-unet-none", "--seeds", "0", "3"]
    configs = script.configurations(options_of(*changes))
    assert list(configs) == [
        f"{name}-{seed}" for name in ("resnet-none", "swin-unet-none") for seed in (0, 3)
    ]
    assert {config.warmup_pictures for config in configs.values()} == {960}
    assert [config.seed for config in configs.values()] == [0, 3, 0, 3]
    widths = {name: config.network.widths for name, config in configs.items()}
    assert widths["swin-unet-none-3"] == (24, 48) != widths["resnet-none-3"]
    with pytest.raises(UserError, match="unknown option 'warm_up'"):
        script.configurations(options_of("--set", "warm_up=1"))


def test_which_checkpoints_are_compared() -> None:
    times = {"a": {100: 10.0, 200: 20.0}, "b": {100: 15.0, 200: 31.0}, "c": {100: 25.0, 200: 50.0}}
    runs = [script.Trained(name, None, checkpoints) for name, checkpoints in times.items()]
    assert script.at_equal_pictures(runs) == {"a": 200, "b": 200, "c": 200}
    assert script.at_equal_time(runs) == (20.0, {"a": 200, "b": 100})
    runs[1] = script.Trained("b", None, {100: 15.0})
    assert script.at_equal_pictures(runs) == {"a": 100, "b": 100, "c": 100}
    assert script.at_equal_time(runs) == (15.0, {"a": 100, "b": 100})
    runs[1] = script.Trained("b", None, {150: 15.0})
    with pytest.raises(UserError, match="no checkpoint in common"):
        script.at_equal_pictures(runs)


def test_commands_run_side_by_side_and_their_time_is_told(tmp_path: Path) -> None:
    def job(code: str, name: str):
        return script.Job([sys.executable, "-c", code], tmp_path / name, tmp_path / f"{name}.jsonl")

    def seconds(name: str) -> dict[str, float]:
        return json.loads((tmp_path / f"{name}.jsonl").read_text())

    busy = "import time; began = time.process_time()\nwhile time.process_time() < began + .3: pass"
    jobs = {"busy": job(busy, "busy"), "idle": job("import time; time.sleep(.3)", "idle")}
    script.run_all(jobs, 2, 1)
    assert seconds("busy")["processor"] >= 0.3 > seconds("idle")["processor"]
    assert seconds("idle")["wall"] >= 0.3
    jobs["fails"] = job("print('why'); raise SystemExit(3)", "fails")
    jobs["after"] = job("print('done')", "after")
    with pytest.raises(UserError, match="these failed: fails") as caught:
        script.run_all(jobs, 1, 1)
    assert caught.value.where == str(tmp_path / "fails")
    assert (tmp_path / "fails").read_text() == "why\n"
    assert (tmp_path / "after").read_text() == "done\n"


def test_asked_to_stop_it_waits_for_what_the_commands_save(tmp_path: Path) -> None:
    child = (
        "import pathlib, signal, sys, time\n"
        "def save(*_): time.sleep(.5); pathlib.Path('saved').touch(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, save); pathlib.Path('started').touch(); time.sleep(60)"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "from pathlib import Path; from compare_architectures import Job, run_all\n"
        f"run_all({{'one': Job([sys.executable, '-c', {child!r}], Path('says'))}}, 1, 1)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    while not (tmp_path / "started").exists():
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(timeout=60) == 143 and (tmp_path / "saved").exists()


def test_the_tables(tmp_path: Path) -> None:
    """Of runs at 4 and 3 pictures a second: 8 s are 32 pictures of the one, 16 of the other."""
    for name, speed in (("fast", 4.0), ("slow", 3.0)):
        lines = [
            {"pictures": p, "pictures_per_second": speed, "peak_memory_mb": 700} for p in (16, 32)
        ]
        folder = write_run(tmp_path / name, lines=lines, log_every=16)
        for pictures in (16, 32):
            write_checkpoint(folder, untrained("resnet"), pictures)
            latent = {"distance": pictures / 4 + speed, "covered": 0.5}
            latent |= {"floor": 2.0, "unedited": 17.0}
            mean = {"reference": latent | {"layout_kept": pictures / 100}, "latent": latent}
            file = folder / f"evaluation-{pictures:09d}-250.json"
            file.write_text(json.dumps({"protocol": "light", "mean": mean}))
        for seconds in ((5, 4), (7, 5)):
            with (folder / "times.jsonl").open("a") as file:
                file.write(json.dumps(dict(zip(("wall", "processor"), seconds))) + "\n")
    runs = script.read_trained(["fast", "slow"], tmp_path)
    assert runs[1].checkpoints == pytest.approx({16: 16 / 3, 32: 32 / 3})
    found = script.results_of(runs, options_of(out=tmp_path))
    text = script.write_results(found, tmp_path).read_text("utf-8")
    stored = (tmp_path / "comparison.json").read_text("utf-8")
    assert architecture_tables.tables(json.loads(stored)) == text
    assert str(tmp_path) not in stored + text
    assert "9,600 pictures a run, 1 at once of 1 threads\neach: faces-64.toml.\n" in text
    equal, timed = text.split("## At equal")[1:]
    assert "| fast | 32 | 8 | 12.0 / 12.0 | 50% / 50% | 0.32 / – |" in equal
    assert "| slow | 32 | 11 | 11.0 / 11.0 | 50% / 50% | 0.32 / – |" in equal
    assert "| fast | 32 | 8 |" in timed and "| slow | 16 | 5 | 7.0 / 7.0 |" in timed
    assert "floor 2.0, unedited sources 17.0" in text
    assert "| slow | resnet | none | resnet | 0 |" in text and "| 12 | 9 | 700 |" in text
    assert script._finished(tmp_path / "fast", runs[0].run.config)
    longer = dataclasses.replace(runs[0].run.config, pictures=64)
    assert not script._finished(tmp_path / "fast", longer)
