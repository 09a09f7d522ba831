"""The PyTorch backend: the networks themselves."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from facemeld.errors import UserError, did_you_mean
from facemeld.fusion.backends import Content
from facemeld.networks import generator
from facemeld.networks.bundle import Networks
from facemeld.networks.styles import StyleField

PRECISIONS = ("auto", "fp32", "bf16")
BATCH = 16
"""Samples that an accelerator takes at once."""


class TorchBackend:
    """Networks in PyTorch, on any device.

    Args:
        networks: the model.
        precision: ``fp32``, ``bf16``, or ``auto`` for the faster one: some processors that have
            bf16 instructions run them at half the speed.
        compile: compile the generator's two halves.
    """

    def __init__(
        self, networks: Networks, *, precision: str = "fp32", compile: bool = False
    ) -> None:
        if precision not in PRECISIONS:
            raise UserError(
                f"there is no precision '{precision}'",
                where="precision",
                fix=did_you_mean(precision, PRECISIONS),
            )
        self.networks = networks.eval()
        self.config = networks.config
        self.device = next(networks.parameters()).device
        self.batch = 1 if self.device.type == "cpu" else BATCH
        self._encode, self._decode = networks.generator.encode, networks.generator.decode
        if compile:
            self._encode, self._decode = torch.compile(self._encode), torch.compile(self._decode)
        self._bf16 = precision == "bf16" or precision == "auto" and self._bf16_is_faster()
        self.name = "torch-bf16" if self._bf16 else "torch-fp32"

    def _bf16_is_faster(self) -> bool:
        side = self.config.image_size
        pictures = np.zeros((1, 3, side, side), np.float32)
        times: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(4):  # in turn, so that other work on the machine slows both
            for self._bf16, seconds in times.items():
                began = time.perf_counter()
                self.encode(pictures)
                seconds.append(time.perf_counter() - began)
        return min(times[True]) < min(times[False])

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16)

    @torch.inference_mode()
    def encode(self, pictures: np.ndarray) -> list[Content]:
        """See ``Backend``."""
        with self._autocast():
            content = self._encode(self._tensor(pictures))
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
        with self._autocast():
            fused = self._decode(
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
