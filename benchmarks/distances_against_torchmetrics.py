"""FID and KID of drawn features by facemeld and by torchmetrics: how far apart, how long.

    pip install torchmetrics
    OMP_NUM_THREADS=1 python benchmarks/distances_against_torchmetrics.py

prints both distances and the seconds of processor time that each takes for one pair of domains, for
ours those of a pair after the first with the same reals. torchmetrics' networks are replaced by the
identity, so that only distances are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from facemeld.evaluation.distances import FeatureSet, frechet_distance, kernel_distance

WIDTH, RANK = 2048, 256


class Identity(nn.Module):
    """Features in place of pictures."""

    num_features = WIDTH

    def forward(self, features: Tensor) -> Tensor:
        return features


def drawn(random: np.random.Generator, mixing: NDArray, count: int, shift: float) -> NDArray:
    """Features that are not negative and hang together, as Inception's. -> count WIDTH"""
    hidden = random.standard_normal((count, RANK)).astype(np.float32)
    return np.maximum(0, hidden @ mixing / np.sqrt(RANK) + np.float32(shift))


def timed(job: Callable[[], float]) -> tuple[float, float]:
    """A result, and the seconds of processor time that it took."""
    began = time.process_time()
    found = job()
    return found, time.process_time() - began


def theirs(metric: nn.Module, reals: NDArray, fakes: NDArray) -> float:
    metric.update(torch.from_numpy(reals), real=True)
    metric.update(torch.from_numpy(fakes), real=False)
    found = metric.compute()
    return float(found[0] if isinstance(found, tuple) else found)


def main() -> None:
    random = np.random.default_rng(0)
    mixing = random.standard_normal((RANK, WIDTH)).astype(np.float32)
    for count in (840, 2000):
        fakes, reals = (drawn(random, mixing, count, shift) for shift in (0.0, 0.1))
        known = FeatureSet(reals)
        frechet_distance(fakes, known)  # the first pair with these reals
        fid = FrechetInceptionDistance(Identity(), normalize=True, input_img_size=(3, 1, 1))
        kid = KernelInceptionDistance(Identity(), subset_size=min(1000, count), normalize=True)
        ours = FeatureSet(fakes)
        results = {
            "FID, torchmetrics": timed(lambda: theirs(fid.set_dtype(torch.float64), reals, fakes)),
            "FID, facemeld": timed(lambda: frechet_distance(ours, known)),
            "KID, torchmetrics": timed(lambda: theirs(kid, reals, fakes)),
            "KID, facemeld": timed(lambda: kernel_distance(ours, known, random)[0]),
        }
        for name, (value, seconds) in results.items():
            print(f"{count} + {count} features, {name}: {value:.9g}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
