"""Soft masks of an aligned face's regions, and the 98 heatmaps that masked skips start from.

People's features follow their 66 landmarks; those of animals and drawn faces, and everyone's ears
and hair, are ellipses about the five points, since nothing that finds their outlines is at hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from facemeld.faces.templates import template

PARTS = ("eyes", "brows", "nose", "mouth", "skin", "ears", "hair", "around")
"""Every pixel is of one of them; an animal's hair is the fur beside its face."""
WHOLE = ("eyes", "brows", "nose", "mouth", "skin", "outer")
"""Regions that together are the whole picture."""
REGIONS = (*WHOLE, "ears", "hair", "fur")
"""Names of regions; an animal's hair is its fur, a person's fur the hair."""
SOFTNESS = 0.02
"""Deviation of the blur of edges that nobody asked otherwise of, a share of the side."""

_SIDE = 256  # pixels that regions are drawn at
_HEATMAP_SIDE = 64
_HEATMAP_DEVIATION = 1.2  # pixels of the heatmap

# Centre (outwards or right, down) and half axes of each part's ellipse, in distances of the eyes;
# measured from each eye for eyes, brows and ears, from the template's nose and mouth, and for skin
# and hair from the middle between eyes and mouth. Those on top last.
_ELLIPSES = {
    "human": {
        "hair": (0.0, -0.45, 1.50, 1.75),
        "ears": (0.52, 0.30, 0.16, 0.36),
        "skin": (0.0, -0.05, 1.0, 1.35),
        "nose": (0.0, -0.16, 0.24, 0.38),
        "mouth": (0.0, 0.02, 0.50, 0.22),
        "brows": (0.0, -0.27, 0.33, 0.10),
        "eyes": (0.0, 0.0, 0.26, 0.14),
    },
    "animal": {
        "hair": (0.0, 0.05, 1.75, 1.65),
        "ears": (0.65, -0.85, 0.55, 0.65),
        "skin": (0.0, -0.10, 1.25, 1.30),
        "nose": (0.0, -0.05, 0.30, 0.26),
        "mouth": (0.0, 0.12, 0.50, 0.24),
        "brows": (0.0, -0.38, 0.32, 0.12),
        "eyes": (0.0, 0.0, 0.28, 0.24),
    },
    "anime": {
        "hair": (0.0, -0.30, 1.50, 1.55),
        "ears": (0.58, 0.30, 0.16, 0.28),
        "skin": (0.0, -0.10, 0.95, 0.98),
        "nose": (0.0, -0.04, 0.11, 0.12),
        "mouth": (0.0, 0.0, 0.30, 0.15),
        "brows": (0.0, -0.46, 0.36, 0.09),
        "eyes": (0.0, 0.03, 0.30, 0.34),
    },
}


def region_masks(
    kind: str,
    size: int,
    names: Sequence[str] = WHOLE,
    *,
    landmarks: np.ndarray | None = None,
    points: np.ndarray | None = None,
    softness: float = SOFTNESS,
) -> dict[str, np.ndarray]:
    """How much each pixel of an aligned face belongs to each region.

    A part that several of the regions hold, as ``outer`` and ``ears`` do, is of the smallest.

    Args:
        kind: human, animal or anime.
        size: side of the aligned picture in pixels.
        names: of REGIONS.
        landmarks: 66 2, of a person, in pixels of the aligned picture (see LandmarkFinder).
        points: 5 2, where eyes, nose and mouth really are, in pixels of the aligned picture; the
            template's if not given. Not used with ``landmarks``.
        softness: deviation of the blur of the edges, a share of the side.

    Returns:
        For each name a float32 map, size x size, in [0, 1]; those of WHOLE sum to 1.
    """
    scale = _SIDE / size
    if landmarks is not None:
        shapes = _human_shapes(np.asarray(landmarks) * scale)
    else:
        places = template(kind, _SIDE) if points is None else np.asarray(points) * scale
        shapes = _ellipses(_ELLIPSES[kind], places)
    labels = np.full((_SIDE, _SIDE), PARTS.index("around"), np.uint8)
    for name, outline in shapes:
        cv2.fillPoly(labels, [np.rint(outline).astype(np.int32)], PARTS.index(name))
    method = cv2.INTER_AREA if size < _SIDE else cv2.INTER_LINEAR
    masks = {}
    for name, parts in _shared_out(kind, names).items():
        mask = np.isin(labels, [PARTS.index(part) for part in parts]).astype(np.float32)
        if softness:
            # A blur is linear, so masks that sum to 1 do after it.
            deviation = softness * _SIDE
            mask = cv2.GaussianBlur(mask, (0, 0), deviation, borderType=cv2.BORDER_REPLICATE)
        masks[name] = cv2.resize(mask, (size, size), interpolation=method)
    return masks


def _shared_out(kind: str, names: Sequence[str]) -> dict[str, list[str]]:
    """The parts of each region; one that several hold goes to that with the fewest."""
    coat = ("hair", "skin", "brows") if kind == "animal" else ("hair",)
    several = {"outer": ("ears", "hair", "around"), "hair": coat, "fur": coat}
    held = {name: several.get(name, (name,)) for name in names}
    shares: dict[str, list[str]] = {name: [] for name in names}
    for part in PARTS:
        if holders := [name for name in names if part in held[name]]:
            shares[min(holders, key=lambda name: len(held[name]))].append(part)
    return shares


def _human_shapes(points: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Outlines by name, those on top last."""
    left_eye, right_eye = points[36:42], points[42:48]
    distance = np.linalg.norm(right_eye.mean(0) - left_eye.mean(0))
    down = points[8] - points[27]
    down = down / np.linalg.norm(down)
    brows = (points[17:22], points[22:27])
    forehead = np.concatenate(brows) - 0.5 * distance * down
    over, under = 0.06 * distance * down, 0.1 * distance * down
    eyes = [left_eye.mean(0), right_eye.mean(0)]
    five = np.stack([*eyes, points[30], points[48], points[54]])
    beside = {name: _ELLIPSES["human"][name] for name in ("hair", "ears")}
    return [
        *_ellipses(beside, five),
        ("skin", _hull(np.concatenate([points[:17], forehead]))),
        ("nose", _hull(_grown(points[27:36], 1.2))),
        ("mouth", _hull(_grown(points[48:60], 1.2))),
        *(("brows", _hull(np.concatenate([brow - over, brow + under]))) for brow in brows),
        *(("eyes", _hull(_grown(eye, 1.6))) for eye in (left_eye, right_eye)),
    ]


def _grown(points: np.ndarray, factor: float) -> np.ndarray:
    return points.mean(0) + factor * (points - points.mean(0))


def _hull(points: np.ndarray) -> np.ndarray:
    return cv2.convexHull(points.astype(np.float32))[:, 0]


def _ellipses(shapes: dict, points: np.ndarray) -> list[tuple[str, np.ndarray]]:
    left, right, nose = points[:3]
    mouth, eyes = points[3:].mean(0), points[:2].mean(0)
    across = right - left
    down = np.array([-across[1], across[0]])
    if down @ (mouth - eyes) < 0:
        down = -down
    middle, pair = (eyes + mouth) / 2, [(left, -1), (right, 1)]
    centres = {"hair": [(middle, 1)], "skin": [(middle, 1)], "nose": [(nose, 1)]}
    centres |= {"mouth": [(mouth, 1)], "ears": pair, "brows": pair, "eyes": pair}
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)[:, None]
    outlines = []
    for name, (x, y, half_width, half_height) in shapes.items():
        for centre, side in centres[name]:
            middle = centre + side * x * across + y * down
            ring = half_width * np.cos(angle) * across + half_height * np.sin(angle) * down
            outlines.append((name, middle + ring))
    return outlines


def as_98_landmarks(points: np.ndarray) -> np.ndarray:
    """The 98 landmarks of WFLW (Wu et al. 2018) by interpolation between those 66. 66 2 -> 98 2"""
    left_eye, right_eye = points[36:42], points[42:48]
    distance = np.linalg.norm(right_eye.mean(0) - left_eye.mean(0))
    down = points[8] - points[27]
    below = 0.06 * distance * down / np.linalg.norm(down)
    left_brow, right_brow = points[17:22], points[22:27]
    upper_lip, lower_lip = points[48:55], points[[54, 55, 56, 57, 58, 59, 48]]
    corners = points[[48, 54]]
    inside = 0.9 * (corners - corners.mean(0)) + corners.mean(0)
    return np.concatenate(
        [
            _along(points[:17], 33),
            left_brow,
            _along(left_brow[::-1], 5)[:4] + below,
            right_brow,
            _along(right_brow[::-1], 5)[:4] + below,
            points[27:36],
            *(
                part
                for eye in (left_eye, right_eye)
                for part in (_along(eye[:4], 5)[:4], _along(eye[[3, 4, 5, 0]], 5)[:4])
            ),
            _along(upper_lip, 7),
            _along(lower_lip, 7)[1:6],
            inside[:1],
            points[60:63],
            inside[1:],
            points[63:66],
            left_eye.mean(0, keepdims=True),
            right_eye.mean(0, keepdims=True),
        ]
    )


def heatmaps(points: np.ndarray, size: int) -> np.ndarray:
    """Heatmaps as the official landmark network answers: a bell curve a landmark.

    Args:
        points: K 2, in pixels of a picture of ``size`` x ``size``.

    Returns:
        K 64 64, float32; `networks.landmarks.skip_masks` makes masks of 98 of them.
    """
    centres = np.asarray(points)[:, :, None, None] * (_HEATMAP_SIDE / size) - 0.5
    y, x = np.mgrid[:_HEATMAP_SIDE, :_HEATMAP_SIDE]
    distance = (x - centres[:, 0]) ** 2 + (y - centres[:, 1]) ** 2
    return np.exp(-distance / (2 * _HEATMAP_DEVIATION**2)).astype(np.float32)


def _along(line: np.ndarray, count: int) -> np.ndarray:
    """Points at equal distances along a line of points, both ends included. -> count 2"""
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    place = np.concatenate([[0], np.cumsum(steps)])
    wanted = np.linspace(0, place[-1], count)
    return np.stack([np.interp(wanted, place, line[:, axis]) for axis in (0, 1)], axis=1)
