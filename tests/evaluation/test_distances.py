"""The Fréchet distance against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from facemeld.evaluation.distances import frechet_distance


def whitened(rows: int, size: int, seed: int = 0) -> NDArray[np.float64]:
    """Rows whose mean is exactly 0 and whose covariance is exactly 1."""
    values = np.random.default_rng(seed).standard_normal((rows, size))
    values -= values.mean(axis=0)
    orthogonal, _ = np.linalg.qr(values)
    return orthogonal * np.sqrt(rows - 1)


def test_of_gaussians_with_diagonal_covariances() -> None:
    mean_a, mean_b = np.array([0.0, 1.0, -2.0]), np.array([3.0, 1.0, 0.0])
    deviation_a, deviation_b = np.array([1.0, 2.0, 0.5]), np.array([4.0, 2.0, 0.0])
    a = whitened(50, 3, seed=1) * deviation_a + mean_a
    b = whitened(80, 3, seed=2) * deviation_b + mean_b
    expected = np.square(mean_a - mean_b).sum() + np.square(deviation_a - deviation_b).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-6)


def test_turning_both_sets_changes_nothing() -> None:
    a = whitened(60, 4, seed=1) * [1, 2, 3, 4] + 1
    b = whitened(60, 4, seed=2) * [4, 1, 1, 2]
    turn, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((4, 4)))
    expected = 4 + (9 + 1 + 4 + 4)
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-6)
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(expected, abs=1e-6)


def test_of_covariances_that_do_not_commute() -> None:
    # tr (C_a C_b)^(1/2) of 2 x 2 matrices is (tr(C_a C_b) + 2 det(C_a C_b)^(1/2))^(1/2)
    root_a, root_b = np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 0.5], [0.0, 3.0]])
    a, b = whitened(40, 2, seed=1) @ root_a, whitened(40, 2, seed=2) @ root_b
    cov_a, cov_b = root_a.T @ root_a, root_b.T @ root_b
    product = cov_a @ cov_b
    cross = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-6)


def test_of_a_set_to_itself_is_zero_also_with_fewer_rows_than_features() -> None:
    random = np.random.default_rng(0)
    for rows, size in ((100, 5), (20, 60)):
        a = random.standard_normal((rows, size)).astype(np.float32)
        assert frechet_distance(a, a) == pytest.approx(0, abs=1e-5 * size)
        assert frechet_distance(a, a + 1) == pytest.approx(size, rel=1e-3)


def test_is_symmetric() -> None:
    random = np.random.default_rng(0)
    a, b = random.standard_normal((30, 40)), 2 * random.standard_normal((50, 40)) + 1
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)
    assert frechet_distance(a, b) > 0
