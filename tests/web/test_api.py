"""The examples of docs/studio.md work as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from facemeld.data.folders import bundled_faces
from facemeld.images.write import is_marked_synthetic, read_settings
from facemeld.networks.model_folder import bundled_models

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "studio.md").read_text(encoding="utf-8")
FACES = {path.stem: path for path in bundled_faces()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the pictures that the examples name."""
    for name, face in (
        ("me", "woman_astronaut"),
        ("cat", "cat_chelsea"),
        ("tiger", "dog_generated"),
    ):
        with Image.open(FACES[face]) as picture:
            picture.convert("RGB").save(tmp_path / f"{name}.jpg", quality=95)
    return tmp_path


def example(language: str, address: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)
    return code.replace("http://127.0.0.1:7860", address)


def run(command: list[str], place: Path) -> str:
    result = subprocess.run(
        command, cwd=place, text=True, capture_output=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_python_example(studio, place: Path) -> None:
    made = Path(run([sys.executable, "-c", example("python", studio.address)], place).strip())
    assert is_marked_synthetic(made)
    settings = read_settings(made)
    assert settings["references"] == ["cat.jpg", "tiger.jpg"]
    assert settings["weights"] == [0.7, 0.3] and settings["strength"] == 0.8
    wanted = place / "wanted.png"
    options = "--source me.jpg --reference cat.jpg tiger.jpg --weights 0.7 0.3 --strength 0.8"
    backend = settings["backend"].partition("-")[0]
    command = ["-m", "facemeld", "fuse", *options.split(), "--backend", backend]
    command += ["--out", str(wanted)]
    run([sys.executable, *command], place)
    assert made.read_bytes() == wanted.read_bytes()


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
def test_the_curl_example(studio, place: Path) -> None:
    run(["bash", "-euc", example("bash", studio.address)], place)
    assert read_settings(place / "result.png")["strength"] == 0.8


def test_the_other_functions(studio, place: Path) -> None:
    from gradio_client import Client, handle_file

    client = Client(
        studio.address, analytics_enabled=False, verbose=False, download_files=str(place / "got")
    )
    faces = [handle_file(str(place / f"{name}.jpg")) for name in ("me", "cat", "tiger")]
    models = client.predict(api_name="/models")
    assert [model["name"] for model in models] == list(bundled_models())
    assert models[0]["name"] == "faces" and "cat" in models[0]["domains"]
    files = client.predict(faces[0], faces[1:], 2, api_name="/variations")
    assert [read_settings(file)["variation"] for file in files] == [1, 2]
    with Image.open(client.predict(faces[:1], faces[1:], api_name="/grid")) as sheet:
        assert sheet.size == (3 * 64 + 4, 2 * 64 + 2)
    film = Path(client.predict(faces[0], faces[1:], 0.2, 0.0, api_name="/video"))
    assert b"ftyp" in film.read_bytes()[:16]


def test_what_openapi_says(studio) -> None:
    with urllib.request.urlopen(studio.address + "/gradio_api/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    named = {path.rpartition("/")[2] for path in paths if "/call/" in path or "/run/" in path}
    assert {"fuse", "variations", "grid", "video", "models"} <= named


def test_mistakes_are_told_in_a_sentence(studio, place: Path) -> None:
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    client = Client(studio.address, analytics_enabled=False, verbose=False)
    (place / "letter.png").write_text("no picture")
    me = handle_file(str(place / "me.jpg"))
    with pytest.raises(AppError, match="not a picture that can be read"):
        client.predict(handle_file(str(place / "letter.png")), [me], api_name="/fuse")
    with pytest.raises(AppError, match="no domain 'catt'"):
        client.predict(me, [me], None, 1.0, "catt", api_name="/fuse")
