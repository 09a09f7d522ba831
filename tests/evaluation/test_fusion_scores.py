"""Each score ranks cases whose order is known: the source itself, the reference itself, a blend
of both, a mismatched pair.

The measuring networks have drawn weights here: these orders do not depend on what they have
learned. What does is in test_published_scores.py.
"""

from __future__ import annotations

import generated_weights as drawn
import numpy as np
import pytest
import torch
from drawn_faces import draw_face
from known_models import CASES, Grid, Mix, Mixer, World
from tiny_models import enliven
from torch import Tensor

from facemeld.errors import UserError
from facemeld.evaluation.examples import RANKED
from facemeld.evaluation.fusion_scores import (
    DomainClassifier,
    evenness,
    layout_kept,
    layout_of,
    likeness,
    nearer_to_own,
)
from facemeld.evaluation.judges import Judges
from facemeld.networks.head_geometry import HeadGeometryNetwork, angle_between, landmark_shift
from facemeld.networks.lpips import LPIPS
from facemeld.networks.mobilenet import MobileNetV2Features

SIDE = 32
NAMES = ("cat", "dog")
COUNT, REALS = 12, 30  # held-out and real faces of each domain


def faces(name: str, first: int, count: int = COUNT) -> np.ndarray:
    drawn_now = [draw_face(name, i, SIDE) for i in range(first, first + count)]
    return np.stack([np.asarray(face) for face in drawn_now])


@pytest.fixture(scope="module")
def world() -> World:
    torch.manual_seed(0)
    measure = MobileNetV2Features()
    enliven(measure)
    lpips, head = LPIPS(), HeadGeometryNetwork()
    lpips.load_published(drawn.alexnet(5), drawn.lpips_heads(6))
    head.load_published(drawn.head_pose(8))
    held_out = {name: faces(name, 0) for name in NAMES}
    reals = {name: faces(name, 100, REALS) for name in NAMES}
    return World(Judges(Grid(), lpips, measure, head), held_out, reals)


@pytest.fixture(scope="module")
def scores(world: World) -> dict[str, dict[str, float]]:
    """For each case the scores of cats turned into dogs, in reference mode."""
    return {name: reference_scores(world, mix) for name, mix in CASES.items()}


def reference_scores(world: World, mix: Mix, **more) -> dict:
    return world.score(mix, **({"people": NAMES} | more))["reference"]


def test_structure(scores: dict) -> None:
    kept = {name: found["structure"] for name, found in scores.items()}
    assert kept["source"] == pytest.approx(1, abs=1e-3)
    assert kept["source"] > kept["blend"] > kept["reference"]
    assert kept["grey"] == pytest.approx(0, abs=1e-3)


def test_layout(scores: dict) -> None:
    kept = {name: found["layout_kept"] for name, found in scores.items()}
    assert kept["source"] == pytest.approx(1, abs=1e-3)
    assert kept["source"] > kept["blend"] > kept["reference"]
    assert kept["source"] > kept["shifted"] > kept["reference"]
    assert abs(kept["grey"]) < 0.05


def test_likeness(scores: dict) -> None:
    taken = {name: found["likeness"] for name, found in scores.items()}
    assert taken["reference"] == pytest.approx(1, abs=1e-3)
    assert taken["reference"] > taken["blend"] > taken["mismatched"]
    assert abs(taken["source"]) < 0.1 and abs(taken["mismatched"]) < 0.2


def test_nearer_to_own(scores: dict) -> None:
    near = {name: found["nearer_to_own"] for name, found in scores.items()}
    assert near["reference"] == 1 and near["reference"] >= near["blend"] > near["mismatched"]
    for name in ("source", "grey"):  # what follows no reference is where chance puts it
        assert near[name] == pytest.approx(0.5, abs=0.2)


def test_domain_accuracy(scores: dict) -> None:
    right = {name: found["domain_accuracy"] for name, found in scores.items()}
    assert min(right["reference"], right["mismatched"]) > 0.8 and right["source"] < 0.2
    assert scores["reference"]["domain_probability"] > scores["blend"]["domain_probability"]


def test_pose_and_landmarks(scores: dict) -> None:
    for name in ("pose_degrees", "landmark_shift"):
        moved = {case: found[name] for case, found in scores.items()}
        assert moved["source"] == pytest.approx(0, abs=0.1)
        assert moved["source"] < moved["blend"] < moved["reference"]


def test_pose_is_left_out_where_one_side_is_no_person(world: World) -> None:
    assert "pose_degrees" not in reference_scores(world, CASES["source"], people=("cat",))


def test_diversity(scores: dict) -> None:
    found = {name: case["diversity"] for name, case in scores.items()}
    assert max(found["source"], found["grey"]) < 1e-6
    assert found["reference"] > found["blend"] > 0.01


def test_distances_and_coverage(scores: dict) -> None:
    for better, worse in (("reference", "blend"), ("blend", "source"), ("reference", "grey")):
        assert scores[better]["fid"] < scores[worse]["fid"]
        assert scores[better]["kid"] < scores[worse]["kid"]
    assert scores["reference"]["coverage"] > scores["grey"]["coverage"]
    assert scores["reference"]["density"] > scores["source"]["density"]


def test_smoothness(world: World, scores: dict) -> None:
    assert scores["reference"]["smoothness"] > 0.5
    sudden = scores["switched"]["smoothness"]
    assert sudden is None or sudden < 0.3
    assert scores["grey"]["smoothness"] is None  # a path that does not move


def test_evenness() -> None:
    steps = torch.tensor([[2.0, 2, 2, 2], [0, 8, 0, 0], [0, 0, 0, 0]])
    found = evenness(steps)
    assert found[:2].tolist() == [1.0, 0.25] and found[2].isnan()


def test_reconstruction(world: World) -> None:
    gaps = []
    for case in ("reference", "blend", "grey"):
        # under its own style a source is its own reference
        found = world.reconstruction(CASES[case], batch=4)
        gaps.append(found["reconstruction"])
        assert found["domain_accuracy_of_real"] > 0.8 and found["held_out"] == COUNT
    assert max(gaps[:2]) < 1e-6 and gaps[2] > 0.05


class Masked(Mixer):
    """A model that returns its mask, and cannot do without one."""

    def decode(self, content: Tensor, styles: Tensor, masks: Tensor) -> Tensor:
        return masks[:, :1].expand(-1, 3, -1, -1)


def test_masked_models_get_masks_of_their_sources(world: World) -> None:
    def luminance(pictures: Tensor) -> Tensor:
        return pictures.mean(dim=1, keepdim=True).expand(-1, 2, -1, -1)

    masked = {"model": Masked, "masker": luminance}
    for found in world.score(CASES["grey"], **masked).values():
        assert found["structure"] == pytest.approx(1, abs=1e-2)
    world.reconstruction(CASES["grey"], **masked)


def test_results_do_not_depend_on_the_batch(world: World, scores: dict) -> None:
    again = reference_scores(world, CASES["blend"], batch=12)
    for name, value in scores["blend"].items():
        if isinstance(value, float):
            assert again[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_every_reference_is_used_before_one_comes_twice(world: World) -> None:
    scorer = world.scorer(CASES["blend"], outputs=3)
    target = world.domain(scorer, 1)
    pair = scorer._pair(world.domain(scorer, 0), target, 2)
    styles, rows = pair.styles, pair.rows
    assert rows.shape == (COUNT, 3) and styles["reference"].shape == (COUNT, 3, 3 * SIDE * SIDE)
    assert all(sorted(column) == list(range(COUNT)) for column in rows.T)
    assert torch.equal(styles["reference"][4, 2], target.styles[rows[4, 2]])


def test_distances_alone_are_the_same_numbers(world: World, scores: dict) -> None:
    whole = scores["blend"]
    scorer = world.scorer(CASES["blend"])
    scorer.critics = scorer.others = None
    pair = [world.domain(scorer, place) for place in (0, 1)]
    alone = scorer.score(*pair, 2)[0]
    assert pair[0].light is None and alone["mode"] == "reference"
    assert {"fid", "kid", "kid_deviation", "density", "coverage", "diversity"} <= set(alone)
    assert not {"structure", "likeness", "smoothness", "examples"} & set(alone)
    for name, value in alone.items():
        assert whole[name] == value, name


def test_examples_are_the_extremes(scores: dict) -> None:
    found = scores["blend"]["examples"]
    assert set(found) == set(RANKED)
    for name, ends in found.items():
        best, worst = ends["best"]["value"], ends["worst"]["value"]
        low, high = (best, worst) if name == "pose_degrees" else (worst, best)
        assert low < scores["blend"][name] < high, name
        assert len(ends["best"]["pictures"]) == 3


def test_a_model_that_diverged_is_told(world: World) -> None:
    with pytest.raises(UserError, match="not finite"):
        world.score(lambda source, style: source * torch.nan)


def test_likeness_is_against_the_others() -> None:
    references = torch.tensor([[0.0, 0], [4, 0], [0, 4]])
    fakes = torch.tensor([[0.0, 0], [2, 2], [4, 0]])
    found = likeness(fakes, torch.tensor([0, 0, 0]), references)
    assert found[0] == 1 and found[1] == pytest.approx(0) and found[2] < 0


def test_nearer_to_own_counts_the_references_that_are_farther() -> None:
    references = torch.tensor([[0.0, 0], [1, 0], [0, 3], [0, 4]])
    found = nearer_to_own(torch.zeros(4, 2), torch.arange(4), references)
    assert found.tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_turning_a_head_turns_its_rotation() -> None:
    a = torch.eye(3)[None]
    angle = torch.deg2rad(torch.tensor(30.0))
    turn = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
    assert angle_between(a, turn[None]) == pytest.approx(30, abs=1e-3)
    points = torch.randn(1, 68, 2)
    eyes = (points[0, 36] - points[0, 45]).norm()
    shifted = points + torch.tensor([0.3, 0.4])
    assert landmark_shift(points, shifted) == pytest.approx(float(0.5 / eyes), rel=1e-4)


def test_the_classifier_gives_every_domain_the_same_weight() -> None:
    random = torch.Generator().manual_seed(0)
    few = torch.randn(10, 4, generator=random) + 1
    many = torch.randn(500, 4, generator=random) - 1
    labels = torch.tensor([0] * 10 + [1] * 500)
    classifier = DomainClassifier(torch.cat([few, many]), labels, 2)
    again = DomainClassifier(torch.cat([few, many]), labels, 2)
    assert torch.equal(classifier.weight, again.weight)
    certain = classifier.probabilities(torch.randn(400, 4, generator=random) + 1)
    assert (certain[:, 0] > 0.5).float().mean() > 0.85


def test_layout_kept_is_the_source_against_other_sources() -> None:
    torch.manual_seed(0)
    maps = torch.randn(5, 8, 4, 4)
    sources = layout_of(maps)

    def kept(fakes: Tensor, numbers: Tensor = torch.arange(5)) -> Tensor:
        return layout_kept(layout_of(fakes), sources, sources, numbers[:, None] != numbers)

    torch.testing.assert_close(sources.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(kept(maps.flip(1) * 2 + 1), torch.ones(5))  # recoloured
    same_for_all = torch.randn(1, 8, 4, 4).expand(5, -1, -1, -1)
    assert kept(same_for_all).mean() == pytest.approx(0, abs=0.05)
    blend = kept(maps + same_for_all)
    assert ((blend > 0.1) & (blend < 0.9)).all()
    assert kept(torch.zeros_like(maps)).abs().max() < 1e-6
    maps[4], sources[4] = maps[0], sources[0]
    torch.testing.assert_close(kept(maps, torch.tensor([0, 1, 2, 3, 0])), torch.ones(5))
    assert kept(maps, torch.zeros(5)).isnan().all()
