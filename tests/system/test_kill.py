"""SIGKILL at random moments costs nothing but time; the long version is the script itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import facemeld

RECIPES = ["starganv2", "fast", "lean"]
SCRIPT = Path(__file__).with_name("kill_training.py")


def test_a_killed_run_resumes_to_the_same_bytes() -> None:
    source = str(Path(facemeld.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, SCRIPT, "--moments", "2", "--recipes", *RECIPES],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["recipe"] for line in told] == RECIPES
    for recipe in told:
        assert recipe["killed"] == 2 and recipe["differing"] == 0, recipe
        assert recipe["while_writing"] >= 1, recipe
