"""The PyTorch backend: the networks themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from facemeld.fusion.backends import Content
from facemeld.networks import generator
from facemeld.networks.bundle import Networks
from facemeld.networks.styles import StyleField

BATCH = 16
"""Samples that an accelerator takes at once."""


class TorchBackend:
    """Networks in PyTorch, on any device.

    Args:
        networks: the model.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks = networks.eval()
        self.config = networks.config
        self.device = next(networks.parameters()).device
        self.name = "torch-fp32"
        self.batch = 1 if self.device.type == "cpu" else BATCH

    @torch.inference_mode()
    def encode(self, pictures: np.ndarray) -> list[Content]:
        """See ``Backend``."""
        content = self.networks.generator.encode(self._tensor(pictures))
        maps = (content.bottleneck, *content.skips)
        return [tuple(m[i : i + 1] for m in maps) for i in range(len(pictures))]

    @torch.inference_mode()
    def decode(
        self,
        contents: Sequence[Content],
        styles: np.ndarray,
        *,
        masks: np.ndarray | None = None,
        skip_masks: np.ndarray | None = None,
        content_strength: float = 1.0,
    ) -> np.ndarray:
        """See ``Backend``."""
        one = len(contents) == 1
        maps = [m[0] if one else torch.cat(m) for m in zip(*contents)]
        content = generator.Content(maps[0], tuple(maps[1:]))
        where = None if masks is None else self._tensor(masks)
        fused = self.networks.generator.decode(
            content,
            StyleField(self._tensor(styles), where),
            None if skip_masks is None else self._tensor(skip_masks),
            content_strength,
        )
        return fused.float().cpu().numpy()

    @torch.inference_mode()
    def describe(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """See ``Backend``."""
        styles, scores = self.networks.style_encoder.describe(self._tensor(pictures))
        return styles.cpu().numpy(), None if scores is None else scores.cpu().numpy()

    @torch.inference_mode()
    def map_latents(self, latents: np.ndarray) -> np.ndarray:
        """See ``Backend``."""
        return self.networks.mapping_network.all_domains(self._tensor(latents)).cpu().numpy()

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device, torch.float32)
