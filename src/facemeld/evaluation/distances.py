"""Distances between sets of features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of two sets of features.

    The form of Heusel et al. 2017; it is called FID only with that paper's Inception network.

    Args:
        a, b: N F and M F; at least two rows each.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    covariance_a, covariance_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # tr (C_a C_b)^(1/2) is the sum of the roots of the eigenvalues of C_a^(1/2) C_b C_a^(1/2)
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ covariance_b @ root)
    trace = np.trace(covariance_a) + np.trace(covariance_b)
    trace -= 2 * np.sqrt(np.maximum(cross, 0)).sum()
    return float(np.square(a.mean(axis=0) - b.mean(axis=0)).sum() + trace)
