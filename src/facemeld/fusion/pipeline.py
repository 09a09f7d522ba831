"""FusionPipeline: load a model, give it pictures, get fused pictures.

Tensors: pictures B 3 H W in [-1, 1], style codes B S, latent codes B Z, domains B int64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import facemeld
from facemeld.errors import UserError
from facemeld.fusion.request import check_cell, check_domain, check_request
from facemeld.fusion.skip_masks import Masker, load_masker
from facemeld.images.read import centre_square, read_picture
from facemeld.images.sheet import sheet
from facemeld.images.tensors import to_pictures, to_tensor
from facemeld.networks.bundle import Networks, load_model, save_model
from facemeld.networks.layers import unit_rms
from facemeld.networks.model_folder import find_model

Picture = str | Path | bytes | Image.Image
BATCH = 16


@dataclass(frozen=True)
class FusionResult:
    """Fused pictures, and for each the settings that made it."""

    images: list[Image.Image]
    settings: list[dict] = field(repr=False)


class FusionPipeline:
    """Fuses faces with one model.

    Args:
        networks: the model.
        name: what the model is called in the settings of its results.
        weights_dir: folder to look in first for the landmark network of a ``masked`` model.
    """

    def __init__(
        self, networks: Networks, *, name: str = "", weights_dir: str | Path | None = None
    ) -> None:
        self.networks = networks.eval()
        self.name = name
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
        return cls(networks, name=folder.name, weights_dir=weights_dir)

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

    @torch.inference_mode()
    def encode_style(self, pictures: Tensor, domains: Tensor) -> Tensor:
        """Style codes of reference pictures. B 3 H W, B -> B S"""
        return self.networks.style_encoder(pictures, domains)

    @torch.inference_mode()
    def map_latent(self, latents: Tensor, domains: Tensor) -> Tensor:
        """Style codes of latent codes. B Z, B -> B S"""
        return self.networks.mapping_network(latents, domains)

    @torch.inference_mode()
    def translate(self, pictures: Tensor, styles: Tensor, masks: Tensor | None = None) -> Tensor:
        """Source pictures under style codes. B 3 H W, B S, [B 2 H W] -> B 3 H W"""
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

    def __call__(
        self,
        source: Picture | Sequence[Picture],
        references: Picture | Sequence[Picture] = (),
        *,
        weights: Sequence[float] | None = None,
        domain: str | None = None,
        source_domain: str | None = None,
        latent: bool = False,
        strength: float = 1.0,
        seed: int = 0,
        size: int | None = None,
    ) -> FusionResult:
        """Fuses each source with the weighted look of all references, or with a latent style.

        Args:
            source: one picture or several; each gives one result.
            references: pictures that give the look.
            weights: one for each reference, not negative; scaled to sum to 1. Equal by default.
            domain: domain of the references and of the result; guessed from each reference where
                the model can do that.
            source_domain: domain of the sources, for ``strength`` below 1; guessed likewise.
            latent: take the style from a random latent code of ``domain`` instead.
            strength: 0 is the source under its own style, 1 the full style.
            seed: of the latent code.
            size: side of the results in pixels, interpolated; the model's own if not given.

        Raises:
            UserError: unreadable pictures, unknown domains, or values that do not fit together.
        """
        sources = as_list(source)
        references = as_list(references)
        if not sources:
            raise UserError("no source picture", where="source")
        shares = check_request(
            len(references),
            weights=weights,
            domain=domain,
            source_domain=source_domain,
            latent=latent,
            strength=strength,
            seed=seed,
            size=size,
            domains=self.domains,
        )
        if latent:
            style = self._latent_style(domain, seed)
        else:
            codes = self.styles_of(references, domain)
            style = self._unit((codes * torch.tensor(shares).to(codes)[:, None]).sum(0, True))
        images = []
        for start in range(0, len(sources), BATCH):
            batch = self.prepare(sources[start : start + BATCH])
            styles = style.expand(len(batch), -1)
            if strength < 1:
                own = self.encode_style(batch, self._domains(batch, source_domain, "source_domain"))
                styles = self._unit(torch.lerp(own, styles, strength))
            images += to_pictures(self.translate(batch, styles, self.masks(batch)))
        if size is not None:
            images = [image.resize((size, size), Image.Resampling.LANCZOS) for image in images]
        shared = {
            "facemeld": facemeld.__version__,
            "model": self.name,
            "references": [_name(r) for r in references],
            "weights": shares,
            "domain": domain,
            "source_domain": source_domain,
            "latent": latent,
            "strength": strength,
            "seed": seed,
            "size": size,
        }
        return FusionResult(images, [{"source": _name(s)} | shared for s in sources])

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
        tensor = to_tensor([centre_square(read_picture(p), self.image_size) for p in pictures])
        return tensor.to(next(self.networks.parameters()).device)

    def styles_of(self, references: Sequence[Picture], domain: str | None = None) -> Tensor:
        """The style of each reference; its domain is guessed where none is named. -> B S"""
        check_domain(domain, self.domains, where="domain")
        pictures = self.prepare(references)
        return self.encode_style(pictures, self._domains(pictures, domain, "domain"))

    def _latent_style(self, domain: str, seed: int) -> Tensor:
        index = self.domains.index(domain)
        random = np.random.default_rng(seed)
        latent = random.standard_normal((1, self.networks.config.latent_size), dtype=np.float32)
        device = next(self.networks.parameters()).device
        return self.map_latent(
            torch.from_numpy(latent).to(device), torch.tensor([index], device=device)
        )

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

    def _unit(self, styles: Tensor) -> Tensor:
        return unit_rms(styles) if self.networks.config.unit_styles else styles


def as_list(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    """One picture or several, as a list."""
    single = isinstance(pictures, (str, Path, bytes, Image.Image))
    return [pictures] if single else list(pictures)


def _name(picture: Picture) -> str:
    return Path(picture).name if isinstance(picture, (str, Path)) else "(in memory)"
