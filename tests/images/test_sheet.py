"""Sheets put every picture where its row and column say."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from facemeld.images import sheet

COLOURS = [["red", "lime"], ["blue", "yellow"]]
ROWS = [[Image.new("RGB", (8, 8), colour) for colour in row] for row in COLOURS]
WHITE = (255, 255, 255)


def test_a_plain_grid() -> None:
    page = sheet(ROWS, gap=3)
    assert page.size == (8 + 3 + 8, 8 + 3 + 8)
    seen = [[page.getpixel((4 + 11 * j, 4 + 11 * i)) for j in range(2)] for i in range(2)]
    assert seen == [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 0)]]
    assert page.getpixel((9, 4)) == WHITE


def test_missing_cells_and_short_rows_stay_white() -> None:
    page = np.asarray(sheet([[None, ROWS[0][0]], [ROWS[0][1]]], gap=0))
    assert (page[:8, :8] == 255).all() and (page[8:, 8:] == 255).all()
    assert (page[:8, 8:] == (255, 0, 0)).all() and (page[8:, :8] == (0, 255, 0)).all()
    assert sheet([[None]]).size == (64, 64)


def test_cells_scale_and_keep_the_shape_of_their_pictures() -> None:
    wide = Image.new("RGB", (40, 10), "red")
    page = np.asarray(sheet([[wide]], cell=20))
    assert page.shape == (20, 20, 3)
    rows = np.flatnonzero((page == (255, 0, 0)).all(2).all(1))
    assert rows.tolist() == [7, 8, 9, 10, 11]
    assert sheet([[Image.new("RGB", (5, 5))]], cell=64).size == (64, 64)


def test_pictures_of_several_sizes_are_centred() -> None:
    page = np.asarray(sheet([[Image.new("RGB", (4, 4)), Image.new("RGB", (10, 10))]], gap=0))
    assert page.shape == (10, 20, 3)
    dark = np.argwhere((page[:, :10] == 0).all(2))
    assert dark.min(0).tolist() == [3, 3] and dark.max(0).tolist() == [6, 6]


def test_labels_take_their_own_room() -> None:
    page = sheet(ROWS, cell=64, row_labels=["one", "two"], column_labels=["left", "right"])
    bare = sheet(ROWS, cell=64)
    left, top = page.width - bare.width, page.height - bare.height
    assert left > 20 and top > 10
    grid = page.crop((left, top, *page.size))
    assert np.array_equal(np.asarray(grid), np.asarray(bare))
    above, beside = page.crop((left, 0, page.width, top)), page.crop((0, top, left, page.height))
    for strip, halves in ((above, 1), (beside, 0)):
        for half in np.array_split(np.asarray(strip), 2, axis=halves):
            assert (half < 128).any(), "each label has ink in its own place"


def test_labels_longer_than_their_place_are_cut() -> None:
    page = sheet(ROWS, cell=64, row_labels=["w" * 10_000, "b"], column_labels=["x" * 10_000, "y"])
    assert page.width < 6 * 64


@pytest.mark.parametrize("label", ["", "猫の顔", "Bär", "קוף", "a\nb\tc", "\udc80.jpg", "\0", "😀"])
def test_any_text_is_a_label(label: str) -> None:
    page = sheet(ROWS, cell=48, row_labels=[label, "b"], column_labels=[label, "b"])
    assert page.width > 2 * 48


def test_the_number_of_labels_must_match() -> None:
    with pytest.raises(ValueError, match="1 row labels for 2 rows"):
        sheet(ROWS, row_labels=["a"])
    with pytest.raises(ValueError, match="3 column labels for 2 columns"):
        sheet(ROWS, column_labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="at least one cell"):
        sheet([[]])
