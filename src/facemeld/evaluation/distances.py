"""Distances between sets of features, which are N F arrays.

They are called FID and KID only with the features of the 2015-12-05 Inception network. The
formulas are written out here, not taken from torchmetrics, because the same products and roots
serve all of them and all pairs of domains: one eigendecomposition a set, one matrix product a pair.
docs/evaluation.md says what that saves. The tests hold them against figures that torch-fidelity
gave for the same features, to 1e-3.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 5
SUBSETS = 100
SUBSET_SIZE = 1000


class FeatureSet:
    """Features of one set of pictures, and what the distances need of them, computed once.

    Args:
        features: N F; at least two rows.
    """

    def __init__(self, features: NDArray[np.floating]) -> None:
        self.features = np.asarray(features, np.float64)

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """F."""
        return self.features.mean(axis=0)

    @cached_property
    def covariance(self) -> NDArray[np.float64]:
        """F F."""
        return np.cov(self.features, rowvar=False)

    @cached_property
    def variance(self) -> float:
        """Trace of the covariance."""
        return float(self.features.var(axis=0, ddof=1).sum())

    @cached_property
    def root(self) -> NDArray[np.float64]:
        """F F, whose square is the covariance."""
        values, vectors = np.linalg.eigh(self.covariance)
        return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T

    @cached_property
    def products(self) -> NDArray[np.float64]:
        """N N inner products."""
        return self.features @ self.features.T

    @cached_property
    def radii(self) -> NDArray[np.float64]:
        """N: the squared distance of each row to its NEIGHBOURS-th nearest other one."""
        gaps = _squared_distances(self.products, self, self)
        return np.partition(gaps, NEIGHBOURS, axis=1)[:, NEIGHBOURS]  # the row itself is nearest

    def some(self, most: int, random: np.random.Generator) -> FeatureSet:
        """This set, or ``most`` random rows where it has more."""
        if len(self) <= most:
            return self
        return FeatureSet(self.features[random.choice(len(self), most, replace=False)])


def frechet_distance(
    a: FeatureSet | NDArray[np.floating], b: FeatureSet | NDArray[np.floating]
) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of two sets of features.

    The form of Heusel et al. 2017. Against one set many times: give it as ``b``, made once.
    """
    a = a if isinstance(a, FeatureSet) else FeatureSet(a)
    b = b if isinstance(b, FeatureSet) else FeatureSet(b)
    trace = a.variance + b.variance - 2 * _trace_of_root(a, b)
    return float(np.square(a.mean - b.mean).sum() + trace)


def kernel_distance(
    a: FeatureSet,
    b: FeatureSet,
    random: np.random.Generator,
    *,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
) -> tuple[float, float]:
    """Mean and deviation over random subsets of the squared maximum mean discrepancy.

    Unbiased, under the kernel (x . y / F + 1)^3 (Binkowski et al. 2018). Subsets are no larger
    than the smaller set.
    """
    size = min(subset_size, len(a), len(b))
    width = a.features.shape[1]
    inside_a, inside_b = (_cubic(s.products, width) for s in (a, b))
    across = _cubic(a.features @ b.features.T, width)
    found = []
    for _ in range(subsets):
        rows = random.choice(len(a), size, replace=False)
        columns = random.choice(len(b), size, replace=False)
        own = _mean_of_others(inside_a[np.ix_(rows, rows)])
        own += _mean_of_others(inside_b[np.ix_(columns, columns)])
        found.append(own - 2 * across[np.ix_(rows, columns)].mean())
    return float(np.mean(found)), float(np.std(found))


def density_and_coverage(fakes: FeatureSet, reals: FeatureSet) -> tuple[float, float]:
    """How deep fakes lie among the reals, and the share of reals that have a fake nearby.

    Around every real lies a ball that reaches to its NEIGHBOURS-th neighbour. Density is the mean
    number of balls that a fake is in, over NEIGHBOURS; coverage the share of balls that hold a
    fake (Naeem et al. 2020).
    """
    gaps = _squared_distances(fakes.features @ reals.features.T, fakes, reals)
    inside = gaps < reals.radii
    return float(inside.sum() / (NEIGHBOURS * len(fakes))), float(inside.any(axis=0).mean())


def _trace_of_root(a: FeatureSet, b: FeatureSet) -> float:
    """tr (C_a C_b)^(1/2)."""
    if 2 * min(len(a), len(b)) < a.features.shape[1]:
        # With C = X^T X / (N - 1) it is the sum of the singular values of X_a X_b^T, a small matrix
        across = (a.features - a.mean) @ (b.features - b.mean).T
        singular = np.linalg.svd(across, compute_uv=False)
        return float(singular.sum() / np.sqrt((len(a) - 1) * (len(b) - 1)))
    # the sum of the roots of the eigenvalues of C_b^(1/2) C_a C_b^(1/2)
    values = np.linalg.eigvalsh(b.root @ a.covariance @ b.root)
    return float(np.sqrt(np.maximum(values, 0)).sum())


def _squared_distances(
    products: NDArray[np.float64], a: FeatureSet, b: FeatureSet
) -> NDArray[np.float64]:
    lengths_a, lengths_b = (np.square(s.features).sum(axis=1) for s in (a, b))
    return lengths_a[:, None] + lengths_b - 2 * products


def _cubic(products: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    return (products / width + 1) ** 3


def _mean_of_others(square: NDArray[np.float64]) -> float:
    """Mean of a square matrix without its diagonal."""
    size = len(square)
    return float((square.sum() - np.trace(square)) / (size * (size - 1)))
