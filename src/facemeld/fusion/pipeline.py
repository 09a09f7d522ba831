"""FusionPipeline: load a model, give it pictures, get fused pictures.

Tensors: pictures B 3 H W in [-1, 1], style codes B S, latent codes B Z, domains B int64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from facemeld.data.sampling import random_at
from facemeld.errors import UserError
from facemeld.fusion.face_parts import FaceParts
from facemeld.fusion.inputs import (
    FusionResult,
    Input,
    Picture,
    as_list,
    file_sha256,
    read_input,
    sources_of,
)
from facemeld.fusion.looks import Looks, read_looks
from facemeld.fusion.passes import fuse_batch, look_codes
from facemeld.fusion.provenance import settings_of
from facemeld.fusion.request import (
    Controls,
    check_cell,
    check_domain,
    check_request,
    numbered,
)
from facemeld.fusion.skip_masks import Masker, load_masker
from facemeld.images.read import centre_square, read_picture
from facemeld.images.sheet import sheet
from facemeld.images.tensors import to_pictures, to_tensor
from facemeld.networks.bundle import Networks, load_model, save_model
from facemeld.networks.layers import unit_rms
from facemeld.networks.model_folder import find_model
from facemeld.networks.styles import StyleField

BATCH = 16
"""Sources that an accelerator takes at once. A CPU takes one, so that a picture has the same bits
alone and among others."""
_MEAN_STYLE = 20  # random stream
_MEAN_OF = 4096  # latent codes


class FusionPipeline:
    """Fuses faces with one model.

    Args:
        networks: the model.
        name: what the model is called in the settings of its results.
        weights: the file that the networks came from.
        weights_dir: folder to look in first for detectors and landmark networks.
    """

    def __init__(
        self,
        networks: Networks,
        *,
        name: str = "",
        weights: str | Path | None = None,
        weights_dir: str | Path | None = None,
    ) -> None:
        self.networks = networks.eval()
        self.name = name
        self._weights = weights
        self._mean_styles: dict[str, Tensor] = {}
        self._weights_dir = weights_dir
        self._masker: Masker | None = None

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "faces",
        *,
        device: str | torch.device = "cpu",
        weights_dir: str | Path | None = None,
    ) -> FusionPipeline:
        """Loads a bundled model by its name, or a model folder.

        Raises:
            UserError: there is no such model, or the folder is damaged.
        """
        folder = find_model(model)
        networks = load_model(folder, device=device)
        weights = folder / "model.safetensors"
        return cls(networks, name=folder.resolve().name, weights=weights, weights_dir=weights_dir)

    def save_pretrained(self, folder: str | Path, *, card: str, half: bool = False) -> None:
        """Writes a model folder (see networks.bundle.save_model)."""
        save_model(self.networks, Path(folder), card=card, half=half)

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the model's domains; their positions are the domain indices."""
        return self.networks.config.domains

    @property
    def image_size(self) -> int:
        """Side of the pictures in pixels."""
        return self.networks.config.image_size

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.networks.parameters()).device

    @cached_property
    def weights_sha256(self) -> str | None:
        """SHA-256 of the weights file; None for networks that came from no file."""
        return None if self._weights is None else file_sha256(Path(self._weights))

    @torch.inference_mode()
    def encode_style(self, pictures: Tensor, domains: Tensor) -> Tensor:
        """Style codes of reference pictures. B 3 H W, B -> B S"""
        return self.networks.style_encoder(pictures, domains)

    @torch.inference_mode()
    def map_latent(self, latents: Tensor, domains: Tensor) -> Tensor:
        """Style codes of latent codes. B Z, B -> B S"""
        return self.networks.mapping_network(latents, domains)

    @torch.inference_mode()
    def translate(
        self, pictures: Tensor, styles: Tensor | StyleField, masks: Tensor | None = None
    ) -> Tensor:
        """Source pictures under styles. B 3 H W, B S or a field, [B 2 H W] -> B 3 H W"""
        return self.networks.generator(pictures, styles, masks)

    def masks(self, pictures: Tensor) -> Tensor | None:
        """Masks of aligned faces, for a model whose skips need them; else None.

        B 3 H W -> B 2 256 256 in [0, 1]

        Raises:
            UserError: no landmark network is at hand.
        """
        if self.networks.config.skips != "masked":
            return None
        if self._masker is None:
            self._masker = load_masker(self._weights_dir)
        return self._masker(pictures)

    @cached_property
    def face_parts(self) -> FaceParts:
        """Finds eyes, mouth and so on in a source.

        Raises:
            UserError: OpenCV is not installed.
        """
        return FaceParts(self._weights_dir)

    def __call__(
        self,
        source: Picture | FusionResult | Sequence[Picture],
        references: Picture | Sequence[Picture] = (),
        *,
        weights: Sequence[float] | None = None,
        interpolation: str = "linear",
        strength: float = 1.0,
        domain: str | None = None,
        source_domain: str | None = None,
        levels: Mapping[str, Picture] | None = None,
        regions: Mapping | Sequence[tuple] = (),
        feather: float = 0.05,
        latent: bool = False,
        seed: int = 0,
        truncation: float = 1.0,
        variations: int | Sequence[int] = 0,
        variation_angle: float = 20.0,
        second_source: Picture | None = None,
        source_mix: float | None = None,
        content_strength: float = 1.0,
        colour_match: float = 0.0,
        size: int | None = None,
    ) -> FusionResult:
        """Fuses each source with the weighted look of all references, or with a latent style.

        Without references and latent style, what ``levels`` and ``regions`` leave over keeps the
        source's own style.

        Args:
            source: one picture or several, or the result of another fusion; each gives one result.
            references: pictures that give the look.
            weights: one for each reference, not negative; scaled to sum to 1. Equal by default.
            interpolation: how styles are mixed: ``linear``, or ``spherical`` along great circles.
            strength: 0 is the source under its own style, 1 the full style.
            domain: domain of all references and of the result; guessed from each reference where
                the model can do that.
            source_domain: domain of the sources, for their own style; guessed likewise.
            levels: references of their own for ``coarse``, ``middle`` or ``fine`` decoder levels.
            regions: references of their own for places: a dict, or pairs, of a region's name or
                mask (see ``fusion.regions``) and a reference. The rest of the picture, to the bit,
                is as without regions.
            feather: softness of the regions' edges, a share of the side.
            latent: take the style from a random latent code of ``domain`` instead.
            seed: of the latent code and of the variations.
            truncation: 1 is the latent style, 0 its domain's mean style, typical and plain.
            variations: so many random variations of each result instead of it, or those with
                these numbers; 0 is the result itself.
            variation_angle: how far they turn away from its style, in degrees.
            second_source: a picture whose shapes are blended into the source's.
            source_mix: 0 is the source's shapes, 1 the second source's; 0.5 by default.
            content_strength: factor of what the skips carry from source to result.
            colour_match: 1 gives the result the source's colours, 0 leaves them.
            size: side of the results in pixels, interpolated; the model's own if not given.

        Raises:
            UserError: unreadable pictures, unknown domains, or values that do not fit together.
        """
        controls = Controls(
            weights=None if weights is None else tuple(float(w) for w in weights),
            interpolation=interpolation,
            strength=strength,
            domain=domain,
            source_domain=source_domain,
            feather=feather,
            latent=latent,
            seed=seed,
            truncation=truncation,
            variations=numbered(variations),
            variation_angle=variation_angle,
            source_mix=source_mix,
            content_strength=content_strength,
            colour_match=colour_match,
            size=size,
        )
        pairs = regions.items() if isinstance(regions, Mapping) else regions
        return self.fuse(
            sources_of(source),
            read_looks(as_list(references), levels or {}, list(pairs), second_source),
            controls,
        )

    def fuse(self, sources: Sequence[Picture], looks: Looks, controls: Controls) -> FusionResult:
        """The same as calling the pipeline, for pictures and controls that are at hand as values.

        Args:
            sources: read one after the other.
            looks: all other pictures.
            controls: everything else.
        """
        if not sources:
            raise UserError("no source picture", where="source")
        shares = check_request(
            len(looks.references),
            controls,
            self.networks.config,
            levels=looks.levels,
            regions=len(looks.regions),
            second_source=looks.second_source is not None,
        )
        codes = look_codes(self, looks, controls, shares)
        batch = 1 if self.device.type == "cpu" else BATCH
        result = FusionResult([], [])
        for start in range(0, len(sources), batch):
            inputs = [read_input(s) for s in sources[start : start + batch]]
            for source, pictures in zip(inputs, fuse_batch(self, inputs, looks, codes, controls)):
                for number, picture in zip(controls.variations or (0,), pictures):
                    known = settings_of(self, source, looks, controls, shares, number)
                    result.images.append(picture)
                    result.settings.append(known)
        return result

    def grid(
        self,
        sources: Sequence[Picture],
        references: Sequence[Picture],
        *,
        domain: str | None = None,
        cell: int | None = None,
    ) -> Image.Image:
        """A sheet: every source (rows) under the style of every reference (columns)."""
        if not sources or not references:
            raise UserError("a grid needs at least one source and one reference")
        check_cell(cell)
        styles = self.styles_of(references, domain)
        batch = self.prepare(sources)
        header = to_pictures(self.prepare(references))
        rows: list[list[Image.Image | None]] = [[None, *header]]
        generator = self.networks.generator
        with torch.inference_mode():
            for picture in batch:
                content = generator.encode(picture[None]).repeat(len(styles))
                masks = self.masks(picture[None])
                if masks is not None:
                    masks = masks.expand(len(styles), -1, -1, -1)
                fused = to_pictures(generator.decode(content, styles, masks))
                rows.append([*to_pictures(picture[None]), *fused])
        return sheet(rows, cell=cell)

    def prepare(self, pictures: Sequence[Picture]) -> Tensor:
        """Reads pictures, crops the centre square and resizes. -> B 3 H W"""
        images = [p.image if isinstance(p, Input) else read_picture(p) for p in pictures]
        return to_tensor([centre_square(i, self.image_size) for i in images]).to(self.device)

    def styles_of(self, references: Sequence[Picture], domain: str | None = None) -> Tensor:
        """The style of each reference; its domain is guessed where none is named. -> B S"""
        check_domain(domain, self.domains, where="domain")
        pictures = self.prepare(references)
        return self.encode_style(pictures, self._domains(pictures, domain, "domain"))

    def own_styles(self, pictures: Tensor, domain: str | None = None) -> Tensor:
        """The style that each source has itself. B 3 H W -> B S"""
        return self.encode_style(pictures, self._domains(pictures, domain, "source_domain"))

    def latent_style(self, domain: str, seed: int, truncation: float = 1.0) -> Tensor:
        """The style of a random latent code. -> 1 S"""
        random = np.random.default_rng(seed)
        latent = random.standard_normal((1, self.networks.config.latent_size), dtype=np.float32)
        style = self._map(latent, domain)
        if truncation == 1:
            return style
        return self.unit(torch.lerp(self.mean_style(domain), style, truncation))

    def mean_style(self, domain: str) -> Tensor:
        """The mean of many random styles of a domain; always the same one. -> 1 S"""
        if domain not in self._mean_styles:
            shape = (_MEAN_OF, self.networks.config.latent_size)
            latents = random_at(0, 0, _MEAN_STYLE).standard_normal(shape, dtype=np.float32)
            self._mean_styles[domain] = self.unit(self._map(latents, domain).mean(0, keepdim=True))
        return self._mean_styles[domain]

    def unit(self, styles: Tensor) -> Tensor:
        """Styles as long as those that the generator learned from, if it has a rule. … S -> … S"""
        if not self.networks.config.unit_styles:
            return styles
        return unit_rms(styles.flatten(0, -2)).view(styles.shape)

    def _map(self, latents: np.ndarray, domain: str) -> Tensor:
        index = torch.full((len(latents),), self.domains.index(domain), device=self.device)
        return self.map_latent(torch.from_numpy(latents).to(self.device), index)

    def _domains(self, pictures: Tensor, name: str | None, where: str) -> Tensor:
        """Domain indices: the named one for all, or guessed by the model."""
        if name is not None:
            return torch.full((len(pictures),), self.domains.index(name)).to(pictures.device)
        guess = getattr(self.networks.style_encoder, "guess_domains", None)
        if guess is None:
            raise UserError(
                "this model cannot tell the domain of a picture",
                where=where,
                fix=f"name it: one of {', '.join(self.domains)}",
            )
        with torch.inference_mode():
            return guess(pictures)
