"""Plots of one number for every ordered pair of domains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from facemeld.reports.plots import as_png, font_families

_CELL, _DOTS = 0.62, 110  # inches a cell, dots an inch
_ACROSS = 3


@dataclass(frozen=True)
class Matrix:
    """One number for each (row, column); pairs that are missing stay white."""

    title: str
    values: Mapping[tuple[str, str], float]
    lower_is_better: bool = False


def matrix_panels(
    matrices: Sequence[Matrix], names: Sequence[str], *, row_label: str, column_label: str
) -> bytes:
    """Matrices on one PNG, up to three beside each other; the darker a cell, the better.

    Args:
        matrices: at least one.
        names: of rows and columns, in their order.
        row_label, column_label: what rows and columns are.
    """
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    across = min(_ACROSS, len(matrices))
    down = math.ceil(len(matrices) / across)
    side = max(2.6, 1.4 + _CELL * len(names))
    with matplotlib.rc_context({"text.parse_math": False, "font.family": font_families()}):
        figure = Figure(figsize=(side * across, side * down), dpi=_DOTS, layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).flatten()
        for axis, matrix in zip(axes, matrices):
            cells = np.full((len(names), len(names)), np.nan)
            for (row, column), value in matrix.values.items():
                cells[names.index(row), names.index(column)] = value
            low, high = np.nanmin(cells), np.nanmax(cells)
            if low == high:  # one shade for all, between the ends
                low, high = low - 1, high + 1
            colours = "Blues_r" if matrix.lower_is_better else "Blues"
            axis.imshow(cells, cmap=colours, vmin=low, vmax=high)
            for (i, j), value in np.ndenumerate(cells):
                if np.isfinite(value):
                    share = (value - low) / (high - low)
                    dark = share < 0.5 if matrix.lower_is_better else share > 0.5
                    ink = "white" if dark else "black"
                    axis.text(j, i, f"{value:.3g}", ha="center", va="center", size=7, color=ink)
            axis.set_title(matrix.title, fontsize=9)
            axis.set_xticks(range(len(names)), names, fontsize=8, rotation=45, ha="right")
            axis.set_yticks(range(len(names)), names, fontsize=8)
            axis.set_xlabel(column_label, fontsize=8)
            axis.set_ylabel(row_label, fontsize=8)
        for axis in axes[len(matrices) :]:
            axis.remove()
        return as_png(figure)
