"""The training step of StarGAN v2 (Choi et al. 2020, section 2.2 and appendix B).

Four phases an iteration: the discriminator and then the generator, each once with latent codes
and once with references. Style encoder and mapping network learn in the latent phase only. What the
phases have in common is computed once, and nothing is differentiated that no phase learns from;
neither changes a result.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from facemeld.config import LossWeights, TrainingConfig
from facemeld.data.sampling import Batch
from facemeld.fusion.skip_masks import Masker
from facemeld.networks.bundle import Networks
from facemeld.networks.generator import Content
from facemeld.training import losses
from facemeld.training.adversary import Adversary, Numbers, Phase


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
        self.adversary = Adversary(config, discriminator)
        self.masker = masker

    def step(
        self, batch: Batch, weights: LossWeights, iteration: int, numbers: Numbers
    ) -> Iterator[Phase]:
        """Yields each phase's loss with the names of the networks that it trains.

        The caller back-propagates and steps those networks' optimisers before it goes on.

        Args:
            batch: pictures and codes.
            weights: weights of the losses at this moment.
            iteration: counts from 0; says when R1 is due.
            numbers: receives every loss, detached.
        """
        networks, judge = self.networks, self.adversary
        sources, targets = batch.sources, batch.targets
        masks = self._masks(sources)

        # The generator rests until its own latent phase, which takes up the fakes made here. With
        # batches in parts they are made anew then: one graph a part would fill the memory.
        keep = self.config.accumulate == 1
        with torch.set_grad_enabled(keep):
            content, styles, fakes = self._latent_fakes(batch, masks)
        with torch.no_grad():
            encoded = networks.style_encoder(batch.references[::2], targets)
            reference_fakes = networks.generator.decode(content, encoded, masks)
        loss = judge.discriminator_loss(batch, fakes, "latent", iteration, numbers)
        yield loss, ("discriminator",)
        loss = judge.discriminator_loss(batch, reference_fakes, "reference", iteration, numbers)
        yield loss, ("discriminator",)

        if not keep:
            content, styles, fakes = self._latent_fakes(batch, masks)
        with torch.no_grad():
            other_styles = networks.mapping_network(batch.latents[1::2], targets)
            others = networks.generator.decode(content, other_styles, masks)
        fake_styles, source_styles = networks.style_encoder(
            torch.cat([fakes, sources]), torch.cat([targets, batch.source_domains])
        ).chunk(2)
        parts = {
            "adversarial": judge.generator_loss(batch, fakes, "latent"),
            "style": losses.l1(fake_styles, styles),
            "diversity": losses.l1(fakes, others),
            "cycle": losses.l1(self._cycled(fakes, source_styles), sources),
        }
        yield (
            weighted(parts, weights, "generator/latent", numbers),
            ("generator", "mapping_network", "style_encoder"),
        )

        # the generator has moved, so nothing of the above holds any more
        yield self._reference_loss(batch, weights, masks, numbers), ("generator",)

    def _reference_loss(
        self, batch: Batch, weights: LossWeights, masks: Tensor | None, numbers: Numbers
    ) -> Tensor:
        """The generator's loss with references, from which it alone learns."""
        networks, sources, targets = self.networks, batch.sources, batch.targets
        references = batch.references
        with torch.no_grad():
            styles, other_styles, source_styles = networks.style_encoder(
                torch.cat([references[::2], references[1::2], sources]),
                torch.cat([targets, targets, batch.source_domains]),
            ).chunk(3)
        content = networks.generator.encode(sources)
        fakes = networks.generator.decode(content, styles, masks)
        with torch.no_grad():
            others = networks.generator.decode(content, other_styles, masks)
        parts = {
            "adversarial": self.adversary.generator_loss(batch, fakes, "reference"),
            "style": losses.l1(networks.style_encoder(fakes, targets), styles),
            "diversity": losses.l1(fakes, others),
            "cycle": losses.l1(self._cycled(fakes, source_styles), sources),
        }
        return weighted(parts, weights, "generator/reference", numbers)

    def _masks(self, pictures: Tensor) -> Tensor | None:
        """n 3 H W -> n 2 256 256; the landmark network is a judge, so nothing is learned by it."""
        return self.masker(pictures.detach()) if self.masker is not None else None

    def _cycled(self, fakes: Tensor, source_styles: Tensor) -> Tensor:
        """The fakes given back the styles of their sources."""
        return self.networks.generator(fakes, source_styles, self._masks(fakes))

    def _latent_fakes(self, batch: Batch, masks: Tensor | None) -> tuple[Content, Tensor, Tensor]:
        """Content of the sources, styles of their first latent codes, and the fakes of both."""
        content = self.networks.generator.encode(batch.sources)
        styles = self.networks.mapping_network(batch.latents[::2], batch.targets)
        return content, styles, self.networks.generator.decode(content, styles, masks)


def weighted(
    parts: dict[str, Tensor], weights: LossWeights, where: str, numbers: Numbers
) -> Tensor:
    """The weighted sum of the generator's losses, of which diversity is to grow."""
    numbers.update({f"{where}/{name}": value.detach() for name, value in parts.items()})
    signs = {"diversity": -1}
    return sum(signs.get(name, 1) * getattr(weights, name) * v for name, v in parts.items())
