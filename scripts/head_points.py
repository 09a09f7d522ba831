"""Eyes and noses of animals, read after those of some that a person read.

A small network on ImageNet features gives a map for each eye and the nose; the means of the maps
are the points.
"""

from __future__ import annotations

import math
import sys
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from head_scenes import CROP, on_centres, placement, recoloured
from torch import Tensor, nn

from facemeld.data.catalogue import find_weights
from facemeld.faces.geometry import transform
from facemeld.networks.features import EfficientNetLite0

READER_SIDE = 128


class PointReader(nn.Module):
    """Maps of the two eyes and the nose from ImageNet features; their means are the points."""

    def __init__(self, channels: int, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("deviation", deviation)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 64, 1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 3, 1),
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """B C N N -> points B 3 2 in shares of the side, and B: how peaked the flattest map is."""
        logits = self.layers(features.float() / self.deviation)
        maps = logits.flatten(2).softmax(-1).view_as(logits)
        place = (torch.arange(maps.shape[-1]) + 0.5) / maps.shape[-1]
        x, y = (maps.sum(2) * place).sum(-1), (maps.sum(3) * place).sum(-1)
        return torch.stack([x, y], -1), maps.flatten(2).amax(-1).amin(-1)


def read_points(
    animals: np.ndarray, known: dict[int, np.ndarray], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The points of all animals after those of some.

    Args:
        animals: N 128 128 3, RGB.
        known: index -> 3 2, shares of the side.

    Returns:
        N 3 2, and N: how sure.
    """
    network = features(READER_SIDE)
    indices = list(known)
    held = set(random.permutation(indices)[: len(indices) // 6].tolist())
    inputs, points = [], []
    for index in indices:
        if index in held:
            continue
        varied = [_varied(animals[index], known[index], random, 5 * [False] + [True])]
        inputs.append(_maps(network, varied[0][0]))
        points.append(varied[0][1])
    x, y = torch.cat(inputs), torch.from_numpy(np.concatenate(points)).float()
    reader = PointReader(x.shape[1], x[:300].float().std((0, 2, 3), keepdim=True) + 1e-3)
    epochs, batch = 14, 32
    steps = epochs * (len(x) // batch)
    optimiser = torch.optim.AdamW(reader.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps + 1)
    for step in range(steps):
        chosen = torch.from_numpy(random.choice(len(x), batch, replace=False))
        loss = (reader(x[chosen])[0] - y[chosen]).norm(dim=-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    found, sure = [], []
    with torch.no_grad():
        for some in np.array_split(np.arange(len(animals)), len(animals) // 32):
            sized = [cv2.resize(p, (READER_SIDE,) * 2, interpolation=3) for p in animals[some]]
            result = reader(_maps(network, np.stack(sized)))
            found.append(result[0].numpy())
            sure.append(result[1].numpy())
    found, sure = np.concatenate(found), np.concatenate(sure)
    errors = [np.linalg.norm(found[i] - known[i], axis=1).mean() for i in held]
    say(
        f"read points of {len(animals)} animals; median error of {len(held)} held out "
        f"{np.median(errors):.3f}, mean {np.mean(errors):.3f} of the side"
    )
    for index, exact in known.items():
        found[index], sure[index] = exact, 1.0
    return found, sure


def features(side: int) -> EfficientNetLite0:
    """The published ImageNet network, for pictures of this side."""
    network = EfficientNetLite0(input_size=side).eval()
    weights = torch.load(find_weights("efficientnet-lite0"), weights_only=True)
    network.load_published(weights)
    return network


def _maps(network: EfficientNetLite0, pictures: np.ndarray) -> Tensor:
    """B N N 3, 0 to 255 -> B C N/8 N/8, the taps on one grid."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).float().permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        taps = network(x)
    size = taps[1].shape[-2:]
    same = [F.interpolate(t, size=size, mode="bilinear") for t in taps[2:]]
    return torch.cat([F.avg_pool2d(taps[0], 2), taps[1], *same], 1).half()


def _varied(
    picture: np.ndarray, points: np.ndarray, random: np.random.Generator, plain: list[bool]
) -> tuple[np.ndarray, np.ndarray]:
    """Versions of a crop, moved, mirrored and recoloured unless plain, and their points."""
    side = READER_SIDE
    pictures, places = [], []
    for is_plain in plain:
        roll, scale, shift = 0.0, 1.0, np.zeros(2)
        if not is_plain:
            roll, scale = random.normal(0, 0.2), math.exp(random.normal(0, 0.15))
            shift = random.normal(0, 0.05, 2)
        matrix = placement(side * scale, roll, side * (0.5 + shift))
        moved = cv2.warpAffine(
            picture, on_centres(matrix), (side, side), flags=3, borderMode=cv2.BORDER_REFLECT
        )
        at = transform(matrix, points * CROP) / side
        if not is_plain and random.random() < 0.5:
            moved, at = moved[:, ::-1], (at * (-1, 1) + (1, 0))[[1, 0, 2]]
        pictures.append(moved if is_plain else recoloured(moved, random))
        places.append(at)
    return np.stack(pictures), np.stack(places)


def say(text: str) -> None:
    """Progress, with the time of day."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)
