"""Heads of animals are found where they are and taken for what they are, by the bundled network."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facemeld
from facemeld.faces.align import aligned, alignment
from facemeld.faces.detect import FaceFinder, select
from facemeld.faces.geometry import transform, warp, warp_map
from facemeld.images.read import read_picture

FACES = Path(facemeld.__file__).parent / "assets" / "faces"
READ = {
    "cat_chelsea.jpg": ((0.285, 0.375), (0.765, 0.445), (0.58, 0.80)),
    "wild_raccoon.jpg": ((0.275, 0.57), (0.56, 0.615), (0.37, 0.845)),
    "dog_generated.png": ((0.315, 0.37), (0.645, 0.40), (0.49, 0.685)),
}
"""Left eye, right eye and nose as a person read them, in shares of the side."""


def photograph(name: str, side: float, degrees: float) -> tuple[Image.Image, np.ndarray]:
    """A bundled face in a textured picture, and its eyes and nose in pixels of that. -> 3 2"""
    face = read_picture(FACES / name)
    turn = side / face.width * np.eye(2)
    angle = math.radians(degrees)
    turn = turn @ [(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))]
    matrix = np.column_stack([turn, (330, 230) - turn @ (face.width / 2, face.height / 2)])
    noise = np.random.default_rng(1).integers(70, 190, (12, 16, 3), dtype=np.uint8)
    scene = np.asarray(Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC), float)
    cover = warp_map(np.ones((face.height, face.width)), matrix, (640, 480))[..., None]
    scene = scene + cover * (np.asarray(warp(face, matrix, (640, 480)), float) - scene)
    points = transform(matrix, np.array(READ[name]) * face.width)
    return Image.fromarray(scene.round().clip(0, 255).astype(np.uint8)), points


@pytest.mark.parametrize("kind", ["animal", "auto"])
@pytest.mark.parametrize("name", READ)
def test_eyes_and_noses_are_found(name, kind):
    picture, known = photograph(name, 240, 12)
    (face,) = select(FaceFinder(kind).find(picture), "largest")
    assert face.kind == "animal" and not face.estimated
    assert np.linalg.norm(np.array(face.points)[:3] - known, axis=1).mean() < 0.1 * 240


def test_the_same_head_is_aligned_alike_wherever_it_is():
    finder, pictures = FaceFinder("animal"), []
    for side, degrees in ((150, -15), (290, 18)):
        picture, _ = photograph("dog_generated.png", side, degrees)
        (face,) = select(finder.find(picture), "largest")
        pictures.append(np.asarray(aligned(picture, alignment(face, 64)), float)[12:52, 12:52])
    assert np.abs(pictures[0] - pictures[1]).mean() < 20


def test_people_and_drawings_are_no_animals():
    finder = FaceFinder("auto")
    for name, kind in (("woman_astronaut.jpg", "human"), ("anime_beni.png", "anime")):
        (face,) = select(finder.find(read_picture(FACES / name)), "largest")
        assert face.kind == kind


def test_a_cascade_stands_in_without_onnxruntime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    picture, known = photograph("cat_chelsea.jpg", 200, 0)
    (face,) = select(FaceFinder("animal").find(picture), "largest")
    assert face.kind == "animal"
    assert np.linalg.norm(np.array(face.points).mean(0) - known.mean(0)) < 0.25 * 200


def test_a_person_is_no_animal():
    picture = read_picture(FACES / "woman_astronaut.jpg")
    assert FaceFinder("animal").find(picture) == []


def test_heads_are_found_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy\n"
        "from PIL import Image\n"
        "from facemeld.faces.detect import FaceFinder\n"
        f"faces = FaceFinder('animal').find(Image.open({str(FACES / 'cat_chelsea.jpg')!r}))\n"
        "print(faces[0].kind)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "animal"
