"""What the page's controls say, as a request to the fusion library."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

from facemeld.config import LEVELS
from facemeld.fusion.inputs import Input
from facemeld.fusion.looks import Looks
from facemeld.fusion.request import Controls
from facemeld.images.write import encode_photograph
from facemeld.web.portraits import Portrait

PAINTED = "painted.png"
"""The name of the mask that was painted on the page."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One value for each control; references are told by their number, 0 is none of them."""

    model: str
    weights: tuple[float, ...] = ()
    """One for each reference; those of weight 0 are left to levels, places and shapes."""
    strength: float = 1.0
    interpolation: str = "linear"
    domain: str | None = None
    levels: tuple[int, int, int] = (0, 0, 0)
    """The reference of the coarse, middle and fine level."""
    place: str = "left"
    place_from: int = 0
    painted: Image.Image | None = field(default=None, compare=False, repr=False)
    """Grey, white where something was painted."""
    painted_from: int = 0
    feather: float = 0.05
    latent: bool = False
    seed: int = 0
    truncation: float = 1.0
    variation: int = 0
    variation_angle: float = 20.0
    second_source: int = 0
    source_mix: float = 0.5
    content_strength: float = 1.0
    colour_match: float = 0.0
    size: int | None = None
    paste_back: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of all references that levels, places and shapes are given."""
        return (*self.levels, self.place_from, self.painted_from, self.second_source)


def looks_of(references: Sequence[Portrait], wish: Wish) -> Looks:
    """All pictures beside the source, in the places that the wish gives them."""
    inputs = [portrait.as_input for portrait in references]
    regions: list[tuple[Input | str, Input]] = []
    if wish.place_from:
        regions.append((wish.place, inputs[wish.place_from - 1]))
    if wish.painted_from and wish.painted is not None:
        mask = Input(wish.painted, PAINTED, hashlib.sha256(painted_file(wish)).hexdigest())
        regions.append((mask, inputs[wish.painted_from - 1]))
    return Looks(
        references=[] if wish.latent else [i for i, w in zip(inputs, wish.weights) if w > 0],
        levels={level: inputs[n - 1] for level, n in zip(LEVELS, wish.levels) if n},
        regions=regions,
        second_source=inputs[wish.second_source - 1] if wish.second_source else None,
    )


def controls_of(wish: Wish) -> Controls:
    """Everything else; what does not matter under the wish has its usual value."""
    weights = tuple(weight for weight in wish.weights if weight > 0)
    several = len(set(weights)) > 1 and not wish.latent
    somewhere = wish.place_from or (wish.painted_from and wish.painted is not None)
    return Controls(
        weights=weights if several else None,
        interpolation=wish.interpolation,
        strength=wish.strength,
        domain=wish.domain,
        feather=wish.feather if somewhere else Controls.feather,
        latent=wish.latent,
        seed=wish.seed,
        truncation=wish.truncation if wish.latent else 1.0,
        variations=(wish.variation,) if wish.variation else (),
        variation_angle=wish.variation_angle if wish.variation else Controls.variation_angle,
        source_mix=wish.source_mix if wish.second_source else None,
        content_strength=wish.content_strength,
        colour_match=wish.colour_match,
        size=wish.size,
    )


def painted_file(wish: Wish) -> bytes:
    """The painted mask as a file."""
    return encode_photograph(wish.painted, ".png")
