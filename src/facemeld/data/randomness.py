"""Random numbers as a function of (seed, step, stream), never of ambient state."""

from __future__ import annotations

import numpy as np


def random_at(seed: int, step: int, stream: int) -> np.random.Generator:
    """The random numbers of one step and stream (counter-based, Salmon et al. 2011)."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, stream, step]))
