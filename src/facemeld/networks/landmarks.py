"""The landmark network of the official StarGAN v2, and the masks that its skips are given.

An hourglass (Newell et al. 2016) of hierarchical residual blocks (Bulat & Tzimiropoulos 2017) that
knows where each pixel is (Wang et al. 2019, Adaptive Wing Loss). It answers with heatmaps of the
98 landmarks of WFLW; from them come the two masks of ``masked`` skips (Choi et al. 2020, appendix
A): one of all features of the face for coarse maps, one without contour, brows and mouth for fine
ones. Only the layout of the weights is the official one; `read_landmark_network` reads them.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemeld.errors import UserError
from facemeld.networks.torch_file import read_torch_file

SIDE = 256
"""Side of the pictures that the network looks at, and of the masks, in pixels."""
LANDMARKS = 98
_DEPTH = 4
_STRIDE = 4  # picture pixels a heatmap pixel


class HierarchicalBlock(nn.Module):
    """Residual block whose three convolutions each give a part of the output channels.

    Args:
        inputs: channels in.
        outputs: channels out: a half, a quarter and a quarter.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        widths = (inputs, outputs // 2, outputs // 4, outputs // 4)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[:3])
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in zip(widths, widths[1:])
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        parts, y = [], x
        for norm, conv in zip(self.norms, self.convs):
            y = conv(F.relu(norm(y)))
            parts.append(y)
        return torch.cat(parts, dim=1) + self.shortcut(x)


class Hourglass(nn.Module):
    """One level: keeps its resolution beside what the levels below it see at half of it."""

    def __init__(self, depth: int, width: int = 256) -> None:
        super().__init__()
        self.beside = HierarchicalBlock(width, width)
        self.before = HierarchicalBlock(width, width)
        inner = Hourglass(depth - 1, width) if depth > 1 else HierarchicalBlock(width, width)
        self.inner = inner
        self.after = HierarchicalBlock(width, width)

    def forward(self, x: Tensor) -> Tensor:
        below = self.after(self.inner(self.before(F.avg_pool2d(x, 2))))
        return self.beside(x) + F.interpolate(below, scale_factor=2, mode="nearest")


class LandmarkNetwork(nn.Module):
    """Pictures to heatmaps of 98 landmarks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3 + 3, 64, 7, stride=2, padding=3)
        self.stem_norm = nn.BatchNorm2d(64)
        self.blocks = nn.ModuleList(
            (HierarchicalBlock(64, 128), HierarchicalBlock(128, 128), HierarchicalBlock(128, 256))
        )
        self.place = nn.Conv2d(256 + 3, 256, 1)
        self.hourglass = Hourglass(_DEPTH)
        self.top = HierarchicalBlock(256, 256)
        self.last = nn.Conv2d(256, 256, 1)
        self.last_norm = nn.BatchNorm2d(256)
        self.to_heatmaps = nn.Conv2d(256, LANDMARKS + 1, 1)  # the last one: the contour, not used

    def forward(self, pictures: Tensor) -> Tensor:
        """B 3 H W in [-1, 1], any size -> B 98 64 64, about 1 at each landmark."""
        x = F.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        x = F.relu(self.stem_norm(self.stem(_with_places(x * 0.5 + 0.5))))  # B 64 128 128
        widen, keep, widen_more = self.blocks
        x = widen_more(keep(F.avg_pool2d(widen(x), 2)))  # B 256 64 64
        x = self.top(self.hourglass(self.place(_with_places(x))))
        x = F.relu(self.last_norm(self.last(x)))
        return self.to_heatmaps(x)[:, :LANDMARKS]

    @torch.no_grad()
    def masks(self, pictures: Tensor) -> Tensor:
        """The masks of pictures for ``masked`` skips. B 3 H W -> B 2 256 256 in [0, 1]"""
        return skip_masks(self(pictures))


def _with_places(x: Tensor) -> Tensor:
    """Three more maps: row and column in [-1, 1], and the distance from the centre, at most 1."""
    rows = torch.linspace(-1, 1, x.shape[2], device=x.device)[:, None].expand(x.shape[2:])
    columns = torch.linspace(-1, 1, x.shape[3], device=x.device).expand(x.shape[2:])
    distance = (rows.square() + columns.square()).sqrt()
    places = torch.stack([rows, columns, distance / distance.max()]).to(x.dtype)
    return torch.cat([x, places.expand(len(x), -1, -1, -1)], dim=1)


def landmarks(heatmaps: Tensor) -> Tensor:
    """Where the heatmaps peak, a quarter pixel towards the higher neighbour. B K H W -> B K 2

    In pixels of a picture of 256 x 256, x first.
    """
    b, k, height, width = heatmaps.shape
    index = heatmaps.flatten(2).argmax(2)  # B K
    x, y = index % width, index // width
    inner = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)

    def at(dx: int, dy: int) -> Tensor:
        place = (y + dy).clamp(0, height - 1) * width + (x + dx).clamp(0, width - 1)
        return heatmaps.flatten(2).gather(2, place[..., None])[..., 0]

    slope = torch.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], dim=-1).sign()
    peak = torch.stack([x, y], dim=-1).to(heatmaps.dtype) + 0.5
    return (peak + 0.25 * slope * inner[..., None]) * _STRIDE


_CONTOUR = slice(8, 25)  # the chin; the cheeks are left out
_BROWS = slice(33, 51)
_NOSTRILS = slice(55, 60)
_UPPER_LIP = slice(77, 82)
_LOWER_LIP = slice(83, 88)
_INNER_LIPS = slice(88, 96)
_LIPS = slice(76, 96)
_NOSE_BELOW_ROOT = slice(52, 55)
_EYES = slice(60, 76)
_MOVED = (  # part, pixels downwards at 256, exponent
    (_CONTOUR, 0, 3),
    (_BROWS, 7, 2),
    (_NOSTRILS, -8, 4),
    (_UPPER_LIP, 8, 4),
    (_LOWER_LIP, -8, 4),
    (_INNER_LIPS, 2, 3),
)
_LEFT_OUT = (*range(8), *range(25, 33), 33, 46, 76, 82)  # cheeks, outer ends of brows and lips
_LEAST = 0.1


def skip_masks(heatmaps: Tensor) -> Tensor:
    """The two masks of ``masked`` skips. B 98 64 64 -> B 2 256 256 in [0, 1]

    Each heatmap is cut off below 0.1, stretched to [0, 1], moved and raised to a power, so that
    brows, eyes, nostrils and lips are covered; the sum of all is the first mask, the sum without
    contour, brows and lips the second.
    """
    x = F.interpolate(heatmaps, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
    x = torch.where(x < _LEAST, 0.0, x)
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    x = (x - low) / (high - low + 1e-6)
    for part, down, exponent in _MOVED:
        x[:, part] = x[:, part].roll(down, dims=2) ** exponent
    x[:, _LEFT_OUT] = 0
    x[:, _NOSE_BELOW_ROOT] = x[:, _NOSE_BELOW_ROOT].roll(-4, dims=2)
    x[:, _EYES] = x[:, _EYES].roll(8, dims=2) ** 3 + x[:, _EYES].roll(24, dims=2)
    inner = x.clone()
    for part in (_CONTOUR, _BROWS, _LIPS):
        inner[:, part] = 0
    return torch.stack([x.sum(1), inner.sum(1)], dim=1).clamp(0, 1)


def read_landmark_network(path: Path) -> LandmarkNetwork:
    """The network with official weights, in eval mode and without gradients.

    Args:
        path: ``wing.ckpt``, or a ``*_nets_ema.ckpt`` of a model with high-pass skips, which
            carries the network as ``fan``.

    Raises:
        UserError: the file is damaged, holds more than weights, or not this network's.
    """
    content = read_torch_file(path)
    weights = None
    if isinstance(content, dict):
        weights = content.get("state_dict") or content.get("fan")
    if not isinstance(weights, dict) or not all(isinstance(k, str) for k in weights):
        raise _not_this_network(path, "neither state_dict nor fan is in it")
    weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    with torch.device("meta"):
        network = LandmarkNetwork()
    found = {}
    for name, expected in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            found[name] = torch.zeros((), dtype=torch.long)
            continue
        tensor = weights.get(official_name(name))
        if not isinstance(tensor, Tensor) or tensor.shape != expected.shape:
            raise _not_this_network(path, f"{official_name(name)} is missing or of another shape")
        found[name] = tensor.float().clone()
        if not torch.isfinite(found[name]).all():
            raise _not_this_network(path, f"{official_name(name)} is not finite")
    network.load_state_dict(found, assign=True)
    return network.eval().requires_grad_(False)


def official_name(name: str) -> str:
    """What the official code calls a tensor of LandmarkNetwork."""
    depth = _DEPTH - name.count("inner.")
    for own, theirs in (
        (r"^stem\.", "conv1.conv."),
        (r"^stem_norm\.", "bn1."),
        (r"^blocks\.(\d)\.", lambda m: f"conv{int(m[1]) + 2}."),
        (r"^place\.", "m0.coordconv.conv."),
        (r"^top\.", "top_m_0."),
        (r"^last\.", "conv_last0."),
        (r"^last_norm\.", "bn_end0."),
        (r"^to_heatmaps\.", "l0."),
        (r"^hourglass\.(inner\.)*beside\.", f"m0.b1_{depth}."),
        (r"^hourglass\.(inner\.)*before\.", f"m0.b2_{depth}."),
        (r"^hourglass\.(inner\.)*after\.", f"m0.b3_{depth}."),
        (r"^hourglass\.(inner\.)+(?=norms|convs)", "m0.b2_plus_1."),
        (r"norms\.(\d)", lambda m: f"bn{int(m[1]) + 1}"),
        (r"convs\.(\d)", lambda m: f"conv{int(m[1]) + 1}"),
        (r"shortcut\.", "downsample."),
    ):
        name = re.sub(own, theirs, name)
    return name


def _not_this_network(path: Path, why: str) -> UserError:
    return UserError(
        f"not the landmark network of the official StarGAN v2: {why}",
        where=str(path),
        fix="give wing.ckpt as it was published",
    )
