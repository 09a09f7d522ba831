"""Each score ranks cases whose order is known: the source itself, the reference itself, a blend
of both, a mismatched pair.

The measuring networks have drawn weights: the order does not depend on what they have learned.
"""

from __future__ import annotations

from collections.abc import Callable

import generated_weights as drawn
import numpy as np
import pytest
import torch
from drawn_faces import draw_face
from tiny_models import enliven
from torch import Tensor, nn

from facemeld.config import NetworkConfig
from facemeld.errors import UserError
from facemeld.evaluation.distances import FeatureSet
from facemeld.evaluation.fusion_scores import (
    DomainClassifier,
    evenness,
    layout_kept,
    likeness,
    nearer_to_own,
)
from facemeld.evaluation.pairs import Domain, Judges, PairScorer
from facemeld.evaluation.pictures import as_levels
from facemeld.networks.head_geometry import HeadGeometryNetwork, angle_between, landmark_shift
from facemeld.networks.lpips import LPIPS
from facemeld.networks.mobilenet import MobileNetV2Features

SIDE = 32
NAMES = ("cat", "dog")
COUNT, REALS = 12, 30  # held-out and real faces of each domain
Mix = Callable[[Tensor, Tensor], Tensor]


class Grid:
    """In the place of Inception: mean colours of a grid, which cost nothing."""

    def features(self, levels: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(levels / 127.5 - 1, 6).flatten(1)


class Mixer(nn.Module):
    """A model whose styles are pictures, and whose results any function of source and style."""

    config = NetworkConfig(image_size=SIDE, domains=NAMES, latent_size=4)

    def __init__(self, mix: Mix) -> None:
        super().__init__()
        self.generator = self
        self.mix = mix
        self.anything = nn.Parameter(torch.zeros(()))

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, content: Tensor, styles: Tensor, masks: None = None) -> Tensor:
        return self.mix(content, styles.view_as(content))

    def forward(self, pictures: Tensor, styles: Tensor, masks: None) -> Tensor:
        return self.decode(pictures, styles, masks)

    def mapping_network(self, latents: Tensor, labels: Tensor) -> Tensor:
        return torch.zeros(len(latents), 3 * SIDE * SIDE)


CASES: dict[str, Mix] = {
    "source": lambda source, reference: source,
    "reference": lambda source, reference: reference,
    "blend": lambda source, reference: (source + reference) / 2,
    "mismatched": lambda source, reference: reference.roll(1, dims=0),
    "grey": lambda source, reference: torch.zeros_like(source),
}


def faces(name: str, first: int, count: int = COUNT) -> np.ndarray:
    drawn_now = [draw_face(name, i, SIDE) for i in range(first, first + count)]
    return np.stack([np.asarray(face) for face in drawn_now])


@pytest.fixture(scope="module")
def world() -> tuple[Judges, list[Domain]]:
    torch.manual_seed(0)
    measure = MobileNetV2Features()
    enliven(measure)
    inception = Grid()
    lpips, head = LPIPS(), HeadGeometryNetwork()
    lpips.load_published(drawn.alexnet(5), drawn.lpips_heads(6))
    head.load_published(drawn.head_pose(8))
    domains, real_light = [], []
    for place, name in enumerate(NAMES):
        held_out, reals = faces(name, 0), as_levels(faces(name, 100, REALS), "cpu")
        pictures = as_levels(held_out, "cpu") / 127.5 - 1
        real_light.append(measure(reals / 127.5 - 1))
        near = FeatureSet(inception.features(reals).numpy())
        styles, light = pictures.flatten(1), measure(pictures)
        domains.append(Domain(name, place, place, held_out, styles, light, near, near))
    labels = torch.arange(2).repeat_interleave(REALS)
    classifier = DomainClassifier(torch.cat(real_light), labels, 2)
    return Judges(inception, lpips, measure, head, classifier), domains


@pytest.fixture(scope="module")
def scores(world: tuple[Judges, list[Domain]]) -> dict[str, dict[str, float]]:
    """For each case the scores of cats turned into dogs, in reference mode."""
    return {name: score(world, mix)[1] for name, mix in CASES.items()}


def score(world: tuple[Judges, list[Domain]], mix: Mix, people=NAMES, batch: int = 5) -> list[dict]:
    judges, domains = world
    scorer = PairScorer(
        Mixer(mix), judges, protocol="clean", people=people, outputs=2, seed=0, batch=batch
    )
    return scorer.score(domains[0], domains[1], 2)


def test_structure(scores: dict) -> None:
    kept = {name: found["structure"] for name, found in scores.items()}
    assert kept["source"] == pytest.approx(1, abs=1e-3)
    assert kept["source"] > kept["blend"] > kept["reference"]
    assert kept["grey"] == pytest.approx(0, abs=1e-3)


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


def test_pose_is_left_out_where_one_side_is_no_person(world) -> None:
    assert "pose_degrees" not in score(world, CASES["source"], people=("cat",))[1]


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


def test_smoothness(world, scores: dict) -> None:
    def jump(source: Tensor, style: Tensor) -> Tensor:
        return torch.where(style.mean(dim=(1, 2, 3), keepdim=True) > 0, source, -source)

    smooth, sudden = score(world, CASES["reference"])[1], score(world, jump)[1]
    assert smooth["smoothness"] > 0.5
    assert sudden["smoothness"] is None or sudden["smoothness"] < 0.3
    assert score(world, CASES["grey"])[1]["smoothness"] is None  # a path that does not move


def test_evenness() -> None:
    steps = torch.tensor([[2.0, 2, 2, 2], [0, 8, 0, 0], [0, 0, 0, 0]])
    found = evenness(steps)
    assert found[:2].tolist() == [1.0, 0.25] and found[2].isnan()


def test_reconstruction(world) -> None:
    judges, domains = world
    gaps = []
    for mix in (CASES["reference"], CASES["blend"], CASES["grey"]):
        scorer = PairScorer(
            Mixer(mix), judges, protocol="clean", people=(), outputs=2, seed=0, batch=4
        )
        # under its own style a source is its own reference
        found = scorer.reconstruction(domains[0])
        gaps.append(found["reconstruction"])
        assert found["domain_accuracy_of_real"] > 0.8 and found["held_out"] == COUNT
    assert max(gaps[:2]) < 1e-6 and gaps[2] > 0.05


class Masked(Mixer):
    """A model that returns its mask, and cannot do without one."""

    def __init__(self) -> None:
        super().__init__(CASES["grey"])

    def decode(self, content: Tensor, styles: Tensor, masks: Tensor) -> Tensor:
        return masks[:, :1].expand(-1, 3, -1, -1)


def test_masked_models_get_masks_of_their_sources(world) -> None:
    judges, domains = world

    def luminance(pictures: Tensor) -> Tensor:
        return pictures.mean(dim=1, keepdim=True).expand(-1, 2, -1, -1)

    scorer = PairScorer(
        Masked(), judges, protocol="clean", people=(), outputs=2, seed=0, batch=5, masker=luminance
    )
    for found in scorer.score(domains[0], domains[1], 2):
        assert found["structure"] == pytest.approx(1, abs=1e-2)
    scorer.reconstruction(domains[0])


def test_results_do_not_depend_on_the_batch(world, scores: dict) -> None:
    again = score(world, CASES["blend"], batch=12)[1]
    for name, value in scores["blend"].items():
        if isinstance(value, float):
            assert again[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_every_reference_is_used_before_one_comes_twice(world) -> None:
    judges, domains = world
    scorer = PairScorer(
        Mixer(CASES["blend"]), judges, protocol="clean", people=(), outputs=3, seed=0, batch=4
    )
    styles, rows = scorer._styles(domains[0], domains[1], 1)
    assert rows.shape == (COUNT, 3) and styles["reference"].shape == (COUNT, 3, 3 * SIDE * SIDE)
    assert all(sorted(column) == list(range(COUNT)) for column in rows.T)
    assert torch.equal(styles["reference"][4, 2], domains[1].styles[rows[4, 2]])


def test_examples_are_the_extremes(scores: dict) -> None:
    for name in ("structure", "likeness", "domain_probability"):
        found = scores["blend"]["examples"][name]
        assert found["best"]["value"] >= scores["blend"][name] >= found["worst"]["value"]
        assert len(found["best"]["pictures"]) == 3


def test_a_model_that_diverged_is_told(world) -> None:
    with pytest.raises(UserError, match="not finite"):
        score(world, lambda source, style: source * torch.nan)


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
    sources = torch.randn(5, 8, 4, 4)
    which = torch.arange(5)
    recoloured = sources.flip(1) * 2 + 1
    torch.testing.assert_close(layout_kept(recoloured, sources, which), torch.ones(5))
    same_for_all = torch.randn(1, 8, 4, 4).expand(5, -1, -1, -1)
    assert layout_kept(same_for_all, sources, which).mean() == pytest.approx(0, abs=0.05)
    blend = layout_kept(sources + same_for_all, sources, which)
    assert ((blend > 0.1) & (blend < 0.9)).all()
    assert layout_kept(torch.zeros_like(sources), sources, which).abs().max() < 1e-6
    twice = torch.tensor([0, 1, 2, 3, 0])
    sources[4] = sources[0]
    torch.testing.assert_close(layout_kept(sources, sources, twice), torch.ones(5))
    assert layout_kept(sources[:1], sources[:1], which[:1]).isnan().all()
