"""Cross-domain experiments: which domains are used for what, and what is measured."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from drawn_faces import write_faces
from PIL import Image
from tiny_models import enliven, untrained

from facemeld.cli import main
from facemeld.data.folders import DomainFolders
from facemeld.errors import UserError
from facemeld.networks.bundle import Networks, save_model
from facemeld.networks.mobilenet import MobileNetV2Features
from facemeld.networks.model_folder import read_network_config
from facemeld.reports import cross_domain
from facemeld.reports.cross_domain import cross_domains, pairs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cross")
    write_faces(place / "data", {"cat": 8, "dog": 6, "lion": 4, "left out": 2})
    save_model(untrained("projected"), place / "model", card="")
    return place


def command(place: Path, *arguments: object) -> None:
    own = ["cross", "--data", place / "data", "--own", "cat", "dog", "--foreign", "lion"]
    main([*map(str, own), *map(str, arguments)])


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


def test_the_layout_kept_is_measured_where_its_network_is(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    judge = MobileNetV2Features()
    enliven(judge)
    monkeypatch.setattr(cross_domain, "locate", lambda name, weights_dir: Path(name))
    monkeypatch.setattr(cross_domain, "load_mobilenet", lambda device, weights_dir: (judge, ""))
    # a source that comes back as it was keeps all of its layout
    monkeypatch.setattr(
        cross_domain.FusionPipeline, "translate", lambda self, pictures, styles, masks: pictures
    )
    result = cross_domains(place / "model", place / "data", ["lion"], place / "out-layout")
    assert result.layout_kept == pytest.approx({"foreign": 1, "own": 1}, abs=1e-3)
    assert json.loads(result.files[2].read_text())["layout_kept"] == result.layout_kept


def test_masked_models_are_measured_with_their_skips(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(untrained("resnet").config, skips="masked")
    torch.manual_seed(0)
    save_model(Networks(config), tmp_path / "model", card="")

    def masks_of(value: float) -> Callable:
        return lambda weights_dir: lambda pictures: torch.full((len(pictures), 2, 8, 8), value)

    found = {}
    for value in (0.0, 1.0):
        monkeypatch.setattr("facemeld.fusion.skip_masks.load_masker", masks_of(value))
        out = tmp_path / str(value)
        found[value] = cross_domains(tmp_path / "model", place / "data", ["lion"], out)
    assert found[0.0].structure != found[1.0].structure
    shown = [Image.open(result.files[0]).tobytes() for result in found.values()]
    assert shown[0] != shown[1]


@pytest.mark.parametrize("kinds", [1, 3, 7])
def test_the_sources_of_every_domain_meet_every_own_domain(kinds: int) -> None:
    def folders(names: list[str], count: int) -> DomainFolders:
        files = tuple(tuple(Path(n, str(i)) for i in range(count)) for n in names)
        return DomainFolders(Path("data"), tuple(names), files)

    own = folders([f"own {i}" for i in range(kinds)], 10)
    found = pairs(folders(["a", "b", "c"], 200), own)
    assert len(found) == len({source for source, _, _ in found}) == cross_domain.MEASURED
    for name in "abc":
        met = [domain for source, _, domain in found if source.parts[0] == name]
        counts = [met.count(domain) for domain in own.domains]
        assert min(counts) > 0 and max(counts) - min(counts) <= 1
    assert all(look.parts[0] == domain for _, look, domain in found)
    for domain in own.domains:  # by several of the five references that it may take
        assert len({look for _, look, of in found if of == domain}) >= 4


def test_a_domain_that_is_not_there(place: Path) -> None:
    with pytest.raises(UserError, match="no domain 'tiger'"):
        cross_domains(place / "model", place / "data", ["tiger"], place / "out")


def test_the_command_takes_a_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command(place, "--model", place / "model", "--out", place / "taken")
    names = ["foreign-sources.jpg", "own-sources.jpg", "cross-domain.json"]
    assert capsys.readouterr().out.split() == [str(place / "taken" / name) for name in names]


def test_the_command_trains_one_of_the_own_domains(place: Path) -> None:
    out = place / "trained"
    command(place, "--preset", "smoke", "--pictures", 8, "--out", out)
    assert read_network_config(out / "run" / "model").domains == ("cat", "dog")
    written = json.loads((out / "cross-domain.json").read_text())
    assert written["own"] == ["cat", "dog"] and written["foreign"] == ["lion"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "{model}", "--pictures", "8"], "--pictures are for training"),
        (["--model", "{model}", "--preset", "smoke", "--seed", "1"], "--preset, --seed are for"),
        (["--model", "faces"], "the model knows anime, cat, dog, man, wild, woman, not just cat"),
        (["--model", "{model}", "--foreign", "dog"], "dog cannot be both own and foreign"),
        (["--model", "{model}", "--foreign", "tiger"], "no domain 'tiger'"),
        (["--preset", "smok"], "no preset named 'smok'"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(
    place: Path, tmp_path: Path, arguments: list, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [argument.format(model=place / "model") for argument in arguments]
    with pytest.raises(SystemExit) as caught:
        command(place, *arguments, "--out", tmp_path / "out")
    assert caught.value.code == 2 and expected in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
