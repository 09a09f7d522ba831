"""The fast recipe: StarGAN v2's losses (Choi et al. 2020) for less than half of its compute.

An iteration goes through one branch, latent codes or references, with one phase of the
discriminator and one of the generator. R1 is lazy and the moving average is measured in pictures
(Karras et al. 2020, appendix B); small data sets are augmented (Zhao et al. 2020). It is not what
the paper trained with: each of these can be switched off alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from facemeld.config import LossWeights, TrainingConfig
from facemeld.data.sampling import Batch
from facemeld.networks.bundle import Networks
from facemeld.training import losses
from facemeld.training.adversary import MODES, Adversary, Numbers, Phase
from facemeld.training.starganv2 import weighted


class FastRecipe:
    """Batch in, losses out; see ``step``."""

    def __init__(
        self, config: TrainingConfig, networks: Networks, discriminator: nn.Module
    ) -> None:
        self.config = config
        self.networks = networks
        self.adversary = Adversary(config, discriminator)

    def step(
        self, batch: Batch, weights: LossWeights, iteration: int, numbers: Numbers
    ) -> Iterator[Phase]:
        """Yields each phase's loss with the names of the networks that it trains.

        The caller back-propagates and steps those networks' optimisers before it goes on.
        """
        if self.config.branches == "both":
            modes = MODES
        else:
            modes = ("latent",) if batch.from_latents else ("reference",)
        for mode in modes:
            yield from self._branch(batch, mode, weights, iteration, numbers)

    def _branch(
        self, batch: Batch, mode: str, weights: LossWeights, iteration: int, numbers: Numbers
    ) -> Iterator[Phase]:
        networks, judge = self.networks, self.adversary
        latent = mode == "latent"

        # One generator pass serves both phases; batches in parts make it anew to save memory.
        keep = self.config.accumulate == 1
        styles, other_styles = self._styles(batch, mode)
        with torch.set_grad_enabled(keep):
            content = networks.generator.encode(batch.sources)
            fakes = networks.generator.decode(content, styles)
        loss = judge.discriminator_loss(batch, fakes, mode, iteration, numbers)
        yield loss, ("discriminator",)

        if not keep:
            content = networks.generator.encode(batch.sources)
            fakes = networks.generator.decode(content, styles)
        with torch.no_grad():
            others = networks.generator.decode(content, other_styles)
        # as in the paper, the style encoder learns with latent codes only
        with torch.set_grad_enabled(latent):
            source_styles = networks.style_encoder(batch.sources, batch.source_domains)
        parts = {
            "adversarial": judge.generator_loss(batch, fakes, mode),
            "style": losses.l1(networks.style_encoder(fakes, batch.targets), styles),
            "diversity": losses.l1(fakes, others),
            "cycle": losses.l1(networks.generator(fakes, source_styles), batch.sources),
        }
        if weights.content:
            parts["content"], correlation = losses.content_hinge(
                fakes, batch.sources, self.config.content_target
            )
            numbers[f"generator/{mode}/correlation"] = correlation.detach()
        trained = ("generator", "mapping_network", "style_encoder") if latent else ("generator",)
        yield weighted(parts, weights, f"generator/{mode}", numbers), trained

    def _styles(self, batch: Batch, mode: str) -> tuple[Tensor, Tensor]:
        """Styles of each source's first and second code; only mapped ones carry a gradient."""
        targets = batch.targets.repeat_interleave(2)
        if mode == "latent":
            styles = self.networks.mapping_network(batch.latents, targets)
        else:
            with torch.no_grad():
                styles = self.networks.style_encoder(batch.references, targets)
        return styles[::2], styles[1::2].detach()
