"""Faces are found where they are, with what every fresh clone has: OpenCV's own cascades."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from drawn_portraits import EYES_AND_MOUTH, photograph, portrait
from PIL import Image

from facemeld.errors import UserError
from facemeld.faces.align import LargestFace, aligned, alignment, centre
from facemeld.faces.detect import FaceDetection, FaceFinder, select
from facemeld.faces.geometry import transform
from facemeld.faces.opencv import Find
from facemeld.faces.templates import KINDS, official_template, template


@pytest.fixture
def finder() -> FaceFinder:
    return FaceFinder("human")


def placed(side: float, x: float, y: float, degrees: float = 0.0) -> np.ndarray:
    """Takes a portrait of 256 px to a place in a photograph."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = side / 256 * np.array([[c, -s], [s, c]])
    return np.column_stack([turn, np.array([x, y]) + side / 2 - turn @ (128, 128)])


def test_finds_the_points_of_a_face_in_a_photograph(finder):
    matrix = placed(220, 300, 150)
    (face,) = select(finder.find(photograph(matrix, (600, 400))), "largest")
    known = transform(matrix, EYES_AND_MOUTH * 256)
    assert face.kind == "human" and 0 < face.score <= 1
    assert np.linalg.norm(np.array(face.points) - known, axis=1).mean() < 0.06 * 220
    left, top, width, height = face.box
    assert left < known[:, 0].min() and left + width > known[:, 0].max()
    assert top < known[:, 1].min() and top + height > known[:, 1].max()


def test_finds_a_rolled_face(finder):
    matrix = placed(240, 200, 120, 20)
    (face,) = select(finder.find(photograph(matrix, (640, 480))), "largest")
    known = transform(matrix, EYES_AND_MOUTH * 256)
    assert np.linalg.norm(np.array(face.points) - known, axis=1).mean() < 0.08 * 240


def test_finds_the_same_face_in_a_huge_and_in_a_tiny_picture(finder):
    for side in (96, 3000):
        (face,) = finder.find(portrait(256).resize((side, side)))
        known = EYES_AND_MOUTH * side
        assert np.linalg.norm(np.array(face.points) - known, axis=1).mean() < 0.07 * side


def test_what_yunet_does_not_see_is_no_person(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    finder = FaceFinder("auto")
    scene = photograph(placed(220, 300, 150), (600, 400))
    assert [face.kind for face in finder.find(scene)] == ["human"]
    finder._yunet = lambda pixels: []
    assert [face for face in finder.find(scene) if face.kind == "human"] == []


def test_finds_nothing_in_a_plain_picture(finder):
    assert finder.find(Image.new("RGB", (300, 200), "grey")) == []
    assert finder.find(Image.new("RGB", (1, 1))) == []


@pytest.mark.parametrize("kind", KINDS)
def test_alignment_brings_the_points_to_the_template(kind):
    goal = template(kind, 128)
    matrix = placed(400, 90, 30, -15)
    points = tuple(map(tuple, transform(matrix, goal * 2)))
    how = alignment(FaceDetection((0, 0, 1, 1), points, 1.0, kind, False), 128)
    assert np.allclose(how.points(), goal)
    assert np.allclose(how.matrix_for(64)[:, 2] * 2, np.array(how.matrix)[:, 2])


def test_an_aligned_face_looks_the_same_wherever_it_was(finder):
    pictures = []
    for matrix in (placed(180, 40, 60), placed(240, 230, 110)):
        scene = photograph(matrix, (500, 380))
        (face,) = select(finder.find(scene), "largest")
        pictures.append(np.asarray(aligned(scene, alignment(face, 64)), float))
    assert np.abs(pictures[0] - pictures[1])[8:56, 8:56].mean() < 12


def test_the_centre_stands_in_for_a_face():
    picture = portrait(100).resize((200, 100))
    square = aligned(picture, centre(picture, 50))
    expected = picture.crop((50, 0, 150, 100)).resize((50, 50), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(square, float) - np.asarray(expected, float)).mean() < 1.5


def test_largest_prefers_a_certain_face_to_a_large_doubt():
    def face(side: float, score: float) -> FaceDetection:
        return FaceDetection((0, 0, side, side), (), score, "human", False)

    doubt, large, small = face(300, 0.3), face(200, 0.8), face(50, 0.9)
    assert select([doubt, large, small], "largest") == [large]
    assert select([doubt, large, small], "all") == [doubt, large, small]
    assert select([], "largest") == []


def test_the_side_of_a_rolled_find_is_that_of_its_box():
    corners = transform(placed(256, 0, 0, 30), [(0, 0), (80, 0), (80, 80), (0, 80)])
    assert Find(corners, 1.0).side == pytest.approx(80)


def test_an_aligner_for_other_processes():
    import pickle

    make = pickle.loads(pickle.dumps(LargestFace("human", 32)))
    picture, matrix = make()(portrait(200))
    assert picture.size == (32, 32) and np.array(matrix).shape == (2, 3)
    assert make()(Image.new("RGB", (90, 90))) is None


def test_mistakes_are_told(monkeypatch):
    with pytest.raises(UserError, match="no kind of face is called 'animl'") as caught:
        FaceFinder("animl")
    assert "animal" in caught.value.fix
    assert FaceFinder("auto").missing == ["yunet"]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="anime-cascade"):
        FaceFinder("anime")
    assert set(FaceFinder("auto").missing) == {"yunet", "anime-cascade"}


def test_a_damaged_detector_is_told_not_passed_over(tmp_path):
    (tmp_path / "yunet_n_320_320.onnx").write_bytes(b"half of it")
    with pytest.raises(UserError, match="not the published file"):
        FaceFinder("auto", weights_dir=tmp_path)


def test_the_detectors_in_use_are_named(monkeypatch):
    assert FaceFinder("auto").detectors == ("heads", "cascade of human faces")
    assert FaceFinder("human").detectors == ("cascade of human faces",)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert FaceFinder("animal").detectors == ("cascade of animal faces",)


def test_the_official_layout_is_read_as_data_only(tmp_path):
    points = np.random.default_rng(0).uniform(0, 256, (98, 2))
    np.savez(tmp_path / "celeba_lm_mean.npz", mean=points)
    layout = official_template(tmp_path / "celeba_lm_mean.npz")
    assert np.allclose(layout[3:], points[[76, 82]] / 256)
    assert np.allclose(layout[0], points[[*range(60, 68), 96]].mean(0) / 256)
    np.savez(tmp_path / "code.npz", mean=np.array([print], dtype=object))
    np.savez(tmp_path / "short.npz", mean=points[:5])
    for name in ("code.npz", "short.npz", "missing.npz"):
        with pytest.raises(UserError):
            official_template(tmp_path / name)
