"""The discriminator's part in the starganv2 and fast recipes: logistic losses, R1, augmentation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facemeld.config import TrainingConfig
from facemeld.data.sampling import Batch
from facemeld.training import losses
from facemeld.training.augment import augment

Numbers = dict[str, Tensor]
Phase = tuple[Tensor, tuple[str, ...]]
MODES = ("latent", "reference")
_REALS, _FAKES, _LEARNING = range(3)  # see Batch.uniform


class Adversary:
    """A discriminator and how it judges.

    Args:
        config: the run.
        discriminator: pictures and domains to logits.
    """

    def __init__(self, config: TrainingConfig, discriminator: nn.Module) -> None:
        self.config = config
        self.discriminator = discriminator

    def discriminator_loss(
        self, batch: Batch, fakes: Tensor, mode: str, iteration: int, numbers: Numbers
    ) -> Tensor:
        """Logistic loss of the sources, which are the reals, and of the fakes, and R1.

        R1 is taken every ``penalty_interval`` iterations and weighs that many times more, so that
        its pull over many iterations stays the same (Karras et al. 2020, appendix B); it is part
        of the same step, so Adam's settings need no correction.
        """
        interval = self.config.penalty_interval
        if self.config.r1 and iteration % interval == 0:
            real_logits, penalty = self._penalised(batch, mode)
            fake_logits = self._judge(batch, fakes.detach(), batch.targets, mode, _FAKES)
            numbers[f"discriminator/{mode}/r1"] = penalty.detach()
            extra = self.config.r1 * interval * penalty
        else:
            real_logits, fake_logits = self._both(batch, fakes.detach(), mode)
            extra = 0.0
        parts = {
            "real": losses.logistic_real(real_logits),
            "fake": losses.logistic_fake(fake_logits),
        }
        numbers.update({f"discriminator/{mode}/{k}": v.detach() for k, v in parts.items()})
        return parts["real"] + parts["fake"] + extra

    def generator_loss(self, batch: Batch, fakes: Tensor, mode: str) -> Tensor:
        """The non-saturating loss: the fakes should pass as reals."""
        return losses.logistic_real(self._judge(batch, fakes, batch.targets, mode, _LEARNING))

    def _penalised(self, batch: Batch, mode: str) -> tuple[Tensor, Tensor]:
        """Logits of the reals and their R1 penalty, from one pass in fp32."""
        reals = batch.sources.detach().requires_grad_()
        with torch.autocast(reals.device.type, enabled=False):
            # .forward: a compiled network cannot be differentiated twice, its eager form can
            logits = self.discriminator.forward(
                self._shown(batch, reals, mode, _REALS), batch.source_domains
            )
            return logits, losses.r1_penalty(logits, reals)

    def _both(self, batch: Batch, fakes: Tensor, mode: str) -> tuple[Tensor, Tensor]:
        """Logits of reals and fakes in one pass."""
        reals = self._shown(batch, batch.sources, mode, _REALS)
        fakes = self._shown(batch, fakes, mode, _FAKES)
        domains = torch.cat([batch.source_domains, batch.targets])
        real_logits, fake_logits = self.discriminator(torch.cat([reals, fakes]), domains).chunk(2)
        return real_logits, fake_logits

    def _judge(
        self, batch: Batch, pictures: Tensor, domains: Tensor, mode: str, which: int
    ) -> Tensor:
        return self.discriminator(self._shown(batch, pictures, mode, which), domains)

    def _shown(self, batch: Batch, pictures: Tensor, mode: str, which: int) -> Tensor:
        """The pictures as the discriminator gets to see them."""
        if self.config.augmentation == "none":
            return pictures
        return augment(pictures, batch.uniform[:, 3 * MODES.index(mode) + which])
