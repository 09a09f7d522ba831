"""Two processes as torchrun starts them, with the judging networks of conftest.py."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

from facemeld.data.catalogue import WEIGHTS

_BEGINNING = """
import pickle, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from facemeld.data import catalogue
from facemeld.networks.inception import InceptionFeatures
from facemeld.networks.mobilenet import MobileNetV2Features
weights, given = pickle.loads(Path(sys.argv[1]).read_bytes())
catalogue.WEIGHTS.update(weights)
InceptionFeatures.input_size, MobileNetV2Features.input_size = 75, 48
"""


def in_two_ranks(program: str, given: object, folder: Path, **environment: str) -> list[str]:
    """What either process printed.

    Args:
        program: Python, which finds ``given``.
        given: what can be pickled.
        folder: for files of both.
        environment: more variables.
    """
    file, task = folder / "rank.py", folder / "task"
    file.write_text(_BEGINNING + program, encoding="utf-8")
    task.write_bytes(pickle.dumps((dict(WEIGHTS), given)))
    port = str(29500 + os.getpid() % 2000)
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [
        subprocess.Popen(
            [sys.executable, file, task],
            env=shared | environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    return [rank.communicate(timeout=600)[0] for rank in ranks]
