"""What each training step sees: a pure function of (seed, step), never of ambient state.

Domains are balanced, whatever their sizes: every picture's domain is drawn evenly, unless some are
favoured as targets, then a picture of it. Reference pairs are drawn anew at each step. Any rank of
a distributed job computes its own rows of the same global batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facemeld.data.framing import framed
from facemeld.data.randomness import random_at
from facemeld.data.store import PictureStore

# independent random streams of one step
BATCH, STYLE_MATCHING, RIVALS, AUGMENTATION, MOVEMENT, MATCHING = range(6)
AUGMENTED = 6  # sets of pictures that a step may augment: see Batch.uniform
AUGMENTATION_NUMBERS = 8  # random numbers for the augmentation of one picture


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
    uniform: Tensor
    """n 6 8 in [0, 1): what augmentation draws, for the reals, the fakes that the discriminator
    learns from and those that the generator learns from, of the latent and the reference branch."""

    def split(self, parts: int) -> list[Batch]:
        """The same samples in ``parts`` batches of equal size, in order."""
        names = [f.name for f in dataclasses.fields(self) if f.name != "from_latents"]
        pieces = [getattr(self, name).chunk(parts) for name in names]
        return [dataclasses.replace(self, **dict(zip(names, piece))) for piece in zip(*pieces)]


class BatchSampler:
    """Draws batches from decoded pictures.

    Args:
        store: the pictures.
        sources: sources in a global batch.
        latent_size: Z.
        seed: the run's seed.
        crop_probability: share of pictures cropped at random (scale 0.8 to 1, ratio 0.9 to 1.1).
        reference_share: share of steps that take styles from references.
        favoured: domains, each once for every time that it is a target more often.
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
        favoured: Sequence[int] = (),
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
        self.target_choices = np.array([*range(len(store.pictures)), *favoured])
        self.mine = slice(rank * sources // ranks, (rank + 1) * sources // ranks)
        self.device = device
        self.counts = np.array([len(p) for p in store.pictures])
        self.first_rows = np.concatenate([[0], np.cumsum(self.counts)[:-1]])

    def batch(self, step: int) -> Batch:
        """The batch of one step."""
        random = random_at(self.seed, step, BATCH)
        n, domains = self.sources, len(self.counts)
        source_domains = random.integers(domains, size=n)
        targets = self.target_choices[random.integers(len(self.target_choices), size=n)]
        # n 3: a source and its two references
        kinds = np.stack([source_domains, targets, targets], axis=1)
        picks = random.integers(self.counts[kinds])
        mirror = random.random((n, 3)) < 0.5
        boxes = self._crop_boxes(random, (n, 3))
        latents = random.standard_normal((n, 2, self.latent_size), dtype=np.float32)
        from_latents = bool(random.random() >= self.reference_share)

        shape = (n, AUGMENTED, AUGMENTATION_NUMBERS)
        uniform = random_at(self.seed, step, AUGMENTATION).random(shape, dtype=np.float32)

        mine = self.mine
        drawn = kinds[mine], picks[mine], boxes[mine], mirror[mine]
        rows = torch.from_numpy((self.first_rows[kinds] + picks)[mine])
        return Batch(
            sources=self._pictures(*(d[:, :1] for d in drawn)),
            source_domains=torch.from_numpy(source_domains[mine]).to(self.device),
            source_rows=rows[:, 0],
            targets=torch.from_numpy(targets[mine]).to(self.device),
            references=self._pictures(*(d[:, 1:] for d in drawn)),
            reference_rows=rows[:, 1:].flatten(),
            latents=torch.from_numpy(latents[mine]).flatten(0, 1).to(self.device),
            from_latents=from_latents,
            uniform=torch.from_numpy(uniform[mine]).to(self.device),
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
        """Left, top, width and height of each crop, in pixels. -> shape + (4,)"""
        side = self.store.pictures[0].shape[1]
        cropped = random.random(shape) < self.crop_probability
        area = random.uniform(0.8, 1.0, shape)
        ratio = np.exp(random.uniform(np.log(0.9), np.log(1.1), shape))
        size = np.minimum(np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], -1), 1)
        middle = np.stack([random.uniform(-1, 1, shape) for _ in range(2)], -1) * (1 - size)
        # the middle is told as its distance from the picture's, in half pictures
        first = np.rint((middle + 1 - size) * side / 2)
        size = np.maximum(np.rint(size * side), 1)
        boxes = np.concatenate([np.minimum(first, side - size), size], -1)
        return np.where(cropped[..., None], boxes, [0, 0, side, side]).astype(np.int64)

    def _pictures(
        self, kinds: np.ndarray, picks: np.ndarray, boxes: np.ndarray, mirror: np.ndarray
    ) -> Tensor:
        """The drawn pictures, cropped and mirrored, all on the device. -> B 3 H W in [-1, 1]"""
        pixels = torch.from_numpy(self._bytes(kinds, picks)).to(self.device)
        return as_tensor(framed(pixels, boxes.reshape(-1, 4), mirror.ravel()), self.device)

    def _bytes(self, kinds: np.ndarray, picks: np.ndarray) -> np.ndarray:
        """The drawn pictures as they are stored. -> B H W 3"""
        return np.stack([self.store.pictures[k][p] for k, p in zip(kinds.ravel(), picks.ravel())])


def as_tensor(pictures: np.ndarray | Tensor, device: torch.device | str) -> Tensor:
    """B H W 3 in [0, 255], bytes or floats -> B 3 H W in [-1, 1], channels-last in memory."""
    pixels = torch.as_tensor(pictures).to(device)
    out = torch.empty(pixels.shape, device=pixels.device)
    at_once = 1 if out.device.type == "cpu" else len(out)  # one fits into a processor's cache
    for part, some in zip(out.split(at_once), pixels.split(at_once)):
        part.copy_(some).div_(127.5).sub_(1)
    return out.permute(0, 3, 1, 2)
