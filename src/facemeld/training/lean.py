"""The lean recipe: fusion that learns from little compute.

Frozen ImageNet features serve three times: under the discriminator's heads (Sauer et al. 2021),
as a target for the fake's statistics, and as the style of a reference, where the style encoder is
the projected one. One generator pass of every source under two styles of one domain serves the
discriminator, the generator and the diversity term. The layout of the source is kept by cycles and
by what the weights ask for: landmarks and self-similarity, both read from the frozen features, a
hinge on luminance gradients, geometry consistency. A projected generator encodes the frozen
features themselves, so that the fakes' serve a fourth time, in the cycle. The mapping network
learns to draw from the style encoder's distribution (energy distance), which makes latent codes as
good as references.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from facemeld.config import LossWeights, TrainingConfig
from facemeld.data.randomness import random_at
from facemeld.data.sampling import MOVEMENT, RIVALS, STYLE_MATCHING, Batch, BatchSampler
from facemeld.networks.bundle import Networks
from facemeld.networks.discriminator import ProjectedDiscriminator
from facemeld.networks.features import FeatureStatistics
from facemeld.networks.generator import Content
from facemeld.training import losses
from facemeld.training.adversary import Numbers, Phase
from facemeld.training.guide import Guide
from facemeld.training.landmarks import Landmarks, Wanted

STYLES_MATCHED = 32  # styles a domain in each energy distance
# A style encoder that has to see the pictures is asked for fewer styles, and less often.
STYLES_MATCHED_FROM_PICTURES = 8
STYLE_MATCHING_INTERVAL = 4
RECONSTRUCTION_INTERVAL = 4
GEOMETRY_INTERVAL = 4
LIKENESS_RIVALS, LIKENESS_TEMPERATURE = 15, 0.05  # faces of one domain are about 0.9 apart
STYLE_DEVIATION = 0.7  # of unit variance: half of it within the domains, half between them
LAYOUT_MAP = 1  # of stride 8: coarser ones are alike for all faces, finer ones cost too much


class LeanRecipe:
    """Batch in, losses out; see ``step``.

    Args:
        config: the run.
        networks: generator, style encoder and mapping network.
        discriminator: the projected discriminator.
        frozen: the feature network and the scale of its statistics; the style encoder itself,
            where that is the projected one.
        sampler: where the batches come from.
        statistics: N F, feature statistics of every training picture, row by row.
        landmarks: where eyes and nose should lie, if ``weights.landmarks`` is asked for.
        guide: shows roughly what is wanted, if ``weights.guide`` is asked for.
    """

    def __init__(
        self,
        config: TrainingConfig,
        networks: Networks,
        discriminator: ProjectedDiscriminator,
        frozen: FeatureStatistics,
        sampler: BatchSampler,
        statistics: Tensor,
        landmarks: Landmarks | None = None,
        guide: Guide | None = None,
    ) -> None:
        self.config = config
        self.networks = networks
        self.discriminator = discriminator
        self.sampler = sampler
        self.statistics = statistics
        self.frozen = frozen
        self.landmarks = landmarks
        self.guide = guide
        self.projected = networks.style_encoder is frozen

    def step(
        self, batch: Batch, weights: LossWeights, iteration: int, numbers: Numbers
    ) -> Iterator[Phase]:
        """Yields each phase's loss with the names of the networks that it trains.

        The caller back-propagates and steps those networks' optimisers before it goes on.
        """
        networks, device = self.networks, batch.sources.device
        seen = iteration * self.config.batch_size
        only_outermost = seen < self.config.outermost_pictures
        if self.config.outermost_pictures:
            networks.generator.train_inner(not only_outermost)
        rest = () if only_outermost else ("style_encoder", "mapping_network")
        source_styles = self._encode(batch.sources, batch.source_rows, batch.source_domains)
        source_features = self._source_features(batch, weights)
        content = self._content(batch.sources, source_features)
        if seen < self.config.warmup_pictures:
            parts = self._rebuilt(content, source_styles, batch, source_features, weights)
            numbers.update({f"generator/warmup/{k}": v.detach() for k, v in parts.items()})
            total = parts["reconstruction"] + weights.perceptual * parts.get("perceptual", 0)
            yield total, ("generator", *rest[:1])
            return

        targets = batch.targets.repeat_interleave(2)
        if batch.from_latents:
            styles = networks.mapping_network(batch.latents, targets)
        else:
            styles = self._encode(batch.references, batch.reference_rows, targets)
        keep = self.config.accumulate == 1  # parts of a batch make them anew, to save memory
        with torch.set_grad_enabled(keep):
            fakes, fake_features = self._fakes(content, styles)
        yield self._discriminator_loss(batch, targets, fake_features, numbers), ("discriminator",)

        if not keep:
            fakes, fake_features = self._fakes(content, styles)
        mode = "latent" if batch.from_latents else "reference"
        fake_statistics = self.frozen.statistics(fake_features, fakes)
        parts = self._looks(fakes, fake_features, fake_statistics, styles, targets)
        parts["cycle"] = self._cycle(iteration, batch, fakes, fake_features, source_styles)
        if not batch.from_latents:
            parts |= self._followed(fake_statistics, batch, targets, iteration, weights)
            if weights.guide:
                guided = (batch.sources, batch.references, fakes, targets)
                parts["guide"] = self.guide.loss(*guided)
        if (weights.reconstruction or weights.perceptual) and (
            iteration % RECONSTRUCTION_INTERVAL == 0
        ):
            parts |= self._rebuilt(content, source_styles, batch, source_features, weights)
        layout, told = self._layout(batch, fakes, fake_features, source_features, weights)
        parts |= layout
        if weights.edges:
            parts["edges"] = losses.edge_lines(fakes, batch.references)
        if weights.geometry:
            parts["geometry"] = self._geometry(iteration, batch.sources, styles, fakes)
        if self.projected or iteration % STYLE_MATCHING_INTERVAL == 0:
            parts |= self._style_space(iteration, device, weights)
        told |= parts
        numbers.update({f"generator/{mode}/{k}": v.detach() for k, v in told.items()})
        total = sum(getattr(weights, name) * value for name, value in parts.items())
        yield total, ("generator", *rest)

    def _source_features(self, batch: Batch, weights: LossWeights) -> list[Tensor] | None:
        """Frozen features of the sources, where anything needs them."""
        wants = (weights.perceptual, weights.self_similarity, weights.landmarks)
        if not (self.networks.generator.projected or any(wants)):
            return None
        with torch.no_grad():
            return self.frozen.features(batch.sources)

    def _content(self, pictures: Tensor, features: list[Tensor] | None) -> Content:
        """Of pictures whose frozen features may be there already."""
        generator = self.networks.generator
        if generator.projected:
            return generator.encode_features(features)
        return generator.encode(pictures)

    def _rebuilt(
        self,
        content: Content,
        styles: Tensor,
        batch: Batch,
        features: list[Tensor] | None,
        weights: LossWeights,
    ) -> dict[str, Tensor]:
        """Losses of the sources under their own styles against themselves."""
        rebuilt = self.networks.generator.decode(content, styles)
        parts = {"reconstruction": losses.l1(rebuilt, batch.sources)}
        if weights.perceptual:
            found = self.frozen.features(rebuilt)
            parts["perceptual"] = losses.feature_distance(found, features)
        return parts

    def _fakes(self, content: Content, styles: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Each source under two styles, and the frozen features of these fakes."""
        fakes = self.networks.generator.decode(content.repeat(2), styles)
        return fakes, self.frozen.features(fakes)

    def _encode(self, pictures: Tensor | None, rows: Tensor, domains: Tensor) -> Tensor:
        """Styles of training pictures, from their stored statistics where those are enough."""
        encoder = self.networks.style_encoder
        if self.projected:
            return encoder.from_statistics(self.statistics[rows].to(domains.device), domains)
        return encoder(pictures, domains)

    def _discriminator_loss(
        self, batch: Batch, targets: Tensor, fake_features: list[Tensor], numbers: Numbers
    ) -> Tensor:
        """Hinge loss of the references, which are the real batch, against the fakes."""
        with torch.no_grad():
            real_features = self.frozen.features(batch.references)
        both = [torch.cat([r, f.detach()]) for r, f in zip(real_features, fake_features)]
        real, fake = self.discriminator(both, targets.repeat(2)).chunk(2)
        parts = {"real": losses.hinge_real(real), "fake": losses.hinge_fake(fake)}
        numbers.update({f"discriminator/{k}": v.detach() for k, v in parts.items()})
        return parts["real"] + parts["fake"]

    def _followed(
        self,
        statistics: Tensor,
        batch: Batch,
        targets: Tensor,
        iteration: int,
        weights: LossWeights,
    ) -> dict[str, Tensor]:
        """Losses of the fakes' feature statistics against those of their references."""
        standardise, parts = self.frozen.standardise, {}
        if not (weights.features or weights.likeness):
            return parts
        found = standardise(statistics)
        wanted = standardise(self.statistics[batch.reference_rows].to(found.device))
        parts["features"] = losses.l1(found, wanted)
        if weights.likeness:
            random = random_at(self.config.seed, iteration, RIVALS)
            domains = range(len(self.networks.config.domains))
            rows = [self.sampler.rows_of_domain(k, random, LIKENESS_RIVALS) for k in domains]
            rows = torch.stack(rows)[targets.cpu()]  # B R
            others = standardise(self.statistics[rows].to(found.device))
            own, rivals = self._apart(found, wanted), self._apart(found[:, None], others)
            same = (rows == batch.reference_rows[:, None]).to(found.device)
            rivals = rivals.masked_fill(same[..., None], torch.inf)
            parts["likeness"] = losses.likeness(own, rivals, LIKENESS_TEMPERATURE)
        return parts

    def _apart(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean distances of standardised statistics, level by level. ... F and ... F -> ... L"""
        gaps = (a - b).abs().split(self.frozen.levels, dim=-1)
        return torch.stack([level.mean(dim=-1) for level in gaps], dim=-1)

    def _looks(
        self,
        fakes: Tensor,
        features: list[Tensor],
        statistics: Tensor,
        styles: Tensor,
        targets: Tensor,
    ) -> dict[str, Tensor]:
        """StarGAN v2's losses of the fakes: they look real, have their styles, and differ."""
        if self.projected:
            found = self.networks.style_encoder.from_statistics(statistics, targets)
        else:
            found = self.networks.style_encoder(fakes, targets)
        return {
            "adversarial": -self.discriminator(features, targets).mean(),
            "style": losses.l1(found, styles.detach()),
            "diversity": -losses.l1(fakes[::2], fakes[1::2]),
        }

    def _cycle(
        self,
        iteration: int,
        batch: Batch,
        fakes: Tensor,
        features: list[Tensor],
        source_styles: Tensor,
    ) -> Tensor:
        """Distance to the sources of a share of the fakes, painted in their sources' styles."""
        interval = self.config.cycle_interval
        rows = torch.arange(iteration % interval, len(fakes), interval, device=fakes.device)
        content = self._content(fakes[rows], [maps[rows] for maps in features])
        cycled = self.networks.generator.decode(content, source_styles[rows // 2])
        return losses.l1(cycled, batch.sources[rows // 2])

    def _layout(
        self,
        batch: Batch,
        fakes: Tensor,
        features: list[Tensor],
        source_features: list[Tensor] | None,
        weights: LossWeights,
    ) -> tuple[dict[str, Tensor], Numbers]:
        """Losses of what fakes keep of their sources, and numbers that tell how much it is."""
        parts: dict[str, Tensor] = {}
        numbers: Numbers = {}
        if weights.content:
            sources = batch.sources.repeat_interleave(2, dim=0)
            parts["content"], numbers["correlation"] = losses.content_hinge(
                fakes, sources, self.config.content_target
            )
        if weights.self_similarity:
            layout = source_features[LAYOUT_MAP].repeat_interleave(2, dim=0)
            parts["self_similarity"] = losses.self_similarity_distance(features[LAYOUT_MAP], layout)
        if weights.landmarks:
            wanted = self.landmarks.wanted(source_features, batch.source_domains, batch.targets)
            wanted = Wanted(*(w.repeat_interleave(2, dim=0) for w in wanted))
            parts["landmarks"], numbers["landmarks_off"] = self.landmarks.loss(features, wanted)
        return parts, numbers

    def _geometry(self, iteration: int, sources: Tensor, styles: Tensor, fakes: Tensor) -> Tensor:
        """Geometry consistency of a share of the fakes, under one movement an iteration."""
        random = random_at(self.config.seed, iteration, MOVEMENT)
        movement = losses.Movement.draw(random, fakes.shape[-1])
        first, step = iteration % GEOMETRY_INTERVAL, GEOMETRY_INTERVAL
        rows = torch.arange(first, len(fakes), step, device=fakes.device)
        again = self.networks.generator(movement(sources[rows // 2]), styles[rows])
        return losses.geometry_consistency(again, fakes[rows], movement)

    def _style_space(
        self, iteration: int, device: torch.device, weights: LossWeights
    ) -> dict[str, Tensor]:
        """Losses of each domain's encoded styles, and of mapped ones against them."""
        parts: dict[str, Tensor] = {}
        if not (weights.style_matching or weights.style_spread):
            return parts
        networks = self.networks
        random = random_at(self.config.seed, iteration, STYLE_MATCHING)
        count = len(networks.config.domains)
        encodings = STYLES_MATCHED if self.projected else STYLES_MATCHED_FROM_PICTURES
        rows = [self.sampler.rows_of_domain(k, random, encodings) for k in range(count)]
        rows = torch.cat(rows)
        domains = torch.arange(count, device=device)
        pictures = None if self.projected else self.sampler.pictures_of_rows(rows.numpy())
        with torch.set_grad_enabled(weights.style_spread > 0):
            encoded = self._encode(pictures, rows, domains.repeat_interleave(encodings))
            encoded = encoded.unflatten(0, (count, -1))  # domains N S
        if weights.style_spread:
            parts["style_spread"] = losses.style_spread_hinge(encoded, STYLE_DEVIATION).mean()
        if weights.style_matching:
            shape = (count * STYLES_MATCHED, networks.config.latent_size)
            latents = torch.from_numpy(random.standard_normal(shape, dtype="float32")).to(device)
            mapped = networks.mapping_network(latents, domains.repeat_interleave(STYLES_MATCHED))
            distances = losses.energy_distance(mapped.unflatten(0, (count, -1)), encoded.detach())
            parts["style_matching"] = distances.mean()
        return parts
