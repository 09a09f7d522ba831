"""The examples of docs/studio.md work as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from drawn_portraits import photograph
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
        assert sheet.size == (3 * 128 + 4, 2 * 128 + 2)
    film = Path(client.predict(faces[0], faces[1:], 0.2, 0.0, api_name="/video"))
    assert b"ftyp" in film.read_bytes()[:16]


def test_every_control_of_the_page(studio, place: Path) -> None:
    from gradio_client import Client, handle_file

    client = Client(studio.address, analytics_enabled=False, verbose=False)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 20))
    mask.save(place / "mask.png")
    me, cat, tiger = (handle_file(str(place / f"{name}.jpg")) for name in ("me", "cat", "tiger"))
    picture, settings = client.predict(
        me, [cat, tiger], [1, 0], strength=0.9, domain="cat", interpolation="spherical", fine=2,
        place="bottom", place_from=2, mask=handle_file(str(place / "mask.png")), painted_from=1,
        feather=0.1, variation=3, variation_angle=30, seed=5, second_source=2, source_mix=0.25,
        content_strength=0.5, colour_match=0.4, size=96, api_name="/fuse",
    )  # fmt: skip
    assert read_settings(picture) == settings
    assert settings["references"] == ["cat.jpg"] and settings["second_source"] == "tiger.jpg"
    assert settings["levels"] == {"fine": "tiger.jpg"}
    assert settings["regions"] == [["bottom", "tiger.jpg"], ["painted.png", "cat.jpg"]]
    wanted = {
        "strength": 0.9, "domain": "cat", "interpolation": "spherical", "feather": 0.1,
        "variation": 3, "variation_angle": 30, "seed": 5, "source_mix": 0.25,
        "content_strength": 0.5, "colour_match": 0.4, "size": 96,
    }  # fmt: skip
    assert {name: settings[name] for name in wanted} == wanted


def test_a_face_goes_back_into_its_photograph(studio, place: Path) -> None:
    from gradio_client import Client, handle_file

    matrix = np.array([[0.7, 0.1, 120], [-0.1, 0.7, 60]])
    photograph(matrix, (420, 300)).save(place / "crowd.png")
    client = Client(studio.address, analytics_enabled=False, verbose=False)
    faces = [handle_file(str(place / name)) for name in ("crowd.png", "cat.jpg")]
    picture, settings = client.predict(faces[0], faces[1:], paste_back=True, api_name="/fuse")
    assert settings["paste_back"] is True and settings["aligned"][0]["number"] == 1
    with Image.open(picture) as result, Image.open(place / "crowd.png") as before:
        changed = np.abs(np.asarray(result, int) - np.asarray(before, int)).sum(axis=2) > 0
    assert changed.any() and not changed[:, :60].any()


def reaches(job, code: str) -> None:
    """Waits until a job is so far."""
    deadline = time.monotonic() + 100
    while job.status().code.name != code:
        assert time.monotonic() < deadline, job.status()
        time.sleep(0.05)


def test_a_stop_ends_what_this_client_asked_for(studio, place: Path) -> None:
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    faces = [handle_file(str(place / f"{name}.jpg")) for name in ("me", "cat", "tiger")]
    client, other = (Client(studio.address, analytics_enabled=False, verbose=False) for _ in "ab")
    film = client.submit(faces[0], faces[1:], 600.0, api_name="/video")
    reaches(film, "PROCESSING")
    waiting = client.submit(faces[0], faces[1:], api_name="/fuse")
    others = other.submit(faces[0], faces[1:], api_name="/fuse")
    reaches(waiting, "IN_QUEUE")
    reaches(others, "IN_QUEUE")
    assert client.predict(api_name="/stop") == "stopped"
    for job in (film, waiting):
        with pytest.raises(AppError, match="Stopped"):
            job.result(timeout=100)
    assert Path(others.result(timeout=100)[0]).is_file()
    assert Path(client.predict(faces[0], faces[1:], api_name="/fuse")[0]).is_file()


def test_what_openapi_says(studio) -> None:
    with urllib.request.urlopen(studio.address + "/gradio_api/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    named = {path.rpartition("/")[2] for path in paths if "/call/" in path or "/run/" in path}
    assert {"fuse", "variations", "grid", "video", "models", "stop"} <= named


def test_mistakes_are_told_in_a_sentence(studio, place: Path) -> None:
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    client = Client(studio.address, analytics_enabled=False, verbose=False)
    (place / "letter.png").write_text("no picture")
    me = handle_file(str(place / "me.jpg"))
    letter = handle_file(str(place / "letter.png"))
    for told, asked in (
        ("not a picture that can be read", {"source": letter}),
        ("no domain 'catt'", {"domain": "catt"}),
        ("no such model", {"model": "nothing"}),
        ("there is no reference 2", {"fine": 2}),
        ("there is no reference -1", {"second_source": -1}),
        ("2 weights for 1 references", {"weights": [1.0, 2.0]}),
        ("strength must be a float", {"strength": "much"}),
        ("strength is 7", {"strength": 7}),
        ("no region 'ears'", {"place": "ears", "place_from": 1}),
        ("too many pictures", {"references": [me] * 7}),
        ("lists", {"references": me}),
        ("uploaded file", {"references": [None]}),
    ):
        with pytest.raises(AppError, match=re.compile(told, re.IGNORECASE)):
            client.predict(**{"source": me, "references": [me], **asked}, api_name="/fuse")
    with pytest.raises(AppError, match="must be from 1 to 24"):
        client.predict(me, [me], 25, api_name="/variations")
    with pytest.raises(AppError, match="at most 64 pairs"):
        client.predict([me] * 0, [me], api_name="/grid")
    with pytest.raises(AppError, match="Seconds is -1"):
        client.predict(me, [me, me], -1.0, api_name="/video")
