"""Faces of people, animals and anime characters in a picture: box, five points, score and kind.

YuNet finds people; a network of our own, which needs onnxruntime, finds animals and drawn faces
and says which kind a face is. Without YuNet's file or onnxruntime cascades stand in. What is found,
measured, is in docs/data.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from facemeld.data.catalogue import MissingWeights, find_weights
from facemeld.errors import UserError, did_you_mean
from facemeld.faces.geometry import similarity, transform
from facemeld.faces.heads import Head, HeadFinder
from facemeld.faces.opencv import Cascade, EyePair, Find, YuNet, own_cascade
from facemeld.faces.templates import KINDS

AUTO = "auto"

# Least weights of each detector: below, more is found in leaves and curtains than in faces.
_YUNET_LEAST = 0.5
_HUMAN_LEAST = 0.7
_HUMAN_CERTAIN = 0.9
_HEAD_LEAST = 0.6
_CASCADE_LEAST = {"human": 3.5, "animal": 0.8, "anime": 1.0}
_FILES = {
    "human": "haarcascade_frontalface_default.xml",
    "animal": "haarcascade_frontalcatface_extended.xml",
}
_MOST_PIXELS = 1600  # a side; detection looks at no finer a picture
_SAME_FACE = 0.4  # distance of two centres in sides of the larger box
_SAME_SIZE = 0.45  # least ratio of the two sides: a nose can look like a face of its own
_BORDER = 0.4  # share of the side that tight crops are surrounded with

_IN_BOX = {
    "human": ((0.315, 0.37), (0.70, 0.37), (0.505, 0.605), (0.335, 0.757), (0.68, 0.757)),
    "animal": ((0.31, 0.29), (0.70, 0.29), (0.51, 0.585), (0.42, 0.70), (0.61, 0.70)),
    "anime": ((0.32, 0.383), (0.673, 0.383), (0.497, 0.541), (0.42, 0.643), (0.57, 0.643)),
}
"""Where the five points lie in the box of each kind's cascade, on average, in shares of the box."""


@dataclass(frozen=True)
class FaceDetection:
    """One face in a picture; pixels, with the picture's top left corner at (0, 0)."""

    box: tuple[float, float, float, float]
    """Left, top, width, height; the smallest upright box around the face."""
    points: tuple[tuple[float, float], ...]
    """Left eye, right eye, nose, left and right corner of the mouth, as the viewer sees them."""
    score: float
    """0 to 1, for comparing finds of one kind; not a probability."""
    kind: str
    """human, animal or anime."""
    estimated: bool
    """The points were not seen but placed where they usually lie in the box."""

    @property
    def area(self) -> float:
        """Of the box, in pixels."""
        return self.box[2] * self.box[3]


_Group = dict[str, Find]
"""What several detectors found in one place, by detector: yunet; human, animal or anime for that
cascade; network human and so on for our network."""


class FaceFinder:
    """Finds faces. Loads each detector's file once; not for use by two threads at a time.

    Args:
        kind: human, animal, anime, or auto for all of them.
        weights_dir: folder to look in first for published weights.

    Raises:
        UserError: no such kind, or a file that this kind cannot do without is missing.
    """

    def __init__(self, kind: str = AUTO, *, weights_dir: str | Path | None = None) -> None:
        check_kind(kind)
        self.kind = kind
        self.missing: list[str] = []
        """Detectors that were not found, so that fewer faces are."""
        with_heads = kind != "human" and find_spec("onnxruntime") is not None
        self._heads = HeadFinder(least=_HEAD_LEAST) if with_heads else None
        alone = with_heads and kind != AUTO
        yunet = None if alone else self._optional("yunet", weights_dir)
        self._yunet = YuNet(yunet, least=_YUNET_LEAST) if yunet else None
        files: dict[str, Path | str | None] = {}
        if yunet is None or (kind == AUTO and not with_heads):
            files["human"] = own_cascade(_FILES["human"])
        if not with_heads:
            files["animal"] = own_cascade(_FILES["animal"])
        if kind == "anime" and not with_heads:
            files["anime"] = find_weights("anime-cascade", weights_dir)
        elif kind == AUTO and not with_heads:
            files["anime"] = self._optional("anime-cascade", weights_dir)
        self._cascades = {
            name: Cascade(path, least=_CASCADE_LEAST[name])
            for name, path in files.items()
            if path is not None and kind in (name, AUTO)
        }
        self._eyes = EyePair()

    @property
    def detectors(self) -> tuple[str, ...]:
        """Names of what faces are looked for with: with others, others may be found."""
        networks = {"yunet": self._yunet, "heads": self._heads}
        names = [name for name, network in networks.items() if network is not None]
        return (*names, *(f"cascade of {name} faces" for name in sorted(self._cascades)))

    def only(self, kind: str) -> FaceFinder:
        """One for a single kind, with the same detectors: faster, where the kind is known.

        Args:
            kind: of a face that this one has found.
        """
        single = copy(self)
        single.kind = kind
        if kind != "human" and self._heads:
            single._yunet = None
        elif kind == "human" and self._yunet:
            single._heads = None
        names = () if kind == "human" and self._yunet else (kind,)
        single._cascades = {name: c for name, c in self._cascades.items() if name in names}
        return single

    def find(self, picture: Image.Image) -> list[FaceDetection]:
        """The faces of an RGB picture, largest first."""
        faces = self._find(picture, border=0.0)
        # In a tight crop the chin and forehead that the detectors look for are cut off.
        return faces or self._find(picture, border=_BORDER)

    def _optional(self, name: str, weights_dir: str | Path | None) -> Path | None:
        try:
            return find_weights(name, weights_dir)
        except MissingWeights:
            self.missing.append(name)
            return None

    def _find(self, picture: Image.Image, border: float) -> list[FaceDetection]:
        scale = min(1.0, _MOST_PIXELS / max(picture.size))
        if scale < 1:
            size = [max(1, round(side * scale)) for side in picture.size]
            picture = picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
        pixels = np.asarray(picture)
        pad = round(border * max(picture.size))
        if pad:
            pixels = cv2.copyMakeBorder(pixels, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        faces = []
        for group in self._groups(pixels):
            kind = self.kind
            if kind == AUTO:
                kind = _kind_by_network(group) if self._heads else _kind_by_cascades(group)
            if (chosen := _chosen(group, kind)) is None:
                continue
            find, score, points = chosen
            estimated = points is None
            if points is None:
                points, estimated = self._placed(pixels, find, kind)
            corners = (find.corners - pad) / scale
            low, high = corners.min(0), corners.max(0)
            faces.append(
                FaceDetection(
                    box=(*low.tolist(), *(high - low).tolist()),
                    points=tuple(map(tuple, ((points - pad) / scale).tolist())),
                    score=score,
                    kind=kind,
                    estimated=estimated,
                )
            )
        return sorted(faces, key=lambda face: -face.area)

    def _placed(self, pixels: np.ndarray, find: Find, kind: str) -> tuple[np.ndarray, bool]:
        """The five points by the box alone or, if both eyes are found in it, by them."""
        usual = np.array(_IN_BOX[kind])
        eyes = None if kind == "anime" else self._eyes(pixels, find.corners, usual[:2])
        if eyes is not None:
            return transform(similarity(usual[:2], eyes), usual), False
        unit = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
        return transform(similarity(unit, find.corners), usual), True

    def _groups(self, pixels: np.ndarray) -> list[_Group]:
        finds = [("yunet", find) for find in self._yunet(pixels)] if self._yunet else []
        if self._heads:
            heads = [h for h in self._heads(pixels) if self.kind in (h.kind, AUTO)]
            finds += [(f"network {head.kind}", _boxed(head)) for head in heads]
        for name, cascade in self._cascades.items():
            finds += [(name, find) for find in cascade(pixels)]
        groups: list[_Group] = []
        places: list[Find] = []
        for name, find in sorted(finds, key=lambda f: -_certainty(*f)):
            group = next((g for g, p in zip(groups, places) if _same_face(find, p)), None)
            if group is None:
                groups.append(group := {})
                places.append(find)
            group.setdefault(name, find)
        if self._yunet is not None:
            # OpenCV's cascade sees people in fur; YuNet hardly misses one.
            for group in groups:
                if "yunet" not in group:
                    group.pop("human", None)
        return [group for group in groups if group]


@cache
def own_finder(kind: str, weights_dir: str | Path | None = None) -> FaceFinder:
    """The finder of a process beside others, loaded once; OpenCV then starts no threads."""
    cv2.setNumThreads(1)
    return FaceFinder(kind, weights_dir=weights_dir)


def check_kind(kind: str) -> None:
    """UserError if there is no such kind of face."""
    if kind not in (*KINDS, AUTO):
        raise UserError(
            f"no kind of face is called '{kind}'", fix=did_you_mean(kind, (*KINDS, AUTO))
        )


def select(faces: Sequence[FaceDetection], which: str) -> list[FaceDetection]:
    """The faces to go on with: the largest of those found with some certainty, or all.

    Args:
        faces: of one picture.
        which: largest or all.
    """
    if which == "all" or not faces:
        return list(faces)
    best = max(face.score for face in faces)
    return [max((f for f in faces if f.score >= best / 2), key=lambda face: face.area)]


def _certainty(name: str, find: Find) -> float:
    """0 to 1, to compare detectors by: half where a cascade is as sure as it must be."""
    if name not in _CASCADE_LEAST:
        return find.weight
    return find.weight / (find.weight + _CASCADE_LEAST[name])


def _boxed(head: Head) -> Find:
    """A head as the cascades give one, with a box around it."""
    points = head.all_points()
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
    box = transform(similarity(np.array(_IN_BOX[head.kind]), points), corners)
    return Find(box, head.weight, points)


def _same_face(a: Find, b: Find) -> bool:
    small, large = sorted((a.side, b.side))
    near = float(np.linalg.norm(a.centre - b.centre)) < _SAME_FACE * large
    return near and small > _SAME_SIZE * large


def _kind_by_network(group: _Group) -> str:
    """What our network is surest of; what only YuNet or OpenCV's cascade of people saw is human."""
    seen = {kind: group[f"network {kind}"].weight for kind in KINDS if f"network {kind}" in group}
    return max(seen, key=lambda kind: seen[kind]) if seen else "human"


def _kind_by_cascades(group: _Group) -> str:
    """YuNet is surest with people; between drawings and animals their cascades decide.

    Of 70 faces of each training domain, as far as they were found, this took 138 of 140 people,
    108 of 114 animals and 62 of 67 drawn faces for what they are.
    """
    yunet, human, animal, anime = (
        group[name].weight if name in group else 0.0 for name in ("yunet", *KINDS)
    )
    if yunet >= _HUMAN_CERTAIN and (human or not anime):
        return "human"
    if human >= 2 * _CASCADE_LEAST["human"]:
        return "human"
    if anime > animal:
        return "anime"
    if animal or yunet:
        return "animal"
    return "human"


def _chosen(group: _Group, kind: str) -> tuple[Find, float, np.ndarray | None] | None:
    """The box to take, its score, and the points if they were seen; None if it is no such face."""
    yunet, cascade, network = (group.get(name) for name in ("yunet", kind, f"network {kind}"))
    if kind == "human" and yunet is not None and yunet.weight < _HUMAN_LEAST:
        yunet = None
    score = max(_certainty(name, find) for name, find in group.items())
    if network is not None and (kind != "human" or yunet is None):
        return network, score, network.points
    if yunet is not None:
        return (cascade if cascade is not None and kind != "human" else yunet), score, yunet.points
    return (cascade, score, None) if cascade is not None else None
