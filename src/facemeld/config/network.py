"""NetworkConfig: everything that the shapes of the networks follow from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from facemeld.config.checks import check, choice_problems, range_problems, type_problems

GENERATORS = ("resnet",)
STYLE_ENCODERS = ("resnet", "projected")
DISCRIMINATORS = ("resnet", "projected")
SKIPS = ("none", "additive", "highpass", "masked")


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
    """Sides of the encoder maps that the skips carry."""
    high_pass_divisor: float = 1.0
    """The paper's w_hpf: larger is weaker."""
    widths: tuple[int, ...] = ()
    """Channels of the generator at each resolution, finest first."""
    encoder_blocks: int = 2
    """Residual blocks at the coarsest resolution, before the style."""
    decoder_blocks: int = 2
    """AdaIN residual blocks at the coarsest resolution."""
    styled_output: bool = False
    """AdaIN instead of a fixed norm before the colours."""
    unit_styles: bool = False
    """Scale every style code to unit mean square."""
    style_size: int = 64
    latent_size: int = 16
    style_encoder_widths: tuple[int, ...] = ()
    discriminator_widths: tuple[int, ...] = ()
    mapping_width: int = 512
    mapping_shared_layers: int = 4
    mapping_domain_layers: int = 4
    feature_size: int = 128
    """Side of the pictures that the frozen feature network of the projected parts sees."""

    def resolved(self) -> NetworkConfig:
        """The same with the paper's widths filled in; UserError if anything is impossible."""
        check(self.problems(), "network")
        to_four = _paper_widths(self.image_size, self.image_size.bit_length() - 3)
        return dataclasses.replace(
            self,
            widths=self.widths or _paper_widths(self.image_size, self._halvings()),
            style_encoder_widths=self.style_encoder_widths or to_four,
            discriminator_widths=self.discriminator_widths or to_four,
        )

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
        size = self.image_size
        power_of_two = size > 0 and size & (size - 1) == 0
        if not (16 <= size <= 1024) or not power_of_two:
            found.append(f"image_size is {size}, but must be a power of two from 16 to 1024")
        for name in ("widths", "style_encoder_widths", "discriminator_widths"):
            found += _width_problems(name, getattr(self, name), size)
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
        return found + self._skip_problems()

    def _halvings(self) -> int:
        """How often the generator halves the resolution; in the paper to 16 px, or to 8 px."""
        if self.widths:
            return len(self.widths) - 1
        deeper = self.skips in ("highpass", "masked")
        return max(self.image_size.bit_length() - 5, 1) + deeper

    def _skip_problems(self) -> list[str]:
        if self.skips not in SKIPS[1:] or not 16 <= self.image_size <= 1024:
            return []
        reachable = [self.image_size >> level for level in range(self._halvings())]
        if not set(reachable) & set(self.skip_resolutions):
            return [
                f"skips = {self.skips} carry nothing: skip_resolutions names none of the encoder's "
                f"sizes ({', '.join(map(str, reachable))})"
            ]
        return []


def _paper_widths(image_size: int, halvings: int) -> tuple[int, ...]:
    return tuple(min(2**14 // image_size << level, 512) for level in range(halvings + 1))


def _width_problems(name: str, widths: tuple[int, ...], image_size: int) -> list[str]:
    if not widths:
        return []
    if not all(1 <= w <= 4096 for w in widths):
        return [f"{name} must be from 1 to 4096 each"]
    halvings = len(widths) - 1
    if name == "widths":
        if not 1 <= halvings or image_size >> halvings < 2:
            return [f"widths has {len(widths)} entries, which does not fit {image_size} px"]
    elif image_size >> halvings != 4:
        return [f"{name} must halve {image_size} px down to 4: {len(widths)} entries do not"]
    return []
