"""Cross-domain experiments: which domains are used for what, and what is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drawn_faces import write_faces
from PIL import Image
from tiny_models import untrained

from facemeld.errors import UserError
from facemeld.networks.bundle import save_model
from facemeld.training.cross_domain import cross_domains


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cross")
    write_faces(place / "data", {"cat": 8, "dog": 6, "lion": 4, "left out": 2})
    save_model(untrained("projected"), place / "model", card="")
    return place


def test_sheets_and_numbers(place: Path) -> None:
    result = cross_domains(place / "model", place / "data", ["lion"], place / "out")
    foreign, own, numbers = result.files
    # rows: a header and two lions (half of four), or three cats and three dogs
    width, height = Image.open(foreign).size
    assert Image.open(own).size[0] == width > 5 * 16
    assert Image.open(own).size[1] > 2 * height
    written = json.loads(numbers.read_text("utf-8"))
    assert written["own"] == ["cat", "dog"] and written["foreign"] == ["lion"]
    assert written["structure"] == result.structure
    assert all(-1 <= value <= 1 for value in result.structure.values())
    assert cross_domains(place / "model", place / "data", ["lion"], place / "out") == result


def test_a_domain_that_is_not_there(place: Path) -> None:
    with pytest.raises(UserError, match="no domain 'tiger'"):
        cross_domains(place / "model", place / "data", ["tiger"], place / "out")
