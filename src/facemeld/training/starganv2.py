"""The training step of StarGAN v2 (Choi et al. 2020, section 2.2 and appendix B).

Four phases an iteration: the discriminator and then the generator, each once with latent codes
and once with references. Style encoder and mapping network learn in the latent phase only.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from facemeld.config import LossWeights, TrainingConfig
from facemeld.data.sampling import Batch
from facemeld.fusion.skip_masks import Masker
from facemeld.networks.bundle import Networks
from facemeld.training import losses

Numbers = dict[str, Tensor]
Phase = tuple[Tensor, tuple[str, ...]]


class StarGANv2Recipe:
    """Batch in, losses out; see ``step``.

    Args:
        config: the run.
        networks: generator, style encoder and mapping network.
        discriminator: judges them.
        masker: gives the masks of ``masked`` skips, of sources and of fakes; for no other skips.
    """

    def __init__(
        self,
        config: TrainingConfig,
        networks: Networks,
        discriminator: nn.Module,
        masker: Masker | None = None,
    ) -> None:
        self.config = config
        self.networks = networks
        self.discriminator = discriminator
        self.masker = masker

    def step(
        self, batch: Batch, weights: LossWeights, iteration: int, numbers: Numbers
    ) -> Iterator[Phase]:
        """Yields each phase's loss with the names of the networks that it trains.

        The caller back-propagates and steps those networks' optimisers before it goes on.

        Args:
            batch: pictures and codes.
            weights: weights of the losses at this moment.
            iteration: not used by this recipe.
            numbers: receives every loss, detached.
        """
        masks = self._masks(batch.sources)
        for mode in ("latent", "reference"):
            yield self._discriminator_loss(batch, mode, masks, numbers), ("discriminator",)
        yield (
            self._generator_loss(batch, "latent", weights, masks, numbers),
            ("generator", "mapping_network", "style_encoder"),
        )
        yield self._generator_loss(batch, "reference", weights, masks, numbers), ("generator",)

    def _masks(self, pictures: Tensor) -> Tensor | None:
        """n 3 H W -> n 2 256 256; the landmark network is a judge, so nothing is learned by it."""
        return self.masker(pictures.detach()) if self.masker is not None else None

    def _styles(self, batch: Batch, mode: str, which: int) -> Tensor:
        """Styles of the first or second code of each source. -> n S"""
        if mode == "latent":
            return self.networks.mapping_network(batch.latents[which::2], batch.targets)
        return self.networks.style_encoder(batch.references[which::2], batch.targets)

    def _discriminator_loss(
        self, batch: Batch, mode: str, masks: Tensor | None, numbers: Numbers
    ) -> Tensor:
        real = batch.sources.detach().requires_grad_()
        with torch.autocast(real.device.type, enabled=False):
            real_logits = self.discriminator(real, batch.source_domains)
            penalty = losses.r1_penalty(real_logits, real)
        with torch.no_grad():
            fake = self.networks.generator(batch.sources, self._styles(batch, mode, 0), masks)
        fake_logits = self.discriminator(fake, batch.targets)
        parts = {
            "real": losses.logistic_real(real_logits),
            "fake": losses.logistic_fake(fake_logits),
            "r1": penalty,
        }
        numbers.update({f"discriminator/{mode}/{k}": v.detach() for k, v in parts.items()})
        return parts["real"] + parts["fake"] + self.config.r1 * penalty

    def _generator_loss(
        self,
        batch: Batch,
        mode: str,
        weights: LossWeights,
        masks: Tensor | None,
        numbers: Numbers,
    ) -> Tensor:
        networks = self.networks
        style = self._styles(batch, mode, 0)
        fake = networks.generator(batch.sources, style, masks)
        logits = self.discriminator(fake, batch.targets)
        fake_style = networks.style_encoder(fake, batch.targets)
        with torch.no_grad():
            other = networks.generator(batch.sources, self._styles(batch, mode, 1), masks)
        source_style = networks.style_encoder(batch.sources, batch.source_domains)
        cycled = networks.generator(fake, source_style, self._masks(fake))
        parts = {
            "adversarial": losses.logistic_real(logits),
            "style": losses.l1(fake_style, style),
            "diversity": losses.l1(fake, other),
            "cycle": losses.l1(cycled, batch.sources),
        }
        numbers.update({f"generator/{mode}/{k}": v.detach() for k, v in parts.items()})
        return (
            weights.adversarial * parts["adversarial"]
            + weights.style * parts["style"]
            - weights.diversity * parts["diversity"]
            + weights.cycle * parts["cycle"]
        )
