"""The command line from pictures to fused pictures, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import facemeld

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(facemeld.__file__).parents[1])}
RUN_OPTIONS = ("--preset", "smoke", "--pictures", "96", "--precision", "fp32", "--processes", "2")


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "facemeld", *map(str, arguments)]


def succeeds(*arguments: str | Path) -> str:
    """Runs a command to its end; returns its standard output."""
    done = subprocess.run(
        command(*arguments), env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run from start to end."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    told = succeeds("train", *RUN_OPTIONS, "--data", faces, "--out", out)
    assert told == f"{out / 'model'}\n"
    return out


def test_a_trained_model_fuses_and_is_described(run: Path, faces: Path, tmp_path: Path) -> None:
    model, cat, dog = run / "model", faces / "cat" / "00.png", faces / "dog" / "00.png"
    fused, sheet = tmp_path / "fused.png", tmp_path / "sheet.jpg"
    options = ("--reference", dog, "--domain", "dog", "--model", model)
    assert succeeds("fuse", "--source", cat, *options, "--out", fused) == f"{fused}\n"
    assert succeeds("grid", "--source", cat, dog, *options, "--out", sheet) == f"{sheet}\n"
    with Image.open(fused) as image:
        assert image.size == (32, 32)
    with Image.open(sheet) as image:
        assert image.size == (2 * 32 + 2, 3 * 32 + 4)
    facts = json.loads(succeeds("info", model, "--json"))
    assert facts["domains"] == ["cat", "dog"] and facts["image_size"] == 32


def test_an_interrupted_run_goes_on_to_the_same_model(
    run: Path, faces: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cut"
    arguments = ("train", *RUN_OPTIONS, "--data", faces, "--out", out)
    process = subprocess.Popen(
        command(*arguments),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(out / "log.jsonl", process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to both processes of the run
        told, progress = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130, progress
    assert told == "" and "Traceback" not in progress and "stopped" in progress
    checkpoints = sorted(path.name for path in (out / "checkpoints").iterdir())
    assert checkpoints and checkpoints[-1] < "pictures-000000000096.safetensors"
    assert not (out / "model").exists()

    succeeds(*arguments)
    for name in ("config.json", "model.safetensors"):
        assert (out / "model" / name).read_bytes() == (run / "model" / name).read_bytes()


def test_sigterm_saves_and_leaves_with_all_processes(faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "ended"
    options = ("--preset", "smoke", "--pictures", "40000", "--precision", "fp32")
    options += ("--processes", "2", "--set", "log_every=4")
    process = subprocess.Popen(
        command("train", *options, "--data", faces, "--out", out),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(out / "log.jsonl", process)
        process.terminate()
        asked = time.monotonic()
        told, progress = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 143, progress
    assert time.monotonic() - asked < 60
    assert told == "" and "Traceback" not in progress and "saved at" in progress
    (saved,) = (out / "checkpoints").iterdir()
    assert f"saved at {int(saved.stem.split('-')[1])} pictures" in progress


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the ranks are found in Linux's /proc")
def test_a_job_of_torchrun_that_loses_a_rank_goes_on_with_another_number(
    faces: Path, tmp_path: Path
) -> None:
    out = tmp_path / "job"
    options = ("train", "--preset", "smoke", "--precision", "fp32", "--data", faces, "--out", out)
    arguments = ("--standalone", "--nproc-per-node", "2", "-m", "facemeld", *options)
    job = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(out / "checkpoints" / "pictures-000000000032.safetensors", job)
        os.kill(rank_of(out, 1), signal.SIGKILL)
        told, progress = job.communicate(timeout=300)
    finally:
        job.kill()
    assert job.returncode == 1 and told == "" and not (out / "model").exists()
    assert "another process of the run ended" in progress or "Signal 9" in progress, progress

    succeeds(*options, "--processes", "1")
    seen = [json.loads(line)["pictures"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert seen[-1] == 64 and seen.count(16) == 1 and seen[-2:] == [48, 64]
    assert (out / "model" / "model.safetensors").is_file()


def rank_of(out: Path, rank: int) -> int:
    """The number of the process with this rank of the job that writes to ``out``."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            mine = os.fsencode(out) in (folder / "cmdline").read_bytes().split(b"\0")
            if mine and f"RANK={rank}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                return int(folder.name)
        except OSError:  # it has ended, or is not ours
            continue
    raise AssertionError(f"no process has rank {rank}")


def wait_for(file: Path, process: subprocess.Popen) -> None:
    """Returns as soon as the run has written this file."""
    deadline = time.monotonic() + 300
    while not (file.is_file() and file.stat().st_size):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
