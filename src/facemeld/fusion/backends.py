"""What computes a model's networks: PyTorch, or a runtime for exported graphs.

A fusion needs four functions of a model and knows nothing else about how they are computed. They
take and give NumPy arrays, so that everything around them does without torch.

Shapes: B samples, K domains, S style size, L levels, R regions (the first is the rest).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from facemeld.config import NetworkConfig
from facemeld.fusion.mixing import lerp

Content = tuple[Any, ...]
"""One source's bottleneck map and skip maps, 1 C H W each, in the backend's own kind of array."""


class Backend(Protocol):
    """The networks of one model, ready to compute."""

    config: NetworkConfig
    name: str
    """How results say what made them, like ``torch-fp32``."""
    batch: int
    """Samples that one pass takes. A CPU takes one, so that a picture has the same bits alone and
    among others."""

    def encode(self, pictures: np.ndarray) -> list[Content]:
        """B 3 H W in [-1, 1] -> B contents"""
        ...

    def decode(
        self,
        contents: Sequence[Content],
        styles: np.ndarray,
        *,
        masks: np.ndarray | None = None,
        skip_masks: np.ndarray | None = None,
        content_strength: float = 1.0,
    ) -> np.ndarray:
        """Contents under styles.

        Args:
            contents: B of them.
            styles: B L R S.
            masks: B R H W in [0, 1], summing to 1; needed for more than one region.
            skip_masks: B 2 H W in [0, 1], for models whose skips are masked.
            content_strength: factor of what the skips add.

        Returns:
            B 3 H W in about [-1, 1].
        """
        ...

    def describe(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """B 3 H W -> each picture's style in every domain, B K S, and how likely each domain is,
        B K; None for a model that cannot tell."""
        ...

    def map_latents(self, latents: np.ndarray) -> np.ndarray:
        """B Z -> each latent code's style in every domain, B K S"""
        ...


def blend(one: Content, other: Content, share: float) -> Content:
    """Linear at the bottleneck and in every skip: share 0 is the one content, 1 the other.

    The norms that follow each of them restore the contrast that a mean of unlike maps loses.
    """
    return tuple(lerp(a, b, share) for a, b in zip(one, other, strict=True))
