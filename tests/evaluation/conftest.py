"""Judging networks under weights drawn from a seed, found through the catalogue.

They look at smaller pictures than under published weights: the same code at a fraction of the cost.
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
def drawn_judges(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder of weights for every judging network, and their SHA-256 by name."""
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
    folder, digests = tmp_path_factory.mktemp("judges"), {}
    for name, content in contents.items():
        path = folder / WEIGHTS[name].file
        torch.save(content, path)
        digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return folder, digests


@pytest.fixture(scope="module")
def judges_dir(
    drawn_judges: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """That folder, while the catalogue expects just these files."""
    folder, digests = drawn_judges
    with pytest.MonkeyPatch.context() as patch:
        for name, digest in digests.items():
            patch.setitem(WEIGHTS, name, dataclasses.replace(WEIGHTS[name], sha256=digest))
        patch.setattr(InceptionFeatures, "input_size", 75)
        patch.setattr(MobileNetV2Features, "input_size", 48)
        patch.setenv("FACEMELD_HOME", str(tmp_path_factory.mktemp("home")))
        yield folder
