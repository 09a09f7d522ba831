"""Compares the landmark network and its masks with the official StarGAN v2 code.

    git clone https://github.com/clovaai/stargan-v2
    python benchmarks/parity_landmarks.py --peer stargan-v2

gives both the same generated weights and pictures, prints the largest absolute difference of
heatmaps, landmarks (pixels of 256) and masks, and exits with 1 if one is above 1e-4. The peer's
code is CC BY-NC 4.0 and stays where you put it. Only its core/wing.py is run; packages that it
imports for its aligner are replaced by empty modules.

``--fixture FILE`` also writes the numbers that tests/networks compares with.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facemeld.networks.landmarks import landmarks, read_landmark_network, skip_masks

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "networks"))
import official_landmarks  # noqa: E402

TOLERANCE = 1e-4


class Attributes(dict):
    """What munch.Munch is, as far as the peer needs it."""

    __getattr__ = dict.__getitem__


def load_peer(checkout: Path) -> types.ModuleType:
    """The official core/wing.py as a module."""
    path = checkout / "core" / "wing.py"
    if not path.is_file():
        sys.exit(f"no core/wing.py in {checkout}: give a checkout of clovaai/stargan-v2")
    stand_ins = {"munch": {"Munch": Attributes}, "cv2": {}, "skimage": {}}
    stand_ins["skimage.filters"] = {"gaussian": None}
    before = {name: sys.modules.get(name) for name in stand_ins}
    for name, members in stand_ins.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(members)
    spec = importlib.util.spec_from_file_location("official_wing", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        for name, original in before.items():
            del sys.modules[name]
            if original is not None:
                sys.modules[name] = original
    return module


@torch.inference_mode()
def compare(
    peer: types.ModuleType, seed: int, batch_size: int, side: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """For each output the official values and ours."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wing.ckpt"
        torch.save({"state_dict": official_landmarks.weights(seed)}, path)
        official = peer.FAN(fname_pretrained=str(path)).eval()
        ours = read_landmark_network(path)
    pictures = official_landmarks.pictures(batch_size, side)
    heatmaps = official.get_heatmap(pictures, b_preprocess=False)
    faces = official_landmarks.face_heatmaps(batch_size)
    found = {
        "heatmaps": (heatmaps, ours(pictures)),
        "masks": (_pair(official.get_heatmap(pictures)), ours.masks(pictures)),
        "masks of drawn heatmaps": (_pair(peer.preprocess(_enlarged(faces))), skip_masks(faces)),
        "landmarks": (official.get_landmark(_enlarged(pictures)), landmarks(heatmaps)),
    }
    return found


def _pair(masks: tuple[Tensor, Tensor]) -> Tensor:
    return torch.cat(masks, dim=1)


def _enlarged(maps: Tensor) -> Tensor:
    corners = maps.shape[1] > 3
    size = dict(size=256, mode="bilinear", align_corners=corners)
    return torch.nn.functional.interpolate(maps, **size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", type=Path, required=True, help="checkout of clovaai/stargan-v2")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--fixture", type=Path, help="file for the numbers of tests/networks")
    options = parser.parse_args()
    peer = load_peer(options.peer)
    if options.fixture:
        arrays = {
            name.replace(" ", "_"): (official[..., ::8, ::8] if official.dim() == 4 else official)
            for name, (official, _) in compare(peer, seed=0, batch_size=1, side=64).items()
        }
        np.savez_compressed(options.fixture, **{k: v.numpy() for k, v in arrays.items()})

    worst = 0.0
    print("| seed | px | output | largest value | largest difference |")
    print("|---|---|---|---|---|")
    for seed in options.seeds:
        for side in options.sides:
            for name, (official, ours) in compare(peer, seed, options.batch_size, side).items():
                difference = (official - ours).abs().max().item()
                worst = max(worst, difference)
                row = f"{seed} | {side} | {name} | {official.abs().max():.3g} | {difference:.1e}"
                print(f"| {row} |", flush=True)
    print(f"\nlargest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
