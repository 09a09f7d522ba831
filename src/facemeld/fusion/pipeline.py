"""FusionPipeline: load a model, give it pictures, get fused pictures.

Shapes: pictures B 3 H W in [-1, 1], style codes B S, latent codes B Z, domains B int64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facemeld.config import LEVELS
from facemeld.errors import UserError
from facemeld.fusion.backends import Backend
from facemeld.fusion.choice import open_backend
from facemeld.fusion.encodings import Encodings
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
    check_domains,
    check_looks,
    numbered,
)
from facemeld.images.arrays import from_array
from facemeld.images.read import centre_square
from facemeld.images.sheet import sheet
from facemeld.networks.model_folder import find_model

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from facemeld.fusion.skip_masks import Masker
    from facemeld.networks.bundle import Networks
    from facemeld.networks.styles import StyleField


class FusionPipeline:
    """Fuses faces with one model.

    What it makes of a picture is kept (see ``fusion.encodings``): fusing the same pictures under
    other controls costs a decoder's pass.

    Args:
        backend: the model, and what computes it.
        name: what the model is called in the settings of its results.
        weights: the file that the networks came from.
        weights_dir: folder to look in first for detectors and landmark networks.
        on_note: is told of sources whose masks are empty.

    Raises:
        UserError: the model's skips need masks, and no landmark network is at hand.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        name: str = "",
        weights: str | Path | None = None,
        weights_dir: str | Path | None = None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.backend = backend
        self.encodings = Encodings(backend)
        self.name = name
        self._weights = weights
        self._weights_dir = weights_dir
        self._on_note, self._noted = on_note, set[str]()
        self._masker: Masker | None = None
        if backend.config.skips == "masked":
            from facemeld.fusion.skip_masks import load_masker

            self._masker = load_masker(weights_dir)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "faces",
        *,
        device: str | torch.device = "cpu",
        backend: str = "torch",
        precision: str = "fp32",
        compile: bool = False,
        weights_dir: str | Path | None = None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> FusionPipeline:
        """Loads a bundled model by its name, or a model folder.

        Args:
            model: the name or the folder.
            device: of PyTorch.
            backend: what computes: ``torch``, ``onnx`` or ``openvino`` for a model with graphs (see
                `facemeld export`), or ``auto``, the fastest on this machine that can do the rest.
            precision: ``fp32``; of PyTorch and OpenVINO ``bf16``, too, and of PyTorch ``auto``, the
                faster one.
            compile: compile PyTorch's networks: the first picture takes a minute, others less time.
            weights_dir: folder to look in first for detectors and landmark networks.
            on_note: is told what ``auto`` measured, and of sources whose masks are empty.

        Raises:
            UserError: there is no such model, or the folder is damaged; or the backend is not
                installed, has no graphs of this model, or not what else is asked for; or the model
                lacks a landmark network.
        """
        folder = find_model(model)
        opened = open_backend(
            folder, backend, device=device, precision=precision, compile=compile, on_note=on_note
        )
        return cls(
            opened,
            name=folder.resolve().name,
            weights=folder / "model.safetensors",
            weights_dir=weights_dir,
            on_note=on_note,
        )

    @classmethod
    def from_networks(
        cls, networks: Networks, *, weights_dir: str | Path | None = None
    ) -> FusionPipeline:
        """A pipeline of networks that are at hand, like those of a run.

        Raises:
            UserError: their skips need masks, and no landmark network is at hand.
        """
        from facemeld.fusion.torch_backend import TorchBackend

        return cls(TorchBackend(networks), weights_dir=weights_dir)

    def save_pretrained(self, folder: str | Path, *, card: str, half: bool = False) -> None:
        """Writes a model folder (see networks.bundle.save_model)."""
        from facemeld.networks.bundle import save_model

        save_model(self.networks, Path(folder), card=card, half=half)

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the model's domains; their positions are the domain indices."""
        return self.backend.config.domains

    @property
    def image_size(self) -> int:
        """Side of the pictures in pixels."""
        return self.backend.config.image_size

    @property
    def networks(self) -> Networks:
        """The PyTorch networks.

        Raises:
            UserError: another backend computes them.
        """
        networks = getattr(self.backend, "networks", None)
        if networks is None:
            raise UserError(
                f"the backend {self.backend.name} has no PyTorch networks",
                where="backend",
                fix='load the model with backend="torch"',
            )
        return networks

    @property
    def device(self) -> torch.device:
        """Where the PyTorch networks are."""
        return next(self.networks.parameters()).device

    @cached_property
    def weights_sha256(self) -> str | None:
        """SHA-256 of the weights file; None for networks that came from no file."""
        return None if self._weights is None else file_sha256(Path(self._weights))

    def encode_style(self, pictures: Tensor, domains: Tensor) -> Tensor:
        """Style codes of reference pictures; PyTorch only. B 3 H W, B -> B S"""
        import torch

        with torch.inference_mode():
            return self.networks.style_encoder(pictures, domains)

    def map_latent(self, latents: Tensor, domains: Tensor) -> Tensor:
        """Style codes of latent codes; PyTorch only. B Z, B -> B S"""
        import torch

        with torch.inference_mode():
            return self.networks.mapping_network(latents, domains)

    def translate(
        self, pictures: Tensor, styles: Tensor | StyleField, masks: Tensor | None = None
    ) -> Tensor:
        """Source pictures under styles; PyTorch only.

        B 3 H W, B S or a field, [B 2 H W] -> B 3 H W
        """
        import torch

        with torch.inference_mode():
            return self.networks.generator(pictures, styles, masks)

    def prepare(self, pictures: Sequence[Picture]) -> Tensor:
        """Reads pictures, crops the centre square and resizes; PyTorch only. -> B 3 H W"""
        import torch

        array = self.encodings.pictures([read_input(p) for p in pictures])
        return torch.from_numpy(array).to(self.device)

    def skip_masks(self, sources: Sequence[Input]) -> np.ndarray | None:
        """Masks of aligned faces, for a model whose skips need them; else None.

        -> B 2 256 256 in [0, 1]
        """
        if self._masker is None:
            return None
        import torch

        def masks(pictures: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return self._masker(torch.from_numpy(pictures)).numpy()

        found = np.stack(self.encodings.each("skip masks", sources, masks))
        for source, mask in zip(sources, found):
            name = str(source.name)
            if not mask.any() and name not in self._noted:
                self._noted.add(name)
                self._on_note(f"no human face was found in {name}: this model's skips carry none")
        return found

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
        shares = check_looks(looks, controls, self.backend.config)
        codes = look_codes(self.encodings, looks, controls, shares)
        batch = self.backend.batch
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
        domain: str | Sequence[str | None] | None = None,
        cell: int | None = None,
    ) -> Image.Image:
        """A sheet: every source (rows) under the style of every reference (columns).

        Args:
            sources, references: pictures.
            domain: of all references, or a list with one for each; guessed where it is None.
            cell: side of each picture in pixels; the model's own if not given.

        Raises:
            UserError: no pictures, unreadable ones, or domains that do not fit them.
        """
        if not sources or not references:
            raise UserError("a grid needs at least one source and one reference")
        check_cell(cell)
        inputs = [read_input(r) for r in references]
        styles = self.styles_of(inputs, domain)
        rows: list[list[Image.Image | None]] = [[None, *self._shown(inputs)]]
        for source in map(read_input, sources):
            fused = self.under_styles(source, styles)
            rows.append([*self._shown([source]), *from_array(fused)])
        return sheet(rows, cell=cell)

    def under_styles(self, source: Picture, styles: np.ndarray) -> np.ndarray:
        """One source under each of several styles. B S -> B 3 H W in about [-1, 1]"""
        given = [read_input(source)]
        masks = self.skip_masks(given)
        return self.backend.decode(
            self.encodings.contents(given) * len(styles),
            styles[:, None, None].repeat(len(LEVELS), axis=1),
            skip_masks=None if masks is None else masks.repeat(len(styles), axis=0),
        )

    def styles_of(
        self, references: Sequence[Picture], domain: str | Sequence[str | None] | None = None
    ) -> np.ndarray:
        """The style of each reference; its domain is guessed where none is named. -> B S"""
        check_domains(domain, len(references), self.domains, where="domain")
        return self.encodings.styles([read_input(r) for r in references], domain, "domain")

    def _shown(self, inputs: Sequence[Input]) -> list[Image.Image]:
        return [centre_square(i.image, self.image_size) for i in inputs]
