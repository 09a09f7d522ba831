"""Pose and landmarks of a human head by 3DDFA v2's MobileNet (Guo et al. 2020, MIT), frozen.

The published network regresses the parameters of a morphable model, of which the first twelve are
the camera, and 68 landmarks of the picture. Both are read here; the shape model is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BATCH_NORM_EPSILON = 1e-5
_INPUT = 120  # side in pixels
# name, channels out, stride of each depthwise separable block
BLOCKS = (
    ("dw2_1", 32, 1),
    ("dw2_2", 64, 2),
    ("dw3_1", 64, 1),
    ("dw3_2", 128, 2),
    ("dw4_1", 128, 1),
    ("dw4_2", 256, 2),
    *((f"dw5_{index}", 256, 1) for index in range(1, 6)),
    ("dw5_6", 512, 2),
    ("dw6", 512, 1),
)
# What 3DDFA v2 standardised its camera parameters with: mean and deviation of the first two rows
# of rotation times scale (param_mean_std_62d_120x120).
_CAMERA_ROWS = (0, 1, 2, 4, 5, 6)
CAMERA_MEAN = (3.4926e-04, 2.5279e-07, -6.8752e-07, -6.2955e-07, 5.7572e-04, -5.0854e-05)
CAMERA_DEVIATION = (1.7632e-04, 6.7379e-05, 4.4708e-04, 1.2314e-04, 4.4930e-05, 7.9237e-05)
EYES = (36, 45)
"""The outer corners of the eyes among the 68 landmarks."""


@dataclass(frozen=True)
class HeadGeometry:
    """Geometry of B heads."""

    rotation: Tensor
    """B 3 3, rotation matrices."""
    landmarks: Tensor
    """B 68 2: x to the right and y down, -1 to 1 over the picture."""


class HeadGeometryNetwork(nn.Module):
    """MobileNet of half width with its batch norms folded in."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        layers, inputs = [], 16
        for _, outputs, stride in BLOCKS:
            layers.append(nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs))
            layers.append(nn.Conv2d(inputs, outputs, 1))
            inputs = outputs
        self.layers = nn.ModuleList(layers)
        self.camera = nn.Linear(inputs, len(_CAMERA_ROWS))
        self.landmarks = nn.Linear(inputs, 136)
        self.register_buffer("mean", torch.tensor(CAMERA_MEAN))
        self.register_buffer("deviation", torch.tensor(CAMERA_DEVIATION))
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> HeadGeometry:
        """B 3 H W in [-1, 1], each filled by one upright face from forehead to chin."""
        x = F.interpolate(pictures.flip(1), size=(_INPUT, _INPUT), mode="bilinear", antialias=True)
        x = F.relu(self.stem(x * (127.5 / 128)))
        for layer in self.layers:
            x = F.relu(layer(x), inplace=True)
        x = x.mean(dim=(2, 3))
        rows = (self.camera(x) * self.deviation + self.mean).view(-1, 2, 3)
        across, down = F.normalize(rows, dim=2).unbind(1)
        down = F.normalize(down - (across * down).sum(1, keepdim=True) * across, dim=1)
        rotation = torch.stack([across, down, torch.linalg.cross(across, down)], dim=1)
        return HeadGeometry(rotation, self.landmarks(x).view(-1, 2, 68).transpose(1, 2))

    def load_published(self, weights: dict[str, Tensor]) -> None:
        """Loads the state dict of 3DDFA v2's ``mb05_120x120.pth``.

        Raises:
            KeyError: a layer is missing.
        """
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
        _fold(self.stem, weights, "conv1", "bn1")
        names = [f"{name}.{{}}_{kind}" for name, _, _ in BLOCKS for kind in ("dw", "sep")]
        for layer, name in zip(self.layers, names, strict=True):
            _fold(layer, weights, name.format("conv"), name.format("bn"))
        self.camera.weight.copy_(weights["fc_param.weight"][list(_CAMERA_ROWS)])
        self.camera.bias.copy_(weights["fc_param.bias"][list(_CAMERA_ROWS)])
        self.landmarks.weight.copy_(weights["fc_lm.weight"])
        self.landmarks.bias.copy_(weights["fc_lm.bias"])


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """The angle in degrees by which one head would have to turn to take the other's pose.

    B 3 3 rotation matrices twice -> B
    """
    trace = (a * b).sum(dim=(1, 2))
    return torch.rad2deg(torch.acos(((trace - 1) / 2).clamp(-1, 1)))


def landmark_shift(a: Tensor, b: Tensor) -> Tensor:
    """Mean distance of corresponding landmarks, in shares of the first head's eye distance.

    B 68 2 twice -> B
    """
    eyes = (a[:, EYES[0]] - a[:, EYES[1]]).norm(dim=1)
    return (a - b).norm(dim=2).mean(dim=1) / eyes.clamp(min=1e-3)


def _fold(layer: nn.Conv2d, weights: dict[str, Tensor], name: str, norm: str) -> None:
    variance = weights[norm + ".running_var"] + _BATCH_NORM_EPSILON
    scale = weights[norm + ".weight"] / torch.sqrt(variance)
    layer.weight.copy_(weights[name + ".weight"] * scale[:, None, None, None])
    layer.bias.copy_(weights[norm + ".bias"] - weights[norm + ".running_mean"] * scale)
