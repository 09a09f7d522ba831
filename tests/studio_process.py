"""`facemeld ui` in a process of its own, as people start it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Studio:
    """A running page."""

    address: str
    process: subprocess.Popen
    folder: Path
    """Its temporary files are below."""

    def memory(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024


def start_studio(folder: Path, *options: str) -> Studio:
    """`facemeld ui` on a free port, ready for requests."""
    environment = os.environ | {
        "TMPDIR": str(folder),
        "FACEMELD_HOME": str(folder),
        # Each thread that malloc sees gets a heap of its own, which hides what is given back.
        "MALLOC_ARENA_MAX": "2",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "facemeld", "ui", "--no-browser", "--port", "0", *options],
        stdout=subprocess.PIPE,
        env=environment,
        cwd=folder,
        text=True,
    )
    address = process.stdout.readline().strip()
    assert address.startswith("http"), process.wait(10)
    return Studio(address, process, folder)


def end_studio(studio: Studio, by: signal.Signals = signal.SIGINT) -> int:
    """Ctrl-C, as people end it, or SIGTERM, as service managers do. Returns the exit code."""
    studio.process.send_signal(by)
    return studio.process.wait(120)
