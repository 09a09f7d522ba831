"""Judging networks under weights drawn from a seed, found through the catalogue.

Inception looks at pictures of 75 px instead of 299: the same code at a sixteenth of the cost.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import generated_weights as drawn
import pytest
import torch
from tiny_models import enliven

from facemeld.data.catalogue import WEIGHTS
from facemeld.networks.inception import InceptionFeatures
from facemeld.networks.mobilenet import MobileNetV2Features


@pytest.fixture(scope="session")
def judges_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of weights for every judging network; the catalogue expects just these."""
    torch.manual_seed(0)
    light = MobileNetV2Features()
    enliven(light)
    inception = drawn.inception(0)
    contents = {
        "inception-2015": inception,
        "inception-torchvision": inception,
        "alexnet": drawn.alexnet(5),
        "lpips-alexnet": drawn.lpips_heads(6),
        "mobilenet-v2": light.state_dict(),
        "head-pose": {"state_dict": drawn.head_pose(8)},
    }
    folder = tmp_path_factory.mktemp("judges")
    with pytest.MonkeyPatch.context() as patch:
        for name, content in contents.items():
            path = folder / WEIGHTS[name].file
            torch.save(content, path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            patch.setitem(WEIGHTS, name, dataclasses.replace(WEIGHTS[name], sha256=digest))
        patch.setattr(InceptionFeatures, "input_size", 75)
        patch.setenv("FACEMELD_HOME", str(tmp_path_factory.mktemp("home")))
        yield folder
