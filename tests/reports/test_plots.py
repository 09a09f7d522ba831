"""Plots: what is drawn, by looking at the pixels."""

from __future__ import annotations

import importlib.util
import io

import numpy as np
import pytest
from PIL import Image

from facemeld.errors import UserError
from facemeld.images.write import SYNTHETIC
from facemeld.reports.plots import Panel, Series, check_plotting, line_panels

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture - colour).sum(axis=2) < 30).sum())


def test_each_label_has_its_colour_in_every_panel() -> None:
    a = Series("a", [0, 1], [0, 1])
    b = Series("b", [0, 1], [1, 0])
    both = pixels(line_panels([Panel("x", [a, b])], labels=["a", "b"], x_label="pictures"))
    only_b = pixels(line_panels([Panel("x", [b])], labels=["a", "b"], x_label="pictures"))
    assert both.shape == only_b.shape
    assert count(both, BLUE) > 3 * count(only_b, BLUE) > 0  # the legend alone is left
    assert count(both, ORANGE) > 100 and count(only_b, ORANGE) > 100


def test_more_panels_make_more_rows() -> None:
    panel = Panel("x", [Series("a", [0, 1], [0, 1])])
    sizes = [
        pixels(line_panels([panel] * n, labels=["a"], x_label="pictures")).shape[:2]
        for n in (1, 3, 4)
    ]
    assert sizes[0][1] < sizes[1][1] == sizes[2][1] and sizes[1][0] < sizes[2][0]


def test_a_single_point_is_seen_and_odd_labels_do_no_harm(recwarn) -> None:
    labels = ["_hidden $x^", "<b>"]
    series = [Series(labels[0], [5], [1.0]), Series(labels[1], [], [])]
    drawn = line_panels([Panel("$\\bad{", series)], labels=labels, x_label="pictures")
    empty = line_panels([Panel("$\\bad{", series[1:])], labels=labels, x_label="pictures")
    assert count(pixels(drawn), BLUE) > count(pixels(empty), BLUE) > 0
    assert [str(w.message) for w in recwarn] == []


def test_plots_are_not_marked_as_made_by_a_model() -> None:
    panel = Panel("x", [Series("a", [0, 1], [0, 1])])
    assert SYNTHETIC.encode() not in line_panels([panel], labels=["a"], x_label="x")


def test_without_matplotlib_the_fix_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    check_plotting()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="matplotlib") as caught:
        check_plotting()
    assert "reports" in caught.value.fix
