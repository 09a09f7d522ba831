"""A found face brought to the template of its kind, and the transform that did it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facemeld.faces.detect import FaceDetection, own_finder, select
from facemeld.faces.geometry import centre_square_matrix, scaled, similarity, transform, warp
from facemeld.faces.templates import template

Matrix = tuple[tuple[float, float, float], ...]
"""The two rows of a 2 3 matrix."""


@dataclass(frozen=True)
class Alignment:
    """How a face was moved; enough to put it back."""

    matrix: Matrix
    """2 3, from pixels of the photograph to pixels of the aligned picture."""
    size: int
    """Side of the aligned picture in pixels."""
    face: FaceDetection | None
    """The face; None for the centre of a picture in which none was found."""

    def matrix_for(self, size: int) -> np.ndarray:
        """The 2 3 matrix to an aligned picture of another side."""
        return scaled(np.array(self.matrix), size / self.size)

    def points(self) -> np.ndarray | None:
        """The five points in the aligned picture. -> 5 2"""
        return transform(np.array(self.matrix), self.face.points) if self.face else None


def alignment(face: FaceDetection, size: int, *, target: np.ndarray | None = None) -> Alignment:
    """How to bring a face to its place.

    Args:
        face: a found one.
        size: side of the aligned picture in pixels.
        target: 5 2, shares of the side; the template of the face's kind if not given.
    """
    goal = template(face.kind) if target is None else target
    matrix = similarity(np.array(face.points), goal * size)
    return Alignment(_rows(matrix), size, face)


def centre(picture: Image.Image, size: int) -> Alignment:
    """The largest centred square, for a picture without a face that is to be kept."""
    return Alignment(_rows(centre_square_matrix(*picture.size, size)), size, None)


def aligned(picture: Image.Image, how: Alignment) -> Image.Image:
    """The face in its place: RGB, size x size. What lay outside the photograph is blurred."""
    return warp(picture, np.array(how.matrix), (how.size, how.size))


def _rows(matrix: np.ndarray) -> Matrix:
    return tuple(tuple(row) for row in matrix.tolist())


@dataclass(frozen=True)
class LargestFace:
    """Makes a function that aligns the largest face of a photograph.

    It can be sent to another process, where calling it loads the detectors:
    ``LargestFace("animal", 256)()(photograph)`` gives the aligned picture and the 2 3 matrix, or
    None if there is no face.
    """

    kind: str
    size: int
    weights_dir: Path | None = None

    def __call__(self) -> Callable[[Image.Image], tuple[Image.Image, Matrix] | None]:
        finder = own_finder(self.kind, self.weights_dir)

        def align(photograph: Image.Image) -> tuple[Image.Image, Matrix] | None:
            faces = select(finder.find(photograph), "largest")
            if not faces:
                return None
            how = alignment(faces[0], self.size)
            return aligned(photograph, how), how.matrix

        return align
