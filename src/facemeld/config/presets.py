"""Presets: one table of differences from the defaults."""

from __future__ import annotations

from facemeld.config.network import NetworkConfig, SwinConfig
from facemeld.config.training import LossWeights, TrainingConfig
from facemeld.errors import UserError, did_you_mean

_LEAN = dict(
    recipe="lean",
    batch_size=16,
    crop_probability=0.0,
    learning_rate=4e-4,
    swin_warmup_pictures=1600,
    mapping_learning_rate=1e-4,
    matching_steps=1000,
    weight_decay=0.0,
    gradient_clip=10.0,
    decay_from=0.75,
    weights=LossWeights(
        cycle=1.5, features=4.0, content=2.0, reconstruction=0.5, style_matching=1.0
    ),
    late_weights=LossWeights(
        adversarial=1.3,
        cycle=1.2,
        diversity=0.5,
        features=3.0,
        content=3.0,
        reconstruction=0.5,
        style_matching=1.0,
    ),
    ema=0.998,
    ema_rampup=True,
    log_every=1600,
    sample_every=16_000,
    checkpoint_every=8_000,
)
_FAST = dict(
    recipe="fast",
    reference_share=0.5,
    ema_half_life=10_000,
    ema_rampup=True,
)
_DISTIL = dict(
    recipe="distil",
    pictures=24_000,
    batch_size=4,
    crop_probability=0.0,
    learning_rate=2e-3,
    beta1=0.5,
    weight_decay=0.0,
    gradient_clip=10.0,
    decay_from=0.5,
    warmup_pictures=4000,
    weights=LossWeights(adversarial=0.1, pixels=1.0, features=1.0),
    ema=0.998,
    ema_rampup=True,
    log_every=800,
    sample_every=8_000,
    checkpoint_every=4_000,
)
_COMPACT = dict(
    image_size=64,
    style_encoder="projected",
    discriminator="projected",
    skips="additive",
    skip_resolutions=(16,),
    widths=(24, 48, 96, 192),
    encoder_blocks=1,
    decoder_blocks=2,
    styled_output=True,
    unit_styles=True,
    mapping_width=256,
    mapping_shared_layers=2,
    mapping_domain_layers=2,
    swin=SwinConfig(head_width=24),
)
_SWIN_UNET = dict(generator="swin-unet", encoder_blocks=1, decoder_blocks=1)
_SWIN_ENCODER = dict(generator="swin-encoder", encoder_blocks=1, decoder_blocks=2)
_AT_128 = dict(image_size=128, style_encoder="swin", skips="additive", skip_resolutions=(32, 64))
_AT_256 = dict(image_size=256, style_encoder="swin", skips="additive")
_ON_64 = dict(_LEAN, pictures=110_000, warmup_pictures=2400, diversity_until=0.8)

_PRESETS: dict[str, tuple[str, dict, dict]] = {
    # name: what it is for, network differences, training differences
    "starganv2": ("the paper's networks and training at 256 px, for a GPU", {}, {}),
    "fast": (
        "the paper's networks at 256 px and losses, for less than half of the compute, for a GPU",
        {},
        _FAST,
    ),
    "fast-small-data": (
        "the same with augmentation, for fewer than about twenty thousand pictures",
        {},
        dict(_FAST, augmentation="diffaugment"),
    ),
    "faces-64": (
        "compact 64 px networks and the lean recipe, for two CPU cores and an hour or more",
        _COMPACT,
        _ON_64,
    ),
    # The Swin generators cost what residual ones do, to a fifth: the compact ones what faces-64's
    # does, the base ones what the paper's does, the small ones what the paper's does at half its
    # widths. Numbers of the generator, counted in tests/networks/test_costs.py.
    "swin-64": (
        "faces-64 with a Swin U-Net, 2.65 M and 0.41 GMAC",
        dict(_COMPACT | _SWIN_UNET, widths=(24, 48, 96, 144)),
        _ON_64,
    ),
    "swin-encoder-64": (
        "faces-64 with a Swin encoder, 2.62 M and 0.38 GMAC",
        dict(_COMPACT | _SWIN_ENCODER, widths=(24, 48, 96, 168)),
        _ON_64,
    ),
    "swin-small-128": (
        "Swin U-Net and style encoder at 128 px, 8.6 M and 5.9 GMAC, the paper's training",
        dict(_AT_128, **_SWIN_UNET, widths=(48, 96, 192, 256)),
        {},
    ),
    "swin-base-128": (
        "the same as large as the paper's generator, 33 M and 23 GMAC",
        dict(_AT_128, **_SWIN_UNET, widths=(96, 192, 384, 512)),
        {},
    ),
    "swin-encoder-small-128": (
        "Swin encoder and style encoder at 128 px, 7.0 M and 5.4 GMAC, the paper's training",
        dict(_AT_128, **_SWIN_ENCODER, widths=(64, 96, 192, 256)),
        {},
    ),
    "swin-encoder-base-128": (
        "the same as large as the paper's generator, 31 M and 24 GMAC",
        dict(_AT_128, **_SWIN_ENCODER, widths=(112, 224, 448, 512)),
        {},
    ),
    "swin-small-256": (
        "Swin U-Net and style encoder at 256 px, 8.9 M and 9.4 GMAC, the paper's training",
        dict(_AT_256, **_SWIN_UNET, widths=(32, 48, 96, 192, 256)),
        {},
    ),
    "swin-base-256": (
        "the same as large as the paper's generator, 34 M and 35 GMAC",
        dict(_AT_256, **_SWIN_UNET, widths=(48, 96, 192, 384, 512)),
        {},
    ),
    "swin-encoder-small-256": (
        "Swin encoder and style encoder at 256 px, 7.1 M and 8.0 GMAC, the paper's training",
        dict(_AT_256, **_SWIN_ENCODER, widths=(32, 64, 96, 192, 256)),
        {},
    ),
    "swin-encoder-base-256": (
        "the same as large as the paper's generator, 28 M and 32 GMAC",
        dict(_AT_256, **_SWIN_ENCODER, widths=(64, 128, 192, 384, 512)),
        {},
    ),
    "smoke": (
        "tiny networks for seconds of training, to see that everything works",
        dict(
            image_size=32,
            widths=(8, 16, 16),
            style_encoder_widths=(8, 16, 16, 16),
            discriminator_widths=(8, 16, 16, 16),
            encoder_blocks=1,
            decoder_blocks=1,
            style_size=16,
            mapping_width=32,
            mapping_shared_layers=1,
            mapping_domain_layers=2,
        ),
        dict(
            pictures=64,
            batch_size=4,
            learning_rate=1e-3,
            mapping_learning_rate=1e-5,
            log_every=16,
            sample_every=32,
            checkpoint_every=32,
            processes=1,
        ),
    ),
}


def presets() -> dict[str, str]:
    """Names of the presets and what each is for."""
    return {name: purpose for name, (purpose, _, _) in _PRESETS.items()}


def preset(name: str) -> TrainingConfig:
    """The configuration of one preset; UserError with the nearest name if there is none."""
    if name not in _PRESETS:
        raise UserError(f"no preset named '{name}'", fix=did_you_mean(name, list(_PRESETS)))
    _, network, training = _PRESETS[name]
    return TrainingConfig(network=NetworkConfig(**network), **training)


def distillation(teacher: str, student: NetworkConfig) -> TrainingConfig:
    """The configuration for distilling a student with these networks from a teacher."""
    return TrainingConfig(teacher=teacher, network=student, **_DISTIL)
