"""What a model makes of pictures and latent codes, computed once: moving a control of a fusion
then costs no more than the decoder's pass.

Shapes: B pictures, K domains, S style size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from facemeld.data.randomness import random_at
from facemeld.errors import UserError
from facemeld.fusion.backends import Backend, Content
from facemeld.fusion.cache import RecentlyUsed
from facemeld.fusion.inputs import Input
from facemeld.fusion.mixing import lerp, unit_mean_square
from facemeld.fusion.request import each_domain
from facemeld.images.arrays import to_array
from facemeld.images.read import centre_square

MOST_BYTES = 256 * 2**20
"""The maps of about 18 sources at 256 px with the paper's skips; of 300 without."""
_MEAN_STYLE = 20  # random stream
_MEAN_OF = 4096  # latent codes


class Encodings:
    """Contents and styles of one model, by the content of the pictures.

    Args:
        backend: the model.
        most_bytes: of everything that is kept.
    """

    def __init__(self, backend: Backend, *, most_bytes: int = MOST_BYTES) -> None:
        self._backend = backend
        self._config = backend.config
        self._kept = RecentlyUsed(most_bytes)

    def contents(self, inputs: Sequence[Input]) -> list[Content]:
        """What the generator's encoder makes of each picture."""
        return self.each("content", inputs, self._backend.encode)

    def styles(
        self, inputs: Sequence[Input], domain: str | Sequence[str | None] | None, where: str
    ) -> np.ndarray:
        """The style of each picture in a domain; in its own, guessed, if none is named. -> B S

        Args:
            inputs: the pictures.
            domain: one for all of them, or one for each.
            where: what the user calls it.

        Raises:
            UserError: none is named, and the model cannot tell.
        """
        named = each_domain(domain, len(inputs))
        described = self.each("description", inputs, self._describe)
        columns = [self._index(name, scores, where) for name, (_, scores) in zip(named, described)]
        return np.stack([styles[column] for column, (styles, _) in zip(columns, described)])

    def _index(self, domain: str | None, scores: np.ndarray | None, where: str) -> int:
        if domain is not None:
            return self._config.domains.index(domain)
        if scores is None:
            raise UserError(
                "this model cannot tell the domain of a picture",
                where=where,
                fix=f"name it: one of {', '.join(self._config.domains)}",
            )
        return int(np.argmax(scores))

    def latent_style(self, domain: str, seed: int, truncation: float = 1.0) -> np.ndarray:
        """The style of a random latent code. -> 1 S"""
        random = np.random.default_rng(seed)
        latent = random.standard_normal((1, self._config.latent_size), dtype=np.float32)
        style = self._backend.map_latents(latent)[:, self._config.domains.index(domain)]
        if truncation == 1:
            return style
        return self.unit(lerp(self.mean_style(domain), style, truncation))

    def mean_style(self, domain: str) -> np.ndarray:
        """The mean of many random styles of a domain; always the same one. -> 1 S"""
        means = self._kept.get("means")
        if means is None:
            shape = (_MEAN_OF, self._config.latent_size)
            latents = random_at(0, 0, _MEAN_STYLE).standard_normal(shape, dtype=np.float32)
            means = self.unit(self._backend.map_latents(latents).mean(axis=0))  # K S
            self._kept.put("means", means, means.nbytes)
        return means[self._config.domains.index(domain)][None]

    def unit(self, styles: np.ndarray) -> np.ndarray:
        """Styles as long as those that the generator learned from, if it has a rule. … S -> … S"""
        return unit_mean_square(styles) if self._config.unit_styles else styles

    def pictures(self, inputs: Sequence[Input]) -> np.ndarray:
        """The centre squares at the model's size. -> B 3 H W in [-1, 1]"""
        return to_array([centre_square(i.image, self._config.image_size) for i in inputs])

    def each(
        self, kind: str, inputs: Sequence[Input], compute: Callable[[np.ndarray], Iterable]
    ) -> list:
        """What is computed of each picture, from the cache or for as many at once as may be.

        Args:
            kind: what it is called in the cache.
            inputs: the pictures.
            compute: B 3 H W -> for each picture arrays, or None in their place.
        """
        found = {i.content: self._kept.get((kind, i.content)) for i in inputs}
        missing = {i.content: i for i in inputs if found[i.content] is None}
        rows = list(missing.values())
        for start in range(0, len(rows), self._backend.batch):
            chunk = rows[start : start + self._backend.batch]
            for given, value in zip(chunk, compute(self.pictures(chunk)), strict=True):
                found[given.content] = value
                size = sum(part.nbytes for part in value if part is not None)
                self._kept.put((kind, given.content), value, size)
        return [found[i.content] for i in inputs]

    def _describe(self, pictures: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray | None]]:
        styles, scores = self._backend.describe(pictures)
        return zip(styles, [None] * len(styles) if scores is None else scores)
