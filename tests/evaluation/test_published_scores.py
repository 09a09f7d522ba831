"""What the scores say of known cases under the published networks.

data/known_cases.json was written by benchmarks/validate_fusion_scores.py, and says with which
networks and pictures. Where the network of heads is on this machine, it is asked again here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from known_models import CASES, CLAIMS, TURN, broken_claims
from PIL import Image

from facemeld.data.catalogue import WEIGHTS, locate
from facemeld.evaluation.judges import load_head_geometry
from facemeld.fusion.demo import bundled_faces
from facemeld.networks.head_geometry import angle_between
from facemeld.reports.evaluation import SCORES

FIGURES = json.loads((Path(__file__).parent / "data" / "known_cases.json").read_text("utf-8"))
FOUND = FIGURES["cases"]
DOCS = Path(__file__).parents[2] / "docs" / "evaluation.md"
COLUMNS = {
    "structure": 2,
    "layout_kept": 2,
    "pose_degrees": 1,
    "landmark_shift": 3,
    "likeness": 2,
    "nearer_to_own": 2,
    "retrieval": 2,
    "domain_accuracy": 2,
    "covered": 2,
    "diversity": 3,
    "reconstruction": 3,
    "smoothness": 2,
}
"""Of the table in the documentation: digits after the point."""


def test_known_good_cases_come_before_known_bad_ones() -> None:
    assert set(FOUND) == set(CASES)
    assert broken_claims(FOUND) == []


def test_a_claim_that_does_not_hold_is_noticed() -> None:
    upside_down = {case: dict(scores) for case, scores in FOUND.items()}
    upside_down["source"]["structure"] = FOUND["reference"]["structure"]
    upside_down["turned"]["pose_degrees"] = 0.0
    broken = {line.split(":")[0] for line in broken_claims(upside_down)}
    assert broken == {"structure", "pose_degrees"}


def test_every_score_of_a_report_is_validated() -> None:
    of_sets = {"distance", "floor", "unedited", "least_covered", "fid", "kid", "kid_deviation"}
    of_sets |= {"density", "coverage", "domain_accuracy_of_real"}  # see test_fusion_scores.py
    claimed = {score for score, _, _ in CLAIMS}
    assert claimed == (set(SCORES) - of_sets) | {"reconstruction"}


def test_the_figures_are_of_the_networks_that_judge() -> None:
    networks = FIGURES["provenance"]["networks"]
    known = {weights.sha256 for weights in WEIGHTS.values()}
    assert len(networks) == 3 and set(networks.values()) <= known


def test_pose_is_the_angle_that_a_face_was_turned_by() -> None:
    assert FOUND["turned"]["pose_degrees"] == pytest.approx(TURN, abs=4)
    for case in ("recoloured", "shifted"):
        assert FOUND[case]["pose_degrees"] < TURN / 3


def test_layout_does_not_take_a_faint_overlay_for_the_source() -> None:
    overlay = FOUND["overlay"]
    assert overlay["structure"] > 2 * overlay["layout_kept"]
    assert FOUND["recoloured"]["layout_kept"] > 0.5 > overlay["layout_kept"]


def test_the_table_of_the_documentation_shows_them() -> None:
    text = DOCS.read_text("utf-8")
    for case, scores in FOUND.items():
        cells = [_cell(scores.get(name), digits) for name, digits in COLUMNS.items()]
        assert f"| {case} | {' | '.join(cells)} |".replace("|  |", "| |") in text


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{round(value, digits) + 0:.{digits}f}"  # no -0.00


@pytest.mark.skipif(locate("head-pose") is None, reason="the network of heads is not here")
@torch.no_grad()
def test_bundled_people_are_turned_by_as_much() -> None:
    files = [file for file in bundled_faces() if file.stem.split("_")[0] in ("woman", "man")]
    shown = [np.asarray(Image.open(file).convert("RGB").resize((120, 120))) for file in files]
    people = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2) / 127.5 - 1
    head = load_head_geometry("cpu")[0]
    before = head(people)
    for case, expected, tolerance in (("turned", TURN, 3), ("shifted", 0, 3), ("recoloured", 0, 7)):
        after = head(CASES[case](people, people))
        angles = angle_between(before.rotation, after.rotation)
        assert angles.tolist() == pytest.approx([expected] * len(files), abs=tolerance), case
