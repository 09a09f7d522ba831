"""Sample sheets of a run: fixed sources, references and latent codes, from start to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facemeld.config import TrainingConfig
from facemeld.data.folders import scan_domains
from facemeld.data.randomness import random_at
from facemeld.data.sampling import as_tensor
from facemeld.data.shards import ShardPicture
from facemeld.data.store import PictureStore, content
from facemeld.errors import UserError
from facemeld.fusion.skip_masks import Masker
from facemeld.images.read import centre_square, read_picture
from facemeld.images.sheet import sheet
from facemeld.images.tensors import to_pictures
from facemeld.images.write import write_picture
from facemeld.networks.bundle import Networks

MOST_DOMAINS = 8
SAMPLES = 2  # sources, and references, of each domain
_STREAM = 2


class SampleSheet:
    """Sources down, references and then latent codes across.

    The pictures are the last ones of each domain in ``config.samples_from``, or of the training
    data where that is empty.

    Args:
        config: the run.
        store: its pictures.
        masker: gives the masks of ``masked`` skips.
    """

    def __init__(
        self, config: TrainingConfig, store: PictureStore, masker: Masker | None = None
    ) -> None:
        self.masker = masker
        size = config.network.image_size
        self.domains = list(config.network.domains)[:MOST_DOMAINS]
        if config.samples_from:
            folders = scan_domains(config.samples_from, at_least=1)
            files = dict(zip(folders.domains, folders.files))
            chosen = {
                d: np.stack([_read(f, size) for f in _spread(files[d])])
                for d in self.domains
                if d in files
            }
            self.domains = list(chosen)
            if not chosen:
                raise UserError(
                    f"it has none of the domains {', '.join(config.network.domains)}",
                    where=config.samples_from,
                    fix="name a folder with some of them",
                )
        else:
            chosen = {d: np.stack(_spread(store.pictures[i])) for i, d in enumerate(self.domains)}
        labels = [config.network.domains.index(d) for d in self.domains]
        half = {d: max(1, len(p) // 2) for d, p in chosen.items()}
        self.sources = np.concatenate([p[: half[d]] for d, p in chosen.items()])
        self.references = np.concatenate([p[-half[d] :] for d, p in chosen.items()])
        self.reference_domains = torch.tensor(
            [k for k, (d, p) in zip(labels, chosen.items()) for _ in range(half[d])]
        )
        self.latent_domains = torch.tensor(labels).repeat_interleave(SAMPLES)
        random = random_at(config.seed, 0, _STREAM)
        shape = (len(self.latent_domains), config.network.latent_size)
        self.latents = torch.from_numpy(random.standard_normal(shape, dtype=np.float32))

    @torch.no_grad()
    def write(self, networks: Networks, folder: Path, pictures: int = 0, name: str = "") -> Path:
        """Writes the sheet as ``folder/name``, by default named after the pictures seen."""
        device = next(networks.parameters()).device
        sources, references = as_tensor(self.sources, device), as_tensor(self.references, device)
        styles = torch.cat(
            [
                networks.style_encoder(references, self.reference_domains.to(device)),
                networks.mapping_network(self.latents.to(device), self.latent_domains.to(device)),
            ]
        )
        shown = [Image.fromarray(p) for p in self.references]
        rows: list[list[Image.Image | None]] = [[None, *shown, *[None] * len(self.latents)]]
        for index, source in enumerate(sources):
            content = networks.generator.encode(source[None])
            masks = None
            if self.masker is not None:
                masks = self.masker(source[None]).expand(len(styles), -1, -1, -1)
            fakes = networks.generator.decode(content.repeat(len(styles)), styles, masks)
            finite = torch.nan_to_num(fakes.float())  # a broken model still gets its sheet
            rows.append([Image.fromarray(self.sources[index]), *to_pictures(finite)])
        names = ["", *[networks.config.domains[k] for k in self.reference_domains]]
        names += [networks.config.domains[k] + " *" for k in self.latent_domains]
        path = folder / (name or f"pictures-{pictures:012d}.jpg")
        write_picture(sheet(rows, column_labels=names), path, settings=None)
        return path


def _read(file: Path | ShardPicture, size: int) -> np.ndarray:
    """The centre square of one picture. -> H W 3 bytes"""
    return np.asarray(centre_square(read_picture(content(file)), size))


def _spread(items):
    """Twice SAMPLES items, evenly spread over the list (fewer if there are not as many)."""
    count = min(2 * SAMPLES, len(items))
    return [items[i] for i in np.linspace(0, len(items) - 1, count).astype(int)]
