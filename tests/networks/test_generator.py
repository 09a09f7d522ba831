"""The generator in every variant: shapes, gradients, single = batch, and what its skips carry."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from facemeld.config import SwinConfig
from facemeld.networks.generator import Generator
from facemeld.networks.layers import NoNorm

KINDS = ("resnet", "separable", "swin-encoder", "swin-unet", "projected")
SKIPS = ("none", "additive", "highpass", "masked")
SWIN = SwinConfig(window_size=4, head_width=4, convolutional_levels=1)
SIZES = {
    "shallow": dict(image_size=32, widths=(8, 12), style_size=3),
    "deep": dict(image_size=32, widths=(4, 8, 8, 16), style_size=16),
    "no bottleneck blocks": dict(
        image_size=16, widths=(8, 8), style_size=4, encoder_blocks=0, decoder_blocks=0
    ),
    "styled output": dict(
        image_size=32, widths=(8, 16, 16), style_size=8, styled_output=True, unit_styles=True
    ),
    "one and three blocks": dict(
        image_size=64, widths=(4, 8, 8), style_size=8, encoder_blocks=1, decoder_blocks=3
    ),
    "patches": dict(image_size=64, patch_size=2, widths=(4, 8, 8), style_size=8),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def VARIANTS(test):
    return EVERY_KIND(pytest.mark.parametrize("skips", SKIPS)(test))


ALL_SIZES = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)


def build(skips: str, skip_resolutions=(16, 32, 64), kind="resnet", **sizes) -> Generator:
    if kind == "separable":
        kind, sizes = "resnet", sizes | {"separable": True}
    if kind == "projected":  # so that its features have maps of every resolution
        sizes = sizes | {"feature_size": 4 * sizes["image_size"] // sizes.get("patch_size", 1)}
    generator = Generator(
        kind=kind, skips=skips, skip_resolutions=skip_resolutions, swin=SWIN, **sizes
    )
    with torch.no_grad():  # away from the zeros that some layers start with
        for parameter in generator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return generator


def inputs(generator: Generator, sizes: dict, batch: int = 3) -> tuple:
    side = sizes["image_size"]
    masks = torch.rand(batch, 2, side, side) if generator.skips == "masked" else None
    return torch.rand(batch, 3, side, side) * 2 - 1, torch.randn(batch, sizes["style_size"]), masks


@pytest.fixture(autouse=True)
def same_dice():
    torch.manual_seed(0)


@VARIANTS
@ALL_SIZES
def test_shape_and_gradients(kind, skips, sizes):
    generator = build(skips, kind=kind, **sizes)
    pictures, styles, masks = inputs(generator, sizes)
    pictures.requires_grad_()
    styles.requires_grad_()
    out = generator(pictures, styles, masks)
    assert out.shape == pictures.shape and out.isfinite().all()
    out.square().mean().backward()
    trained = [(n, p) for n, p in generator.named_parameters() if p.requires_grad]
    for name, tensor in [("pictures", pictures), ("styles", styles), *trained]:
        assert tensor.grad is not None and tensor.grad.isfinite().all(), name
        if not name.endswith("bias"):  # a norm takes some biases away again
            assert tensor.grad.abs().max() > 0, name


@EVERY_KIND
@pytest.mark.parametrize("size", [48, 80, 112])
def test_sizes_that_are_no_powers_of_two(kind, size):
    generator = build(
        "additive", (size // 2,), kind=kind, image_size=size, widths=(4, 8, 8, 8), style_size=4
    ).eval()
    pictures = torch.rand(2, 3, size, size)
    with torch.inference_mode():
        out = generator(pictures, torch.randn(2, 4))
    assert out.shape == pictures.shape and out.isfinite().all()


@VARIANTS
@ALL_SIZES
def test_a_picture_alone_gives_what_it_gives_in_a_batch(kind, skips, sizes):
    generator = build(skips, kind=kind, **sizes).eval()
    pictures, styles, masks = inputs(generator, sizes)
    with torch.inference_mode():
        together = generator(pictures, styles, masks)
        for i in range(len(pictures)):
            own_masks = None if masks is None else masks[i : i + 1]
            alone = generator(pictures[i : i + 1], styles[i : i + 1], own_masks)
            torch.testing.assert_close(alone[0], together[i], atol=5e-5, rtol=1e-5)


@VARIANTS
def test_the_layout_of_the_pictures_changes_nothing(kind, skips):
    sizes = SIZES["deep"]
    generator = build(skips, kind=kind, **sizes).eval()
    pictures, styles, masks = inputs(generator, sizes)
    other = pictures.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert torch.equal(generator(pictures, styles, masks), generator(other, styles, masks))


@VARIANTS
def test_channels_last_weights_give_the_same(kind, skips):
    sizes = SIZES["deep"]
    generator = build(skips, kind=kind, **sizes).eval()
    given = inputs(generator, sizes)
    with torch.inference_mode():
        expected = generator(*given)
        found = generator.to(memory_format=torch.channels_last)(*given)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@VARIANTS
def test_bf16_autocast_stays_near(kind, skips):
    sizes = SIZES["deep"]
    generator = build(skips, kind=kind, **sizes).eval().to(memory_format=torch.channels_last)
    given = inputs(generator, sizes)
    with torch.inference_mode():
        expected = generator(*given)
        with torch.autocast("cpu", torch.bfloat16):
            found = generator(*given).float()
    assert found.isfinite().all()
    most = 0.08 if kind == "projected" else 0.05  # whose encoder has sixteen blocks more
    assert (found - expected).std() < most * expected.std()


@VARIANTS
def test_one_encoding_serves_several_styles(kind, skips):
    sizes = SIZES["deep"]
    generator = build(skips, kind=kind, **sizes).eval()
    pictures, _, masks = inputs(generator, sizes, batch=2)
    styles = torch.randn(6, sizes["style_size"])
    masks = None if masks is None else masks.repeat_interleave(3, dim=0)
    with torch.inference_mode():
        found = generator.decode(generator.encode(pictures).repeat(3), styles, masks)
        expected = generator(pictures.repeat_interleave(3, dim=0), styles, masks)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert (found[0] - found[1]).abs().max() > 0.01, "styles matter"
        assert (found[0] - found[3]).abs().max() > 0.01, "pictures matter"


@EVERY_KIND
@pytest.mark.parametrize("skips", SKIPS[1:])
def test_skips_carry_what_their_strength_says(kind, skips):
    sizes = SIZES["deep"]
    generator = build(skips, kind=kind, **sizes).eval()
    pictures, styles, masks = inputs(generator, sizes)
    with torch.inference_mode():
        content = generator.encode(pictures)
        assert len(content.skips) == 2  # 32 and 16
        full = generator.decode(content, styles, masks)
        none = generator.decode(content, styles, masks, content_strength=0.0)
    bare = build(skips, skip_resolutions=(), kind=kind, **sizes)
    bare.load_state_dict(generator.state_dict(), strict=False)
    with torch.inference_mode():
        torch.testing.assert_close(none, bare(pictures, styles), atol=1e-5, rtol=1e-5)
    assert (full - none).abs().max() > 0.01


@VARIANTS
def test_export_takes_batches_of_any_size(kind, skips):
    sizes = SIZES["deep"]
    generator = build(skips, kind=kind, **sizes).eval()
    given = tuple(t for t in inputs(generator, sizes, batch=2) if t is not None)
    any_batch = tuple({0: torch.export.Dim.DYNAMIC} for _ in given)
    with torch.no_grad():
        exported = torch.export.export(generator, given, dynamic_shapes=any_batch).module()
        larger = tuple(torch.cat([t, t[:1]]) for t in given)
        torch.testing.assert_close(exported(*larger), generator(*larger), atol=1e-5, rtol=1e-5)


@EVERY_KIND
def test_pixels_of_a_patch_begin_alike(kind):
    sizes = dict(image_size=64, patch_size=2, widths=(4, 8, 8), style_size=8)
    generator = Generator(kind=kind.replace("separable", "resnet"), swin=SWIN, **sizes)
    with torch.inference_mode():
        out = generator(torch.rand(1, 3, 64, 64), torch.randn(1, 8))
    patches = out.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    torch.testing.assert_close(patches[..., 1:], patches[..., :1].expand(-1, -1, -1, -1, 3))


def test_a_projected_encoder_takes_features_that_are_there():
    generator = build("additive", kind="projected", **SIZES["deep"]).eval()
    pictures = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        found = generator.encode_features(generator.encoder.features(pictures))
        expected = generator.encode(pictures)
    assert torch.equal(found.bottleneck, expected.bottleneck)
    assert all(torch.equal(f, e) for f, e in zip(found.skips, expected.skips, strict=True))
    assert not any(p.requires_grad for p in generator.encoder.features.parameters())


@pytest.mark.parametrize("skips", ["highpass", "masked"])
def test_a_larger_divisor_weakens_high_pass_skips(skips):
    sizes = SIZES["deep"]
    generator = build(skips, high_pass_divisor=2.0, **sizes).eval()
    twice = build(skips, high_pass_divisor=1.0, **sizes).eval()
    twice.load_state_dict(generator.state_dict())
    pictures, styles, masks = inputs(generator, sizes)
    with torch.inference_mode():
        half = twice.decode(twice.encode(pictures), styles, masks, content_strength=0.5)
        torch.testing.assert_close(generator(pictures, styles, masks), half)


class TestMasks:
    """B 2 H W: the first for maps below 64 px, the second for finer ones."""

    sizes = dict(image_size=64, widths=(4, 8, 8), style_size=8)

    def pair(self, resolutions: tuple[int, ...], skips: str = "masked") -> tuple:
        torch.manual_seed(0)
        generator = build("masked", (32, 64), **self.sizes).eval()
        other = build(skips, resolutions, **self.sizes).eval()
        other.load_state_dict(generator.state_dict())
        return generator, other, inputs(generator, self.sizes)

    def test_full_masks_are_plain_high_pass_skips(self):
        generator, highpass, (pictures, styles, masks) = self.pair((32, 64), "highpass")
        with torch.inference_mode():
            found = generator(pictures, styles, torch.ones_like(masks))
            torch.testing.assert_close(found, highpass(pictures, styles))

    def test_no_masks_and_empty_masks_carry_nothing(self):
        generator, bare, (pictures, styles, masks) = self.pair(())
        with torch.inference_mode():
            expected = bare(pictures, styles)
            torch.testing.assert_close(generator(pictures, styles), expected)
            empty = torch.zeros_like(masks)
            torch.testing.assert_close(generator(pictures, styles, empty), expected)

    @pytest.mark.parametrize(
        ("size", "resolution", "empty"), [(64, 32, 1), (64, 64, 0), (80, 40, 1), (80, 80, 0)]
    )
    def test_each_mask_serves_its_own_resolutions(self, size, resolution, empty):
        sizes = self.sizes | {"image_size": size}
        generator = build("masked", (size // 2, size), **sizes).eval()
        other = build("masked", (resolution,), **sizes).eval()
        other.load_state_dict(generator.state_dict())
        pictures, styles, masks = inputs(generator, sizes)
        with torch.inference_mode():
            expected = other(pictures, styles, masks)
            masks[:, empty] = 0
            torch.testing.assert_close(generator(pictures, styles, masks), expected)

    def test_a_mask_acts_where_it_is(self):
        generator, bare, (pictures, styles, masks) = self.pair(())
        masks.zero_()
        masks[:, 1, :16, :16] = 1
        with torch.inference_mode():
            # before the last norm, which spreads a little of it over the whole picture
            for network in (generator, bare):
                network.output_norm = NoNorm()
            change: Tensor = generator(pictures, styles, masks) - bare(pictures, styles)
        assert change[..., :16, :16].abs().max() > 0.01
        assert change[..., 18:, :].abs().max() < 1e-5 and change[..., 18:].abs().max() < 1e-5
