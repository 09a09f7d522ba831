"""The generator of StarGAN v2 (Choi et al. 2020, table 5), of residual or Swin blocks, with skips.

A source picture is encoded into content (a bottleneck map and, with skips, encoder maps of some
resolutions), and decoded under a style code. Widths read from the finest resolution down:
``widths=(64, 128, 256, 512, 512)`` at 256 px goes 64@256, 128@128, …, 512@16.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemeld.config import SwinConfig, level_of
from facemeld.networks.kernels import instance_norm
from facemeld.networks.layers import (
    SLOPE,
    AdaIN,
    InstanceNorm,
    ResidualBlock,
    StyledResidualBlock,
    conv,
    high_pass,
)
from facemeld.networks.projected_encoder import ProjectedEncoder
from facemeld.networks.styles import RegionStyles, StyleField, style_maps
from facemeld.networks.swin import StyledSwinStage, SwinStage


class Content(NamedTuple):
    """What a generator keeps of its sources; decoding it under several styles is cheap.

    bottleneck: B C H W; skips: encoder maps, finest first, empty without skips.
    """

    bottleneck: Tensor
    skips: tuple[Tensor, ...] = ()

    def repeat(self, times: int) -> Content:
        """Each sample ``times`` times in a row: B … -> (B times) …"""
        return Content(
            self.bottleneck.repeat_interleave(times, dim=0),
            tuple(s.repeat_interleave(times, dim=0) for s in self.skips),
        )

    def blend(self, other: Content, share: float) -> Content:
        """Linear at the bottleneck and in every skip: 0 is this content, 1 the other.

        The norms that follow each of them restore the contrast that a mean of unlike maps loses.
        """
        return Content(
            torch.lerp(self.bottleneck, other.bottleneck, share),
            tuple(torch.lerp(a, b, share) for a, b in zip(self.skips, other.skips)),
        )


class AdditiveSkip(nn.Module):
    """x + strength * sigmoid(gate(style)) * conv1x1(IN(features)): the style is the gate."""

    def __init__(self, *, channels: int, style_size: int) -> None:
        super().__init__()
        self.conv = conv(channels, channels, 1)
        self.gate = nn.Linear(style_size, channels)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, -0.5)

    def forward(
        self, x: Tensor, features: Tensor, style: Tensor | RegionStyles, strength: float
    ) -> Tensor:
        gate = strength * torch.sigmoid(style_maps(self.gate, style, x))
        return torch.addcmul(x, gate, self.conv(instance_norm(features)))


class Generator(nn.Module):
    """Source picture and style code to fused picture.

    Kinds differ in their blocks only. From ``swin.convolutional_levels`` halvings on, and at
    the coarsest resolution, the encoder of ``swin-encoder`` and both halves of ``swin-unet`` are
    made of Swin stages; that of ``projected`` reads frozen features; everything else is residual
    blocks.

    Args:
        kind: ``resnet``, ``swin-encoder``, ``swin-unet`` or ``projected``.
        image_size: side of the pictures in pixels.
        patch_size: side of the squares of pixels that are read and painted at once.
        widths: channels of each resolution, finest first; each step halves the resolution.
        encoder_blocks: blocks or stages at the coarsest resolution before the style.
        decoder_blocks: styled blocks or stages at the coarsest resolution.
        style_size: S.
        skips: ``none``, ``additive``, ``highpass`` or ``masked``.
        skip_resolutions: sides of the encoder maps that the skips carry.
        high_pass_divisor: the paper's w_hpf; a larger one weakens the high-pass skips.
        styled_output: AdaIN instead of a fixed instance norm before the colours.
        unit_styles: the styles have unit mean square (see AdaIN).
        swin: shape of the Swin blocks.
        separable: residual blocks of depthwise and pointwise convolutions.
        feature_size: side of the pictures that the frozen features see (``projected``).
    """

    def __init__(
        self,
        *,
        image_size: int,
        widths: tuple[int, ...],
        style_size: int,
        kind: str = "resnet",
        patch_size: int = 1,
        encoder_blocks: int = 2,
        decoder_blocks: int = 2,
        skips: str = "none",
        skip_resolutions: tuple[int, ...] = (),
        high_pass_divisor: float = 1.0,
        styled_output: bool = False,
        unit_styles: bool = False,
        swin: SwinConfig = SwinConfig(),
        separable: bool = False,
        feature_size: int = 128,
    ) -> None:
        super().__init__()
        self.skips = skips
        self.style_size = style_size
        self.high_pass_divisor = high_pass_divisor
        self.patch_size = patch_size
        side = image_size // patch_size
        sides = [side >> level for level in range(len(widths) - 1)]
        carried = {s: w for s, w in zip(sides, widths) if skips != "none" and s in skip_resolutions}
        self.skip_resolutions = tuple(carried)
        style = {"style_size": style_size, "unit_styles": unit_styles}
        first_swin = swin.first_level(len(widths))

        def encoder_block(level: int, **sizes) -> nn.Module:
            if kind == "resnet" or level < first_swin:
                return ResidualBlock(normalise=True, separable=separable, **sizes)
            return SwinStage(sizes=swin, norm="instance", **sizes)

        def decoder_block(level: int, **sizes) -> nn.Module:
            if kind != "swin-unet" or level < first_swin:
                how = {"shortcut": skips not in ("highpass", "masked"), "separable": separable}
                return StyledResidualBlock(**how, **style, **sizes)
            return StyledSwinStage(sizes=swin, **style, **sizes)

        coarsest = len(widths) - 1
        same = {"inputs": widths[-1], "outputs": widths[-1]}
        self.projected = kind == "projected"
        if self.projected:
            self.encoder = ProjectedEncoder(
                feature_size=feature_size,
                width=widths[-1],
                side=side >> coarsest,
                blocks=encoder_blocks,
                skips=carried,
            )
        else:
            self.from_rgb = conv(3 * patch_size**2, widths[0])
            self.encoder = nn.ModuleList()
            for level, (fine, coarse) in enumerate(zip(widths, widths[1:])):
                sizes = {"inputs": fine, "outputs": coarse, "downsample": True}
                self.encoder.append(encoder_block(level, **sizes))
            for _ in range(encoder_blocks):
                self.encoder.append(encoder_block(coarsest, **same))
        self.decoder = nn.ModuleList()
        for level, (fine, coarse) in enumerate(zip(widths, widths[1:])):
            block = decoder_block(level + 1, inputs=coarse, outputs=fine, upsample=True)
            self.decoder.insert(0, block)
        for _ in range(decoder_blocks):
            self.decoder.insert(0, decoder_block(coarsest, **same))
        doublings = [*[0] * decoder_blocks, *range(1, coarsest + 1)]
        self.levels = tuple(level_of(done, coarsest) for done in doublings)
        """Of each block of the decoder: its place in ``config.LEVELS``."""
        additive = carried if skips == "additive" else {}
        self.additive_skips = nn.ModuleDict(
            {str(s): AdditiveSkip(channels=w, style_size=style_size) for s, w in additive.items()}
        )
        self.output_norm = (
            AdaIN(channels=widths[0], **style) if styled_output else InstanceNorm(widths[0])
        )
        self.to_rgb = conv(widths[0], 3 * patch_size**2, 3 if styled_output else 1)
        if patch_size > 1:  # all pixels of a patch begin alike, else a grid shows
            alike = self.to_rgb.weight.detach()[:: patch_size**2]
            self.to_rgb.weight.data.copy_(alike.repeat_interleave(patch_size**2, dim=0))

    @property
    def outermost(self) -> tuple[str, ...]:
        """How the names of all tensors at the pictures' own resolution begin."""
        last = len(self.decoder) - 1
        return ("from_rgb.", "encoder.0.", f"decoder.{last}.", "output_norm.", "to_rgb.")

    def train_inner(self, trained: bool) -> None:
        """Whether all but the outermost layers are trained."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(trained or name.startswith(self.outermost))

    def encode(self, pictures: Tensor) -> Content:
        """B 3 H W in [-1, 1] -> content."""
        if self.projected:
            bottleneck, maps = self.encoder(pictures)
            return Content(bottleneck, tuple(maps))
        pixels = pictures.contiguous()  # so that the weights alone decide the layout
        if self.patch_size > 1:
            pixels = F.pixel_unshuffle(pixels, self.patch_size)
        x = self.from_rgb(pixels)
        skips = []
        for block in self.encoder:
            if x.shape[2] in self.skip_resolutions:
                skips.append(x)
            x = block(x)
        return Content(x, tuple(skips))

    def encode_features(self, features: list[Tensor]) -> Content:
        """Content from the frozen features of the pictures (``projected`` only)."""
        bottleneck, maps = self.encoder.from_maps(features)
        return Content(bottleneck, tuple(maps))

    def decode(
        self,
        content: Content,
        styles: Tensor | StyleField,
        masks: Tensor | None = None,
        content_strength: float = 1.0,
    ) -> Tensor:
        """Content and styles, B S or a field, -> B 3 H W in about [-1, 1].

        Args:
            content: what ``encode`` returned.
            styles: style codes, one a sample; or one for each level and region.
            masks: B 2 H W in [0, 1] for ``masked`` skips: the first for maps below 64 px, the
                second for finer ones. Without masks these skips carry nothing, as in the paper.
            content_strength: factor of what the skips add.
        """
        features = dict(zip(self.skip_resolutions, content.skips))
        x = content.bottleneck
        style = styles
        for block, level in zip(self.decoder, self.levels):
            if isinstance(styles, StyleField):
                style = styles.at(level)
            x = block(x, style)
            side = int(x.shape[2])  # a tensor while it is traced
            if block.upsample and side in features:
                x = self._add_skip(x, side, features[side], style, masks, content_strength)
        if isinstance(self.output_norm, AdaIN):
            x = self.output_norm(x, style, SLOPE)
        else:
            x = self.output_norm(x, SLOPE)
        x = self.to_rgb(x)
        return F.pixel_shuffle(x, self.patch_size) if self.patch_size > 1 else x

    def forward(
        self, pictures: Tensor, styles: Tensor | StyleField, masks: Tensor | None = None
    ) -> Tensor:
        """B 3 H W and B S or a field -> B 3 H W."""
        return self.decode(self.encode(pictures), styles, masks)

    def _add_skip(
        self,
        x: Tensor,
        side: int,
        features: Tensor,
        style: Tensor | RegionStyles,
        masks: Tensor | None,
        strength: float,
    ) -> Tensor:
        if self.skips == "additive":
            return self.additive_skips[str(side)](x, features, style, strength)
        if self.skips == "masked":
            if masks is None:
                return x
            mask = masks[:, :1] if side < 64 else masks[:, 1:]
            mask = F.interpolate(mask, size=(side, side), mode="bilinear").to(x.dtype)
            features = mask * features
        return x + high_pass(features) * (strength / self.high_pass_divisor)
