"""The README's commands work as they stand there, with real files under the names it uses."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from drawn_faces import write_faces

from facemeld.fusion.demo import bundled_faces

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRANSLATION = (ROOT / "README.zh-TW.md").read_text(encoding="utf-8")

in_project_venv = pytest.mark.skipif(
    Path(sys.prefix).resolve() != (ROOT / ".venv").resolve(),
    reason="run_command.sh would set up .venv first: ./run_command.sh test runs this",
)


def _blocks(text: str) -> list[str]:
    return re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        command, cwd=folder, text=True, capture_output=True, timeout=300, check=False
    )
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stderr}"
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder with the files that the README's commands name."""
    folder = tmp_path_factory.mktemp("person")
    pictures = bundled_faces()
    for index, name in enumerate(("me.jpg", "cat.jpg", "tiger.jpg", "a.jpg", "b.jpg", "c.jpg")):
        shutil.copy(pictures[index % len(pictures)], folder / name)
    write_faces(folder / "faces")
    return folder


def _facemeld(arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return _run([sys.executable, "-m", "facemeld", *shlex.split(arguments)], folder)


def test_both_languages_give_the_same_commands() -> None:
    assert _blocks(README) == _blocks(TRANSLATION)
    inline = re.compile(r"`(--[^`]*|facemeld [^`]*|\./run_command\.sh [^`]*)`")
    assert sorted(inline.findall(README)) == sorted(inline.findall(TRANSLATION))


def test_every_job_is_in_the_help() -> None:
    shown = _run(["bash", str(ROOT / "run_command.sh"), "help"], ROOT).stdout
    jobs = set(re.findall(r"\./run_command\.sh ([\w-]+)", README))
    assert {"demo", "test", "fuse"} <= jobs
    assert jobs - {"help"} <= set(re.findall(r"^  ([\w-]+)", shown, flags=re.MULTILINE))


def test_every_link_leads_somewhere() -> None:
    for text in (README, TRANSLATION):
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (ROOT / target).exists(), target


@in_project_venv
def test_the_two_commands(tmp_path: Path) -> None:
    script = str(ROOT / "run_command.sh")
    _run([script, "demo"], tmp_path)
    made = {path.name for path in (tmp_path / "results" / "demo").iterdir()}
    assert {"sheet.jpg", "README.txt"} <= made
    shown = _run([script, "test", "--collect-only", "-q", "tests/test_layers.py"], tmp_path).stdout
    assert "test_every_import_points_down" in shown


def test_fuse_as_written(place: Path) -> None:
    command = next(b for b in _blocks(README) if "--reference cat.jpg --out result.png" in b)
    _facemeld(command.split("run_command.sh ")[1], place)
    assert (place / "result.png").is_file()
    assert b"trainedAlgorithmicMedia" in (place / "result.png").read_bytes()
    assert "cat.jpg" in _facemeld("info result.png", place).stdout


@pytest.mark.parametrize("row", re.findall(r"\| `(--[^`]+)` \|", README))
def test_each_row_of_the_table(row: str, place: Path) -> None:
    options = row if "--source " in row else f"--source me.jpg {row}"
    if "--reference" not in options and "--latent" not in options:
        options += " --reference cat.jpg"
    if "--out" not in options:
        options += " --out row.png"
    before = set(place.rglob("*"))
    (place / "row.png").unlink(missing_ok=True)
    _facemeld(f"fuse {options}", place)
    assert (place / "row.png").is_file() or set(place.rglob("*")) - before


def test_grid(place: Path) -> None:
    _facemeld("grid --source me.jpg a.jpg --reference cat.jpg tiger.jpg --out sheet.png", place)
    assert (place / "sheet.png").is_file()


def test_the_video(place: Path) -> None:
    command = next(b for b in _blocks(README) if "run_command.sh video" in b)
    _facemeld(command.split("run_command.sh ")[1], place)
    assert "walk" in _facemeld("info video.mp4", place).stdout


def test_a_folder_of_sources(place: Path) -> None:
    (place / "folder").mkdir(exist_ok=True)
    shutil.copy(place / "a.jpg", place / "folder" / "one.jpg")
    (command,) = re.findall(r"`facemeld (fuse --source folder[^`]*)`", README)
    _facemeld(command, place)
    assert (place / "results" / "folder" / "one.png").is_file()


def test_the_python_example(place: Path) -> None:
    code = next(b for b in _blocks(README) if "FusionPipeline" in b)
    _run([sys.executable, "-c", code + "\nassert face.size == (pipe.image_size,) * 2"], place)


def test_training_on_own_data(place: Path) -> None:
    block = next(b for b in _blocks(README) if "train-faces-64" in b)
    train, fuse = (line.split("run_command.sh ")[1] for line in block.strip().splitlines())
    train = train.replace("train-faces-64", "train --preset faces-64")
    _facemeld(train + " --pictures 32 --set warmup_pictures=16", place)
    for option in ("--source", "--reference"):
        fuse = fuse.replace(f"{option} …", f"{option} me.jpg")
    _facemeld(fuse, place)


def test_the_comparison(place: Path) -> None:
    command = next(b for b in _blocks(README) if "compare" in b).split("run_command.sh ")[1]
    _facemeld(command.replace("runs/other", "faces").replace("runs/mine", "faces"), place)
    assert (place / "results" / "comparison" / "report.html").is_file()


def test_the_import_command(place: Path) -> None:
    sys.path.insert(0, os.fspath(ROOT / "tests" / "export"))
    import torch
    from official_layout import checkpoint

    torch.save(checkpoint(image_size=64, domains=3), place / "100000_nets_ema.ckpt")
    command = next(b for b in _blocks(README) if "import-stargan-v2" in b)
    _facemeld(command.split("run_command.sh ")[1], place)
    assert (place / "models" / "afhq" / "model.safetensors").is_file()
