"""facemeld prepare, interrupted and killed as a process, goes on and ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from drawn_faces import write_faces

import facemeld

COUNTS = {"cat": 900, "dog": 500}  # enough to be caught at work


def start(source: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "facemeld", "prepare", str(source), str(out), "--size", "32"]
    return subprocess.Popen(
        [*command, "--processes", "2"],
        env=os.environ | {"PYTHONPATH": str(Path(facemeld.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell lets jobs in its background ignore Ctrl-C, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def noted(out: Path) -> int:
    journal = out / ".work" / "journal.jsonl"
    return len(journal.read_bytes().splitlines()) if journal.is_file() else 0


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="signals of POSIX")
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    source = write_faces(tmp_path / "in", COUNTS)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = start(source, whole)
    told, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors

    for kill, least in ((signal.SIGINT, 1), (signal.SIGKILL, 61)):
        process = start(source, cut)
        deadline = time.monotonic() + 60
        while noted(cut) < least and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        os.killpg(process.pid, kill)  # the whole group, as Ctrl-C does
        _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors, errors
        assert process.returncode == (130 if kill == signal.SIGINT else -kill)
        assert not (cut / "manifest.jsonl").exists() and noted(cut) >= least

    process = start(source, cut)
    again, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert content(cut) == content(whole)
    assert again.replace(str(cut), "") == told.replace(str(whole), "")
