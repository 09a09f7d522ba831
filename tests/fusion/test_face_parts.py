"""Masks of a face's parts in sources where it is found, and where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from facemeld.data.folders import bundled_faces
from facemeld.faces.masks import WHOLE, region_masks
from facemeld.fusion.face_parts import FaceParts
from facemeld.fusion.inputs import Input

SIZE = 64


@pytest.fixture(scope="module")
def parts() -> FaceParts:
    return FaceParts()


def bundled(name: str) -> Image.Image:
    (path,) = [path for path in bundled_faces() if path.stem == name]
    return Image.open(path).convert("RGB")


def middle_of(mask: np.ndarray) -> tuple[float, float]:
    down, right = np.indices(mask.shape)
    return (right * mask).sum() / mask.sum(), (down * mask).sum() / mask.sum()


def test_parts_follow_a_face_that_is_found(parts: FaceParts) -> None:
    picture = bundled("woman_astronaut")
    shifted = Image.new("RGB", picture.size)
    shifted.paste(picture, (picture.width // 8, 0))
    found = (parts(Input(p), SIZE, ["eyes"], feather=0.05)["eyes"] for p in (picture, shifted))
    before, after = map(middle_of, found)
    assert after[0] - before[0] == pytest.approx(SIZE / 8, abs=2)
    assert after[1] == pytest.approx(before[1], abs=2)


def test_parts_of_a_face_that_is_not_found_are_where_an_aligned_one_has_them(
    parts: FaceParts,
) -> None:
    expected = region_masks("anime", SIZE)
    picture = bundled("woman_astronaut")
    small = Image.new("RGB", picture.size)  # a face, but too small to be what the picture shows
    small.paste(picture.resize((picture.width // 4, picture.height // 4)), (0, 0))
    for image in (Image.new("RGB", (64, 64), "gray"), small):
        found = parts(Input(image), SIZE, WHOLE, feather=0.05)
        assert all(np.array_equal(found[name], mask) for name, mask in expected.items())


def test_a_face_is_looked_for_once(parts: FaceParts, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    find = parts._finder.find

    def counted(picture: Image.Image) -> list:
        looked.append(picture)
        return find(picture)

    monkeypatch.setattr(parts._finder, "find", counted)
    source = Input(bundled("cat_chelsea"))
    ears = [parts(source, SIZE, ["ears"], feather=f)["ears"] for f in (0.0, 0.05, 0.5)]
    assert len(looked) == 1
    assert ears[0].std() > ears[1].std() > ears[2].std() > 0
