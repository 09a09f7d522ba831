"""What each training step sees: a pure function of (seed, step), never of ambient state.

Domains are balanced: every picture's domain is drawn evenly, then a picture of it. Reference
pairs are drawn anew at each step. Any rank of a distributed job computes its own rows of the same
global batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facemeld.data.store import PictureStore

# independent random streams of one step
BATCH, STYLE_MATCHING = 0, 1


def random_at(seed: int, step: int, stream: int) -> np.random.Generator:
    """The random numbers of one step and stream (counter-based, Salmon et al. 2011)."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, stream, step]))


@dataclass(frozen=True)
class Batch:
    """One rank's share of a step: n sources, two references and two latent codes for each.

    References and latent codes are ordered source by source, so row 2 i and 2 i + 1 belong to
    source i; all of them are of the source's target domain.
    """

    sources: Tensor
    """n 3 H W in [-1, 1]."""
    source_domains: Tensor
    """n int64."""
    source_rows: Tensor
    """n int64: rows of the pictures in the whole data set, domain after domain."""
    targets: Tensor
    """n int64."""
    references: Tensor
    """2n 3 H W in [-1, 1]."""
    reference_rows: Tensor
    """2n int64."""
    latents: Tensor
    """2n Z."""
    from_latents: bool
    """Whether this step takes its styles from the latent codes (recipes that alternate)."""


class BatchSampler:
    """Draws batches from decoded pictures.

    Args:
        store: the pictures.
        sources: sources in a global batch.
        latent_size: Z.
        seed: the run's seed.
        crop_probability: share of pictures cropped at random (scale 0.8 to 1, ratio 0.9 to 1.1).
        reference_share: share of steps that take styles from references.
        rank, ranks: this process and their number; ``sources`` is a multiple of ``ranks``.
        device: where the tensors go.
    """

    def __init__(
        self,
        store: PictureStore,
        *,
        sources: int,
        latent_size: int,
        seed: int,
        crop_probability: float = 0.0,
        reference_share: float = 1.0,
        rank: int = 0,
        ranks: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        assert sources % ranks == 0
        self.store = store
        self.sources = sources
        self.latent_size = latent_size
        self.seed = seed
        self.crop_probability = crop_probability
        self.reference_share = reference_share
        self.mine = slice(rank * sources // ranks, (rank + 1) * sources // ranks)
        self.device = device
        self.counts = np.array([len(p) for p in store.pictures])
        self.first_rows = np.concatenate([[0], np.cumsum(self.counts)[:-1]])

    def batch(self, step: int) -> Batch:
        """The batch of one step."""
        random = random_at(self.seed, step, BATCH)
        n, domains = self.sources, len(self.counts)
        source_domains = random.integers(domains, size=n)
        targets = random.integers(domains, size=n)
        # n 3: a source and its two references
        kinds = np.stack([source_domains, targets, targets], axis=1)
        picks = random.integers(self.counts[kinds])
        mirror = random.random((n, 3)) < 0.5
        boxes = self._crop_boxes(random, (n, 3))
        latents = random.standard_normal((n, 2, self.latent_size), dtype=np.float32)
        from_latents = bool(random.random() >= self.reference_share)

        mine = self.mine
        pictures = self._pictures(kinds[mine], picks[mine], mirror[mine], boxes[mine])
        rows = torch.from_numpy((self.first_rows[kinds] + picks)[mine])
        return Batch(
            sources=pictures[:, 0].contiguous(memory_format=torch.channels_last),
            source_domains=torch.from_numpy(source_domains[mine]).to(self.device),
            source_rows=rows[:, 0],
            targets=torch.from_numpy(targets[mine]).to(self.device),
            references=pictures[:, 1:].flatten(0, 1).contiguous(memory_format=torch.channels_last),
            reference_rows=rows[:, 1:].flatten(),
            latents=torch.from_numpy(latents[mine]).flatten(0, 1).to(self.device),
            from_latents=from_latents,
        )

    def rows_of_domain(self, domain: int, random: np.random.Generator, count: int) -> Tensor:
        """``count`` random rows of one domain's pictures."""
        picks = random.integers(self.counts[domain], size=count)
        return torch.from_numpy(self.first_rows[domain] + picks)

    def pictures_of_rows(self, rows: np.ndarray) -> Tensor:
        """Pictures by their row in the whole data set. -> B 3 H W in [-1, 1]"""
        domains = np.searchsorted(self.first_rows, rows, side="right") - 1
        picks = rows - self.first_rows[domains]
        pictures = [self.store.pictures[d][p] for d, p in zip(domains, picks)]
        return as_tensor(np.stack(pictures), self.device)

    def _crop_boxes(self, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Width, height and centre of each crop as shares of the picture. -> shape + (4,)"""
        cropped = random.random(shape) < self.crop_probability
        area = random.uniform(0.8, 1.0, shape)
        ratio = np.exp(random.uniform(np.log(0.9), np.log(1.1), shape))
        width = np.minimum(np.sqrt(area * ratio), 1.0)
        height = np.minimum(np.sqrt(area / ratio), 1.0)
        x = random.uniform(-1, 1, shape) * (1 - width)
        y = random.uniform(-1, 1, shape) * (1 - height)
        whole = np.stack([np.ones(shape), np.ones(shape), np.zeros(shape), np.zeros(shape)], -1)
        return np.where(cropped[..., None], np.stack([width, height, x, y], -1), whole)

    def _pictures(self, kinds, picks, mirror, boxes) -> Tensor:
        """-> n 3 C H W in [-1, 1]."""
        picked = [self.store.pictures[k][p] for k, p in zip(kinds.ravel(), picks.ravel())]
        pictures = as_tensor(np.stack(picked), self.device)
        flip = torch.from_numpy(mirror.ravel()).to(self.device)
        pictures = torch.where(flip[:, None, None, None], pictures.flip(3), pictures)
        if self.crop_probability > 0:
            pictures = _crop(pictures, torch.from_numpy(boxes.reshape(-1, 4)).to(pictures))
        return pictures.unflatten(0, kinds.shape)


def as_tensor(pictures: np.ndarray, device: torch.device | str) -> Tensor:
    """B H W 3 bytes -> B 3 H W float in [-1, 1]."""
    return torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def _crop(pictures: Tensor, boxes: Tensor) -> Tensor:
    """Cuts a box out of each picture and resizes it to the whole (bilinear)."""
    width, height, x, y = boxes.unbind(1)
    zero = torch.zeros_like(x)
    affine = torch.stack([width, zero, x, zero, height, y], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(affine, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
