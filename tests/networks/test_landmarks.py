"""The landmark network agrees with the official code, and says clearly what it cannot read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import official_landmarks
import pytest
import torch

from facemeld.errors import UserError
from facemeld.networks.landmarks import landmarks, read_landmark_network, skip_masks

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return official_landmarks.weights()


@pytest.fixture(scope="module")
def wing(tmp_path_factory, weights) -> Path:
    path = tmp_path_factory.mktemp("wing") / "wing.ckpt"
    torch.save({"state_dict": weights, "epoch": 80}, path)
    return path


@torch.inference_mode()
def test_agrees_with_what_the_official_code_computed(wing):
    expected = np.load(DATA / "official_landmarks.npz")
    network = read_landmark_network(wing)
    pictures = official_landmarks.pictures(1, 64)
    heatmaps = network(pictures)
    drawn = skip_masks(official_landmarks.face_heatmaps(1))
    found = {
        "heatmaps": heatmaps[..., ::8, ::8],
        "masks": network.masks(pictures)[..., ::8, ::8],
        "masks_of_drawn_heatmaps": drawn[..., ::8, ::8],
        "landmarks": landmarks(heatmaps),
    }
    assert set(found) == set(expected)
    for name, values in found.items():
        assert np.abs(values.numpy() - expected[name]).max() < 1e-4, name
        assert expected[name].std() > 0.1, "the comparison must be about something"


def test_the_second_mask_has_neither_brows_nor_mouth_nor_contour():
    heatmaps = torch.zeros(1, 98, 64, 64)
    for landmark, row in ((16, 60), (35, 10), (62, 20), (57, 35), (79, 45)):
        heatmaps[0, landmark, row, 32] = 1  # chin, brow, eye, nostril, upper lip
    first, second = skip_masks(heatmaps)[0]

    def rows(mask: torch.Tensor) -> set[int]:
        return {int(row) // 4 for row in mask.amax(1).gt(0.5).nonzero()}

    assert {60, 12, 33, 47} <= rows(first)
    assert not {60, 12, 47} & rows(second) and 33 in rows(second)


def test_landmarks_lean_a_quarter_towards_the_higher_neighbour():
    heatmaps = torch.zeros(1, 2, 64, 64)
    heatmaps[0, 0, 20, 10], heatmaps[0, 0, 20, 11], heatmaps[0, 0, 19, 10] = 1, 0.5, 0.5
    heatmaps[0, 1, 0, 63] = 1  # at the edge: no neighbours to compare
    expected = [[4 * 10.75, 4 * 20.25], [4 * 63.5, 4 * 0.5]]
    assert landmarks(heatmaps)[0].tolist() == expected


def test_reads_the_network_out_of_a_model_checkpoint(tmp_path, weights, wing):
    path = tmp_path / "100000_nets_ema.ckpt"
    torch.save({"fan": {f"module.{k}": v for k, v in weights.items()}, "generator": {}}, path)
    expected = read_landmark_network(wing).state_dict()
    for name, tensor in read_landmark_network(path).state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("fault", ["missing", "shape", "nan", "other", "code"])
def test_refuses_what_is_not_this_network(tmp_path, weights, fault):
    content = {"state_dict": dict(weights)}
    name = "m0.b2_plus_1.conv2.weight"
    if fault == "missing":
        del content["state_dict"][name]
    elif fault == "shape":
        content["state_dict"][name] = torch.zeros(3)
    elif fault == "nan":
        content["state_dict"][name] = torch.full_like(weights[name], torch.nan)
    elif fault == "other":
        content = {"generator": {}}
    elif fault == "code":
        content = {"state_dict": weights, "run": Path}
    path = tmp_path / "wing.ckpt"
    torch.save(content, path)
    with pytest.raises(UserError) as caught:
        read_landmark_network(path)
    assert str(path) in str(caught.value)
