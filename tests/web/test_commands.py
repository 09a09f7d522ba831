"""The command line that the page shows, in the unpacked archive, gives the same file."""

from __future__ import annotations

import io
import shlex
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_portraits import photograph
from PIL import Image, ImageDraw

from facemeld.fusion.timing import Timing
from facemeld.web.engine import Engine, Offered
from facemeld.web.made import Made
from facemeld.web.portraits import Placing, Portrait, read_portrait, safe_name
from facemeld.web.wishes import Wish


@pytest.fixture(scope="module")
def engine(projected_model: Path) -> Engine:
    return Engine({"tiny": Offered(projected_model, str(projected_model))})


@pytest.fixture(scope="module")
def portraits(faces: Path) -> list[Portrait]:
    """One picture as it is, one moved by hand, one whose name needs care."""
    files = [*sorted((faces / "cat").iterdir())[:2], *sorted((faces / "dog").iterdir())[:1]]
    plain, moved, named = (read_portrait("a;b c.png", f.read_bytes(), None) for f in files)
    moved = moved.placed(Placing(across=0.1, down=-0.05, zoom=1.3, turn=12))
    names = ("me.png", "cat.png", safe_name("../result.png; rm -rf .png", set()))
    return [
        Portrait(name, p.content, placing=p.placing)
        for name, p in zip(names, (plain, moved, named))
    ]


def painted() -> Image.Image:
    mask = Image.new("L", (256, 256))
    ImageDraw.Draw(mask).ellipse((40, 60, 150, 170), fill=255)
    return mask


WISHES = {
    "plain": {"weights": (1.0, 1.0)},
    "weights": {"weights": (0.7, 0.3), "strength": 0.45, "interpolation": "spherical"},
    "levels": {"weights": (1.0, 0.0), "levels": (0, 0, 2), "size": 48},
    "only a place": {"weights": (0.0, 0.0), "place": "top", "place_from": 1, "feather": 0.1},
    "painted": {"weights": (0.0, 1.0), "painted_from": 1, "painted": painted()},
    "random": {"latent": True, "domain": "cat", "seed": 7, "truncation": 0.6},
    "first variation": {"weights": (1.0, 0.0), "variation": 1, "seed": 3},
    "third variation": {"weights": (1.0, 0.0), "variation": 3, "variation_angle": 35.0},
    "two shapes": {"weights": (1.0, 0.0), "second_source": 2, "source_mix": 0.3},
    "colours": {"weights": (1.0, 0.0), "colour_match": 0.5, "domain": "dog"},
}


def unpacked(made: Made, folder: Path) -> bytes:
    """Writes the kit and gives the file in it that the command is to make again."""
    archive = zipfile.ZipFile(io.BytesIO(made.kit))
    archive.extractall(folder)
    assert (folder / "command.txt").read_text() == made.command.line + "\n"
    return archive.read(f"fused{made.suffix}")


@pytest.fixture
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs a command in the folder of the unpacked archive."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> None:
        from facemeld.cli import main

        program, *arguments = shlex.split(line)
        assert program == "facemeld"
        main(arguments)

    return run


@pytest.mark.parametrize("name", WISHES)
def test_the_same_picture(name, engine, portraits, command_line, tmp_path: Path) -> None:
    made = engine.fuse(portraits[0], portraits[1:], Wish(model="tiny", **WISHES[name]))
    wanted = unpacked(made, tmp_path)
    command_line(made.command.line)
    with Image.open(tmp_path / made.command.writes) as again, Image.open(io.BytesIO(wanted)) as one:
        assert np.array_equal(again, one)
    if name != "third variation":  # told by its number among all
        assert (tmp_path / made.command.writes).read_bytes() == wanted


def test_the_same_photograph(engine, portraits, command_line, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    photograph(np.array([[0.7, 0.1, 120], [-0.1, 0.7, 60]]), (420, 300)).save(buffer, "PNG")
    found = read_portrait("crowd.png", buffer.getvalue(), engine.finder)
    assert found.faces
    moved = found.placed(Placing(face=1, across=0.04, turn=-6))
    wish = Wish(model="tiny", weights=(1.0, 1.0), paste_back=True, size=64)
    made = engine.fuse(moved, portraits[1:], wish)
    assert made.image.size == (420, 300)
    wanted = unpacked(made, tmp_path)
    command_line(made.command.line)
    assert (tmp_path / made.command.writes).read_bytes() == wanted


def test_the_same_video(engine, portraits, command_line, tmp_path: Path) -> None:
    wish = Wish(model="tiny", weights=(1.0, 0.5), strength=0.8, size=32)
    timing = Timing(seconds=0.2, hold=0.0)
    made = engine.film(portraits[0], portraits[1:], wish, timing, lambda done, total: None)
    wanted = unpacked(made, tmp_path)
    command_line(made.command.line)
    assert (tmp_path / made.command.writes).read_bytes() == wanted


def test_the_device_is_named(projected_model, portraits, command_line, tmp_path) -> None:
    model = Offered(projected_model, str(projected_model))
    engine = Engine({"tiny": model}, device="cpu:0")  # as PyTorch calls its first one
    made = engine.fuse(portraits[0], portraits[1:], Wish(model="tiny", weights=(1.0, 1.0)))
    assert " --device cpu:0 " in made.command.line
    wanted = unpacked(made, tmp_path)
    command_line(made.command.line)
    assert (tmp_path / made.command.writes).read_bytes() == wanted


def test_a_video_leaves_out_references_without_weight(engine, portraits) -> None:
    wish, timing = Wish(model="tiny", weights=(0.4, 0.0, 1.0)), Timing(seconds=0.1, hold=0.0)
    references = [*portraits[1:], portraits[0]]
    made = engine.film(portraits[0], references, wish, timing, lambda done, total: None)
    names = [reference["name"] for reference in made.settings["video"]["references"]]
    assert names == [references[0].file[0], references[2].file[0]]
    assert made.timing == timing


def test_a_repeat_finds_the_files_of_the_archive(
    engine, portraits, command_line, tmp_path, projected_model
) -> None:
    made = engine.fuse(portraits[0], portraits[1:], Wish(model="tiny", weights=(0.7, 0.3)))
    wanted = unpacked(made, tmp_path)
    command_line(f"facemeld fuse --repeat fused.png --model {projected_model} --out again.png")
    assert (tmp_path / "again.png").read_bytes() == wanted


def test_controls_of_places_that_nobody_chose_do_not_matter(engine, portraits) -> None:
    plain = Wish(model="tiny", weights=(1.0,))
    unpainted = replace(plain, painted_from=1, feather=0.3)
    commands = [engine.fuse(portraits[0], portraits[1:2], w).command for w in (plain, unpainted)]
    assert commands[0] == commands[1]


def test_options_of_usual_value_are_left_out(engine, portraits, projected_model) -> None:
    made = engine.fuse(portraits[0], portraits[1:2], Wish(model="tiny", weights=(0.4,)))
    assert made.command.line == (
        f"facemeld fuse --model {projected_model} --backend torch --source me.png "
        "--reference cat_face.png --out result.png"
    )


def test_names_are_plain_and_differ() -> None:
    assert safe_name("../../etc/passwd", set()) == "passwd.png"
    assert safe_name("C:\\me\\貓.JPG", set()) == "picture.jpg"
    assert safe_name("me.png", {"me.jpg"}) == "me-2.png"
    assert safe_name("settings.json", set()) == "settings-2.json"
    assert safe_name("me_face.png", {"me.jpg"}) == "me-2.png"
