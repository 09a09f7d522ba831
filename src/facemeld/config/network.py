"""NetworkConfig: everything that the shapes of the networks follow from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from facemeld.config.checks import check, choice_problems, range_problems, type_problems

GENERATORS = ("resnet", "swin-encoder", "swin-unet", "projected")
STYLE_ENCODERS = ("resnet", "swin", "projected")
DISCRIMINATORS = ("resnet", "projected")
SKIPS = ("none", "additive", "highpass", "masked")
LEVELS = ("coarse", "middle", "fine")
"""Thirds of a decoder, by resolution; a style may be given for each (see ``level_of``)."""


@dataclass(frozen=True)
class SwinConfig:
    """The shape of every Swin block of a network."""

    window_size: int = 8
    """Side of the attention windows in positions."""
    head_width: int = 32
    """Channels of each attention head; every width of a Swin stage is a multiple of it."""
    blocks: int = 2
    """Swin blocks a stage; every second one has shifted windows."""
    mlp_ratio: int = 2
    """Width of the MLP's hidden layer in channels of the block."""
    convolutional_levels: int = 2
    """How many of the finest resolutions keep convolutional residual blocks; the coarsest one has
    Swin stages in any case."""

    def first_level(self, resolutions: int) -> int:
        """Halvings before the first Swin stage of a network with so many resolutions."""
        return min(self.convolutional_levels, resolutions - 1)

    def problems(self) -> list[str]:
        """Values that no Swin block can have, as sentences."""
        found = type_problems(self)
        for name, low, high in (
            ("window_size", 2, 64),
            ("head_width", 1, 1024),
            ("blocks", 1, 64),
            ("mlp_ratio", 1, 16),
            ("convolutional_levels", 0, 8),
        ):
            found += [] if found else range_problems(self, name, low, high)
        return [f"swin.{problem}" for problem in found]


@dataclass(frozen=True)
class NetworkConfig:
    """Everything that the shapes of the networks follow from.

    Empty widths mean the paper's: 2^14 / size channels at the finest resolution, doubled at each
    halving, at most 512.
    """

    image_size: int = 256
    """Side of the pictures in pixels."""
    domains: tuple[str, ...] = ()
    """Names of the domains; their order is the order of the heads."""
    generator: str = "resnet"
    style_encoder: str = "resnet"
    discriminator: str = "resnet"
    skips: str = "none"
    skip_resolutions: tuple[int, ...] = (32, 64, 128)
    """Sides of the encoder maps that the skips carry; of sizes that are no power of two, each means
    the map from that side to less than twice of it."""
    high_pass_divisor: float = 1.0
    """The paper's w_hpf: larger is weaker."""
    widths: tuple[int, ...] = ()
    """Channels of the generator at each resolution, finest first."""
    patch_size: int = 1
    """Side of the squares of pixels that the generator reads and paints at once: its finest
    resolution is the pictures' divided by this."""
    encoder_blocks: int = 2
    """Residual blocks at the coarsest resolution, before the style."""
    decoder_blocks: int = 2
    """AdaIN residual blocks at the coarsest resolution."""
    separable: bool = False
    """Depthwise and pointwise convolutions in place of full ones in the generator's residual
    blocks: for small generators."""
    styled_output: bool = False
    """AdaIN instead of a fixed norm before the colours."""
    unit_styles: bool = False
    """Scale every style code to unit mean square."""
    style_size: int = 64
    latent_size: int = 16
    style_encoder_widths: tuple[int, ...] = ()
    """Channels of the style encoder, finest first: resnet down to 4 x 4, swin as far as given."""
    discriminator_widths: tuple[int, ...] = ()
    mapping_width: int = 512
    mapping_shared_layers: int = 4
    mapping_domain_layers: int = 4
    feature_size: int = 128
    """Side of the pictures that the frozen feature network of the projected parts sees."""
    swin: SwinConfig = field(default_factory=SwinConfig)
    """Shape of the Swin blocks, where a part has them."""

    def resolved(self) -> NetworkConfig:
        """The same with the paper's widths filled in; UserError if anything is impossible."""
        check(self.problems(), "network")
        to_four = _paper_widths(self.image_size, self.image_size.bit_length() - 3)
        return dataclasses.replace(
            self,
            widths=self._generator_widths(),
            style_encoder_widths=self._swin_style_widths()
            if self.style_encoder == "swin"
            else self.style_encoder_widths or to_four,
            discriminator_widths=self.discriminator_widths or to_four,
        )

    def style_levels(self) -> dict[str, tuple[int, ...]]:
        """The decoder's resolutions of each level that it has, by the level's name.

        A decoder of two resolutions has no middle level, and without blocks at its coarsest
        resolution it may have no coarse one.
        """
        widths = self._generator_widths()
        levels: dict[str, tuple[int, ...]] = {}
        for doublings in range(0 if self.decoder_blocks else 1, len(widths)):
            name = LEVELS[level_of(doublings, len(widths) - 1)]
            side = self.finest_side >> (len(widths) - 1 - doublings)
            levels[name] = (*levels.get(name, ()), side)
        return levels

    @property
    def finest_side(self) -> int:
        """Side of the generator's finest maps."""
        return self.image_size // self.patch_size

    def feature_sides(self) -> tuple[int, ...]:
        """Sides of the frozen features' maps, finest first."""
        return tuple(self.feature_size // stride for stride in (4, 8, 16, 32))

    def problems(self) -> list[str]:
        """Every reason why these networks cannot be built, as sentences."""
        found = type_problems(self)
        if found:
            return found
        for name, known in (
            ("generator", GENERATORS),
            ("style_encoder", STYLE_ENCODERS),
            ("discriminator", DISCRIMINATORS),
            ("skips", SKIPS),
        ):
            found += choice_problems(self, name, known)
        found += self._size_problems() + self.swin.problems()
        for name, low, high in (
            ("encoder_blocks", 0, 16),
            ("decoder_blocks", 0, 16),
            ("style_size", 1, 4096),
            ("latent_size", 1, 4096),
            ("mapping_width", 1, 8192),
            ("mapping_shared_layers", 0, 16),
            ("mapping_domain_layers", 1, 16),
            ("feature_size", 32, 512),
        ):
            found += range_problems(self, name, low, high)
        if self.feature_size % 32:
            found.append(f"feature_size is {self.feature_size}, but must be a multiple of 32")
        if not self.high_pass_divisor > 0:
            found.append(f"high_pass_divisor is {self.high_pass_divisor}, but must be above 0")
        if len(set(self.domains)) != len(self.domains) or "" in self.domains:
            found.append("domains must have different names, none of them empty")
        if len(self.domains) > 1000:
            found.append(f"{len(self.domains)} domains, but at most 1000 are supported")
        if self.style_encoder == "projected" and not self.unit_styles:
            found.append("the projected style encoder needs unit_styles = true")
        if not found:
            found += self._skip_problems() + self._swin_problems() + self._projected_problems()
        return found

    def _size_problems(self) -> list[str]:
        size = self.image_size
        if not 16 <= size <= 1024 or size % 16:
            return [f"image_size is {size}, but must be a multiple of 16 from 16 to 1024"]
        if self.patch_size not in (1, 2, 4):
            return [f"patch_size is {self.patch_size}, but must be 1, 2 or 4"]
        found = []
        to_four = [n for n in ("style_encoder", "discriminator") if getattr(self, n) == "resnet"]
        if to_four and size & (size - 1):
            parts = " and ".join(n.replace("_", " ") for n in to_four)
            found.append(
                f"the resnet {parts} need an image_size that is a power of two, not {size}"
            )
        for name in ("widths", "style_encoder_widths", "discriminator_widths"):
            down_to_four = name.removesuffix("_widths") in to_four
            side = self.finest_side if name == "widths" else size
            found += _width_problems(name, getattr(self, name), side, down_to_four)
        return found

    def skip_sides(self) -> tuple[int, ...]:
        """Sides of the encoder maps that the skips carry, finest first."""
        sides = self._encoder_sides() if self.skips != "none" else []
        return tuple(s for s in sides if any(r <= s < 2 * r for r in self.skip_resolutions))

    def _encoder_sides(self) -> list[int]:
        """Sides of the encoder's maps that skips may carry, finest first."""
        return [self.finest_side >> k for k in range(len(self._generator_widths()) - 1)]

    def _generator_widths(self) -> tuple[int, ...]:
        return self.widths or self._default_widths(swin=self.generator.startswith("swin"))

    def _swin_style_widths(self) -> tuple[int, ...]:
        """The widths of a Swin style encoder: the generator's, unless given."""
        if self.style_encoder_widths:
            return self.style_encoder_widths
        return _whole_heads(self.widths or self._default_widths(swin=True), self.swin)

    def _default_widths(self, *, swin: bool) -> tuple[int, ...]:
        """The paper's rule: halve down to 16 px, with high-pass skips to 8 px.

        Fewer halvings where those would leave half pixels, or Swin stages less than a window.
        """
        side = self.finest_side
        halvings = max(side.bit_length() - 5, 1) + (self.skips in ("highpass", "masked"))
        widths = _paper_widths(side, halvings)
        if not swin:
            return widths
        while len(widths) > 2 and side >> (len(widths) - 1) < self.swin.window_size:
            widths = widths[:-1]
        return _whole_heads(widths, self.swin)

    def _swin_problems(self) -> list[str]:
        """Swin stages that windows or heads do not fit."""
        found = []
        parts = {}
        if self.generator.startswith("swin"):
            widths = parts["generator"] = self._generator_widths()
            if not self.encoder_blocks and self.swin.first_level(len(widths)) == len(widths) - 1:
                found.append(
                    "the generator's encoder has no Swin stage: it needs encoder_blocks, or "
                    "swin.convolutional_levels below its halvings"
                )
        if self.style_encoder == "swin":
            parts["style encoder"] = self._swin_style_widths()
        for part, channels in parts.items():
            stages = channels[self.swin.first_level(len(channels)) :]
            finest = self.finest_side if part == "generator" else self.image_size
            coarsest = finest >> (len(channels) - 1)
            if coarsest < self.swin.window_size:
                found.append(
                    f"the {part}'s coarsest map of {coarsest} px is smaller than swin.window_size "
                    f"{self.swin.window_size}: give fewer widths or a smaller window"
                )
            uneven = [c for c in stages if c % self.swin.head_width]
            if uneven:
                found.append(
                    f"the {part}'s Swin stages of {', '.join(map(str, uneven))} channels are no "
                    f"multiples of swin.head_width {self.swin.head_width}"
                )
        return found

    def _skip_problems(self) -> list[str]:
        if self.skips not in SKIPS[1:]:
            return []
        reachable = self._encoder_sides()
        if not self.skip_sides():
            return [
                f"skips = {self.skips} carry nothing: skip_resolutions names none of the encoder's "
                f"sizes ({', '.join(map(str, reachable))})"
            ]
        return []

    def _projected_problems(self) -> list[str]:
        """Maps that a projected generator would need and the frozen features do not have."""
        if self.generator != "projected":
            return []
        has = self.feature_sides()
        told = f"the frozen features' maps have {', '.join(map(str, has))} px"
        coarsest = self.finest_side >> (len(self._generator_widths()) - 1)
        found = []
        if coarsest not in has:
            found.append(f"the projected generator begins at {coarsest} px, but {told}")
        if lacking := [side for side in self.skip_sides() if side not in has]:
            found.append(f"its skips want {', '.join(map(str, lacking))} px, but {told}")
        return found


def level_of(doublings: int, of: int) -> int:
    """The place in LEVELS of a decoder block whose maps have been doubled so many times.

    The decoder's resolutions are divided evenly: the coarsest is coarse, the picture's own is fine,
    and the others go to the nearest level. At 256 px from 16 px: 16 | 32, 64 | 128, 256.
    """
    return (4 * doublings + of) // (2 * of)


def _paper_widths(image_size: int, halvings: int) -> tuple[int, ...]:
    """As far as whole pixels go."""
    halvings = min(halvings, (image_size & -image_size).bit_length() - 1)
    return tuple(min(2**14 // image_size << level, 512) for level in range(halvings + 1))


def _whole_heads(widths: tuple[int, ...], swin: SwinConfig) -> tuple[int, ...]:
    """These widths, those of Swin stages rounded down to whole heads."""
    first, head = swin.first_level(len(widths)), swin.head_width
    return (*widths[:first], *(max(w // head, 1) * head for w in widths[first:]))


def _width_problems(
    name: str, widths: tuple[int, ...], image_size: int, down_to_four: bool
) -> list[str]:
    if not widths:
        return []
    if not all(1 <= w <= 4096 for w in widths):
        return [f"{name} must be from 1 to 4096 each"]
    halvings = len(widths) - 1
    if down_to_four and image_size >> halvings != 4:
        return [f"{name} must halve {image_size} px down to 4: {len(widths)} entries do not"]
    smallest = image_size >> halvings
    if halvings < 1 or smallest < 2 or smallest << halvings != image_size:
        return [f"{name} has {len(widths)} entries, which does not fit {image_size} px"]
    return []
