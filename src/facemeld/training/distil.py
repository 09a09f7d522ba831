"""The distil recipe: a small generator learns to paint what a trained one paints.

The student takes over the teacher's style encoder and mapping network, which stay as they are, so
a style code means the same to both. Each source is painted under three styles: two of its target
domain, from references or latent codes, and one on the way from its own style to the first of
them. The student's picture is compared with the teacher's in pixels and in frozen ImageNet
features (Johnson et al. 2016), and by a projected discriminator (Sauer et al. 2021) whose reals
are the teacher's pictures: it sees nothing but what the student lacks. Teacher and student share
the sources, as in GAN compression (Li et al. 2020).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from facemeld.config import LossWeights, TrainingConfig
from facemeld.data.folders import DomainFolders, of_domains
from facemeld.data.sampling import Batch
from facemeld.errors import UserError
from facemeld.evaluation.plan import hash_model
from facemeld.fusion.skip_masks import Masker
from facemeld.networks.bundle import Networks, load_model
from facemeld.networks.discriminator import ProjectedDiscriminator
from facemeld.networks.features import EfficientNetLite0
from facemeld.networks.generator import Content, Generator
from facemeld.networks.model_folder import find_model, read_network_config
from facemeld.networks.student import OWN_PARTS
from facemeld.training import losses
from facemeld.training.adversary import Numbers, Phase

STYLES = 3  # under which each source is painted


@dataclass(frozen=True)
class Teacher:
    """The generator that is imitated."""

    generator: Generator
    folder: Path
    sha256: str
    """Of the model's weights."""

    def check_same(self, sha256: str | None) -> None:
        """Raises a UserError if an earlier session of the run learned from other weights."""
        if sha256 != self.sha256:
            raise UserError(
                "the run began with another teacher",
                where=str(self.folder),
                fix="name that one, or train into another folder",
            )


def teacher_folders(config: TrainingConfig) -> DomainFolders:
    """The pictures of the teacher's domains, in their order there; loads nothing.

    Raises:
        UserError: no such teacher, networks that differ from its in more than the generator, or
            one of its domains without pictures.
    """
    network = read_network_config(find_model(config.teacher))
    wanted = dataclasses.replace(config.network, domains=network.domains).resolved()
    theirs, mine = dataclasses.asdict(network), dataclasses.asdict(wanted)
    differing = [n for n in mine if n not in OWN_PARTS and mine[n] != theirs[n]]
    if differing:
        told = ", ".join(f"{n} (teacher {theirs[n]}, run {mine[n]})" for n in differing)
        raise UserError(f"options differ from the teacher's: {told}", where=config.teacher)
    return of_domains(config.data, network.domains)


def take_teacher(config: TrainingConfig, networks: Networks, device: torch.device) -> Teacher:
    """Loads the teacher; its style encoder and mapping network become those of ``networks``."""
    folder = find_model(config.teacher)
    theirs = load_model(folder, device=device).to(memory_format=torch.channels_last)
    for name in ("style_encoder", "mapping_network"):
        module = getattr(networks, name)
        module.load_state_dict(getattr(theirs, name).state_dict())
        module.requires_grad_(False)
    return Teacher(theirs.generator, folder, hash_model(folder))


class DistilRecipe:
    """Batch in, losses out; see ``step``.

    Args:
        config: the run.
        networks: the student's generator, and the teacher's style encoder and mapping network.
        teacher: the generator that is imitated.
        discriminator: the projected discriminator.
        features: the frozen feature network.
        masker: gives the masks of ``masked`` skips; for no other skips.
    """

    def __init__(
        self,
        config: TrainingConfig,
        networks: Networks,
        teacher: Generator,
        discriminator: ProjectedDiscriminator,
        features: EfficientNetLite0,
        masker: Masker | None = None,
    ) -> None:
        self.config = config
        self.networks = networks
        self.teacher = teacher
        self.discriminator = discriminator
        self.features = features
        self.masker = masker

    def step(
        self, batch: Batch, weights: LossWeights, iteration: int, numbers: Numbers
    ) -> Iterator[Phase]:
        """Yields each phase's loss with the names of the networks that it trains.

        The caller back-propagates and steps those networks' optimisers before it goes on.
        """
        with torch.no_grad():
            styles, domains = self._styles(batch)
            masks = None if self.masker is None else self.masker(batch.sources)
            wanted = _paint(self.teacher, batch.sources, styles, masks)
            wanted_features = self.features(wanted)
        imitating = iteration * self.config.batch_size < self.config.warmup_pictures
        keep = self.config.accumulate == 1  # parts of a batch make them anew, to save memory
        if imitating or keep:
            fakes, fake_features = self._fakes(batch, styles, masks)
        if not imitating:
            if not keep:
                with torch.no_grad():
                    fakes, fake_features = self._fakes(batch, styles, masks)
            loss = self._discriminator_loss(wanted_features, fake_features, domains, numbers)
            yield loss, ("discriminator",)
            if not keep:
                fakes, fake_features = self._fakes(batch, styles, masks)
        parts = {
            "pixels": losses.l1(fakes.float(), wanted.float()),
            "features": losses.feature_distance(fake_features, wanted_features),
        }
        if not imitating:
            parts["adversarial"] = -self.discriminator(fake_features, domains).mean()
        mode = "latent" if batch.from_latents else "reference"
        numbers.update({f"generator/{mode}/{k}": v.detach() for k, v in parts.items()})
        total = sum(getattr(weights, name) * value for name, value in parts.items())
        yield total, ("generator",)

    def _fakes(
        self, batch: Batch, styles: Tensor, masks: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """The student's pictures, and their frozen features."""
        fakes = _paint(self.networks.generator, batch.sources, styles, masks)
        return fakes, self.features(fakes)

    def _styles(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Three styles a source, and whose pictures they make. -> 3n S and 3n

        Half of the third styles are the source's own, which rebuild it; the others lie anywhere
        between that and the first.
        """
        targets = batch.targets.repeat_interleave(2)
        if batch.from_latents:
            styles = self.networks.mapping_network(batch.latents, targets)
        else:
            styles = self.networks.style_encoder(batch.references, targets)
        own = self.networks.style_encoder(batch.sources, batch.source_domains)
        way = (2 * batch.uniform[:, 0, :1] - 1).clamp(min=0)  # n 1
        first, second = styles.unflatten(0, (-1, 2)).unbind(dim=1)
        between = torch.lerp(own, first, way)
        domains = torch.where(way[:, 0] < 0.5, batch.source_domains, batch.targets)
        return (
            torch.stack([first, second, between], dim=1).flatten(0, 1),
            torch.stack([batch.targets, batch.targets, domains], dim=1).flatten(),
        )

    def _discriminator_loss(
        self, wanted: list[Tensor], fakes: list[Tensor], domains: Tensor, numbers: Numbers
    ) -> Tensor:
        """Hinge loss of the teacher's pictures against the student's."""
        both = [torch.cat([w, f.detach()]) for w, f in zip(wanted, fakes)]
        real, fake = self.discriminator(both, domains.repeat(2)).chunk(2)
        parts = {"real": losses.hinge_real(real), "fake": losses.hinge_fake(fake)}
        numbers.update({f"discriminator/{k}": v.detach() for k, v in parts.items()})
        return parts["real"] + parts["fake"]


def _paint(generator: Generator, sources: Tensor, styles: Tensor, masks: Tensor | None) -> Tensor:
    """Every source under its styles. n 3 H W and 3n S -> 3n 3 H W"""
    content: Content = generator.encode(sources).repeat(STYLES)
    masks = None if masks is None else masks.repeat_interleave(STYLES, dim=0)
    return generator.decode(content, styles, masks)
