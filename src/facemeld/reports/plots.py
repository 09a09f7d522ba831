"""Plots of reports, through matplotlib (the extra ``reports``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from facemeld.errors import UserError
from facemeld.images.write import encode_picture

# Okabe & Ito (2008): told apart by colour-blind people, too
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", ":", "-.")
# the first of these that is installed draws what DejaVu Sans, matplotlib's own, cannot
_WIDE_FONTS = ("Noto Sans CJK TC", "PingFang TC", "Microsoft JhengHei", "WenQuanYi Zen Hei")
_WIDTH, _HEIGHT, _DOTS = 4.2, 2.6, 110  # inches a panel, dots an inch
_ACROSS = 3


@dataclass(frozen=True)
class Series:
    """One line: its points, and the label whose colour and legend entry it takes."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """Lines that share axes."""

    title: str
    series: Sequence[Series]


def check_plotting() -> None:
    """UserError if matplotlib is not installed."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise UserError(
            "reports need matplotlib, which is not installed",
            where="facemeld[reports]",
            fix="pip install -c constraints.txt 'facemeld[reports]', or -e '.[reports]' in a clone",
        )


def line_panels(panels: Sequence[Panel], *, labels: Sequence[str], x_label: str) -> bytes:
    """Small plots on one PNG, up to three beside each other, under one legend.

    Args:
        panels: at least one; their horizontal axes are the same.
        labels: every label in the order of the legend; a label looks the same in all panels.
        x_label: of the horizontal axes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    across = min(_ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    looks = {
        label: dict(color=_COLOURS[i % len(_COLOURS)], linestyle=_STYLES[i // len(_COLOURS) % 4])
        for i, label in enumerate(labels)
    }
    with matplotlib.rc_context({"text.parse_math": False, "font.family": font_families()}):
        legend_rows = math.ceil(len(labels) / across)
        size = (_WIDTH * across, _HEIGHT * down + 0.3 * legend_rows)
        figure = Figure(figsize=size, dpi=_DOTS, layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).flatten()
        moments = [x for panel in panels for series in panel.series for x in series.x]
        low, high = min(moments, default=0), max(moments, default=1)
        margin = 0.03 * (high - low) or 1
        for axis, panel in zip(axes, panels):
            axis.set_xlim(low - margin, high + margin)
            for series in panel.series:
                marker = "o" if len(series.x) == 1 else None  # a line of one point is not seen
                axis.plot(series.x, series.y, linewidth=1.2, marker=marker, **looks[series.label])
            axis.set_title(panel.title, fontsize=9)
            axis.set_xlabel(x_label, fontsize=8)
            axis.tick_params(labelsize=8)
            axis.grid(linewidth=0.4, color="#dddddd")
        for axis in axes[len(panels) :]:
            axis.remove()
        lines = [matplotlib.lines.Line2D([], [], **look) for look in looks.values()]
        names = [_legend_text(label) for label in labels]
        figure.legend(lines, names, loc="outside upper left", ncols=across, fontsize=9)
        return as_png(figure)


def as_png(figure) -> bytes:
    """A matplotlib figure as a file's content."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba()))
    return encode_picture(image, "PNG", settings=None, synthetic=False)


def font_families() -> list[str]:
    """matplotlib's own font, then what is installed for other scripts."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in _WIDE_FONTS if name in installed)]


def _legend_text(label: str) -> str:
    """matplotlib leaves labels out that begin with an underscore."""
    return f" {label}" if label.startswith("_") else label
