"""Kills training with SIGKILL at random moments, resumes it, and compares it with a run left alone.

    python tests/system/kill_training.py --moments 30

Every second moment is one while a checkpoint is being written: the run is stopped in the act and
then killed. After each kill, the newest checkpoint must be whole and no older than the one before.
Prints a line of JSON a recipe; fails if a run did not resume or ended with other bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "training")]

from drawn_faces import write_faces  # noqa: E402
from tiny_runs import RECIPES, tiny_config  # noqa: E402

from facemeld.config import TrainingConfig  # noqa: E402
from facemeld.training.checkpoint import newest_path  # noqa: E402
from facemeld.training.loop import train  # noqa: E402

PICTURES = 80  # ten iterations, each of which is saved

Partials = set[tuple[str, int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=30, help="how often each recipe is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faces = write_faces(Path(folder) / "faces")
        for recipe in given.recipes:
            told = kill_and_compare(recipe, faces, Path(folder) / recipe, given.moments, given.seed)
            print(json.dumps(told), flush=True)
            assert not told["differing"], "a resumed run ended with other bytes"


def kill_and_compare(recipe: str, faces: Path, root: Path, moments: int, seed: int) -> dict:
    """How often a run of this recipe was killed, how often while it wrote, and how it ended."""
    config = tiny_config(recipe, faces, pictures=PICTURES, checkpoint_every=8, sample_every=10**6)
    chance = random.Random(seed)
    began = time.monotonic()
    wait(start(config, root / "alone"))
    seconds = time.monotonic() - began
    expected = results(root / "alone")

    killed = while_writing = runs = differing = 0
    while killed < moments:
        out = root / str(runs)
        runs += 1
        while killed < moments and not (out / "model" / "samples.jpg").exists():
            newest, left = newest_whole(out), partials(out)
            process = start(config, out)
            if killed % 2 == 0:
                time.sleep(chance.uniform(0, seconds))
            elif not stopped_in_a_write(process, out, left, chance):
                continue  # it ended before; the next one is tried
            if not ended(process):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                killed += 1
                while_writing += bool(partials(out) - left)
                assert newest_whole(out) >= newest, "a checkpoint was lost"
        wait(start(config, out))
        differing += results(out) != expected
    return {
        "recipe": recipe,
        "killed": killed,
        "while_writing": while_writing,
        "runs": runs,
        "differing": differing,
    }


def start(config: TrainingConfig, out: Path) -> int:
    """Trains in a process of its own; returns its number."""
    process = os.fork()  # a fresh interpreter would spend most of its time importing torch
    if process:
        return process
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        train(config, out)
        os._exit(0)
    finally:
        os._exit(1)


def wait(process: int) -> None:
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "training failed"


def ended(process: int) -> bool:
    """Whether it has ended by itself, which it must have done well."""
    number, status = os.waitpid(process, os.WNOHANG)
    assert os.waitstatus_to_exitcode(status) == 0, "training failed"
    return bool(number)


def stopped_in_a_write(process: int, run: Path, left: Partials, chance: random.Random) -> bool:
    """Stops the process somewhere within writing a checkpoint, often not the first one that it
    writes; False if it ended before."""
    passed: set[str] = set()
    while not ended(process):
        time.sleep(0.0002)
        names = {name for name, _ in partials(run) - left} - passed
        if names and chance.random() < 0.5:
            passed |= names
        elif names:
            time.sleep(chance.uniform(0, 0.003))
            os.kill(process, signal.SIGSTOP)
            _, status = os.waitpid(process, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                assert os.waitstatus_to_exitcode(status) == 0, "training failed"
                return False
            if partials(run) - left:
                return True
            os.kill(process, signal.SIGCONT)
    return False


def partials(run: Path) -> Partials:
    """What is half written, or was when a session was killed: names and times."""
    found = set()
    for path in run.glob("checkpoints/*.partial"):
        with contextlib.suppress(FileNotFoundError):  # it has its name by now
            found.add((path.name, path.stat().st_mtime_ns))
    return found


def newest_whole(run: Path) -> str:
    """The name of the newest checkpoint; a damaged one is a mistake."""

    def refuse(warning: str) -> None:
        raise AssertionError(warning)

    path = newest_path(run / "checkpoints", refuse)
    return path.name if path else ""


def results(run: Path) -> dict[str, bytes]:
    """The last checkpoint and the model, byte by byte."""
    newest = max(run.glob("checkpoints/*.safetensors"))
    return {file.name: file.read_bytes() for file in (newest, run / "model" / "model.safetensors")}


if __name__ == "__main__":
    main()
