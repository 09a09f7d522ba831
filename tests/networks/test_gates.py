"""The gates for every kind of generator, at 16 px; what they mean is in ``gates.py``."""

from __future__ import annotations

import pytest
import torch
from gates import measure, overfit, real_faces

from facemeld.config import SwinConfig
from facemeld.config.network import GENERATORS
from facemeld.data.catalogue import find_weights
from facemeld.networks.generator import Generator


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_passes_every_gate(kind: str) -> None:
    torch.manual_seed(0)
    generator = Generator(
        kind=kind,
        image_size=16,
        widths=(32, 64),
        style_size=16,
        encoder_blocks=1,
        decoder_blocks=1,
        skips="additive",
        skip_resolutions=(16,),
        styled_output=True,
        unit_styles=True,
        swin=SwinConfig(window_size=4, convolutional_levels=1),
        feature_size=64,
    )
    if kind == "projected":
        published = torch.load(find_weights("efficientnet-lite0"), weights_only=True)
        generator.encoder.features.load_published(published)
    faces = real_faces(16)
    styles = overfit(generator, faces, steps=200, learning_rate=4e-3)
    assert measure(generator, faces, styles).missed() == []
