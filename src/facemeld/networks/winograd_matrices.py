"""The transforms of Winograd's F(4x4, 3x3) (Lavin & Gray 2016), without torch.

For interpolation at 0, 1, -1, 2, -2 and infinity. A result is R^T (K k K^T * T^T t T) R with the
matrices below for R^T, K and T^T.
"""

from __future__ import annotations

Rows = tuple[tuple[float, ...], ...]

TILE: Rows = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
KERNEL: Rows = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
RESULT: Rows = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
