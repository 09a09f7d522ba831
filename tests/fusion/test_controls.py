"""What each control of a fusion means, on a tiny untrained model of 16 px."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facemeld.errors import UserError
from facemeld.fusion.inputs import Input
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.fusion.regions import region_mask, with_rest
from facemeld.images import centre_square, read_picture


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.int16)


def levels(a: Image.Image, b: Image.Image) -> int:
    """The largest difference of two pictures of one size, in 255ths."""
    return int(np.abs(pixels(a) - pixels(b)).max())


def distance(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(pixels(a) - pixels(b)).mean())


# -- several references -------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["linear", "spherical"])
def test_all_the_weight_on_one_reference_is_that_reference(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path], interpolation: str
) -> None:
    alone = pipe(cats[0], dogs[0]).images[0]
    options = {"weights": [0, 1], "interpolation": interpolation}
    assert levels(pipe(cats[0], [cats[1], dogs[0]], **options).images[0], alone) <= 1


@pytest.mark.parametrize("interpolation", ["linear", "spherical"])
def test_more_strength_is_further_from_the_source(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path], interpolation: str
) -> None:
    own = pipe(cats[0], cats[0], domain="cat").images[0]
    steps = [0, 0.25, 0.5, 0.75, 1]
    results = [
        pipe(cats[0], dogs[0], strength=s, interpolation=interpolation).images[0] for s in steps
    ]
    distances = [distance(result, own) for result in results]
    assert distances == sorted(distances) and distances[0] < 1 < distances[-1]


# -- levels and regions -------------------------------------------------------------------------


def test_one_reference_for_every_level_is_that_reference(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    plain = pipe(cats[0], dogs[0]).images[0]
    both = {"coarse": dogs[0], "fine": dogs[0]}
    assert levels(pipe(cats[0], levels=both).images[0], plain) == 0
    assert levels(pipe(cats[0], cats[1], levels=both).images[0], plain) == 0
    fine = pipe(cats[0], cats[1], levels={"fine": dogs[0]}).images[0]
    assert levels(fine, plain) > 3 and levels(fine, pipe(cats[0], cats[1]).images[0]) > 3


def test_levels_that_are_not_named_keep_the_sources_own_style(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    found = pipe(cats[0], levels={"fine": dogs[0]}).images[0]
    expected = pipe(cats[0], cats[0], levels={"fine": dogs[0]}).images[0]
    assert levels(found, expected) <= 1


def test_a_mask_of_ones_is_the_reference_and_of_zeros_nothing(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    plain, other = (pipe(cats[0], r).images[0] for r in (cats[1], dogs[0]))
    for value, expected in ((0.0, plain), (1.0, other)):
        mask = np.full((40, 40), value)
        found = pipe(cats[0], cats[1], regions=[(mask, dogs[0])]).images[0]
        assert levels(found, expected) <= (0 if value == 0 else 1)


def test_outside_a_mask_nothing_changes(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    plain = pipe(cats[0], cats[1]).images[0]
    found = pipe(cats[0], cats[1], regions={"left": dogs[0]}, feather=0).images[0]
    changed = np.abs(pixels(found) - pixels(plain)).max(axis=2)
    assert changed[:, 8:].max() == 0 and changed[:, :8].mean() > 3


def test_regions_of_several_references_each_take_their_place(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    def fused(left: Path, right: Path) -> np.ndarray:
        regions = {"left": left, "right": right}
        return pixels(pipe(cats[0], regions=regions, feather=0).images[0])

    first, second = fused(dogs[0], dogs[1]), fused(dogs[0], cats[1])
    left, right = np.abs(first - second)[:, :6], np.abs(first - second)[:, 10:]
    assert right.mean() > 3 * left.mean()


def test_a_mask_picture_lies_over_the_source_or_over_the_result(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path], tmp_path: Path
) -> None:
    source = Image.new("RGB", (120, 60))
    source.paste(Image.open(cats[0]).resize((60, 60)), (30, 0))
    wide = np.zeros((30, 60), np.uint8)
    wide[:, :30] = 255  # its left half is the left half of the centre square, too
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(wide).crop((15, 0, 45, 30)).save(tmp_path / "square.png")
    results = [
        pipe(source, cats[1], regions=[(region, dogs[0])]).images[0]
        for region in (str(tmp_path / "wide.png"), tmp_path / "square.png", "left")
    ]
    assert levels(results[0], results[1]) <= 2
    assert (
        distance(results[0], results[2]) < 1 < distance(results[0], pipe(source, cats[1]).images[0])
    )
    Image.fromarray(wide.T).save(tmp_path / "tall.png")
    with pytest.raises(UserError, match="30 x 60 pixels, the source 120 x 60") as caught:
        pipe(source, cats[1], regions=[(tmp_path / "tall.png", dogs[0])])
    assert caught.value.where == "tall.png"


def test_masks_are_soft_and_share_where_they_overlap() -> None:
    source = Image.new("RGB", (8, 8))
    sharp, soft = (region_mask("left", source, 32, feather) for feather in (0, 0.1))
    assert set(np.unique(sharp)) == {0, 1} and sharp[:, :16].min() == 1
    assert (np.diff(soft[0]) <= 0).all() and 0.3 < soft[0, 16] < 0.7 and soft[0, -1] == 0
    everything = Input(Image.new("L", (5, 5), 255))
    masks = with_rest([sharp, region_mask(everything, source, 32, 0)])
    np.testing.assert_allclose(masks.sum(axis=0), 1)
    assert masks[0].max() == 0 and masks[1, 0, 0] == 0.5 and masks[2, 0, -1] == 1


# -- two sources --------------------------------------------------------------------------------


def test_the_mix_of_two_sources_ends_in_each_of_them(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    def fused(mix: float | None) -> Image.Image:
        return pipe(cats[0], dogs[0], second_source=dogs[1], source_mix=mix).images[0]

    one, other = (pipe(s, dogs[0]).images[0] for s in (cats[0], dogs[1]))
    assert levels(fused(0), one) == 0 and levels(fused(1), other) == 0
    assert distance(fused(None), one) > 1 and distance(fused(None), other) > 1
    assert distance(fused(0.2), one) < distance(fused(0.8), one)


# -- latent styles ------------------------------------------------------------------------------


def test_truncation_goes_to_the_mean_style(pipe: FusionPipeline, cats: list[Path]) -> None:
    def fused(seed: int, truncation: float) -> Image.Image:
        options = {"latent": True, "domain": "dog", "seed": seed, "truncation": truncation}
        return pipe(cats[0], **options).images[0]

    mean = torch.from_numpy(pipe.encodings.mean_style("dog"))
    expected = pipe.translate(pipe.prepare([cats[0]]), mean)[0].permute(1, 2, 0)
    shown = expected.clamp(-1, 1).add(1).mul(127.5).numpy()
    assert np.abs(pixels(fused(3, 0)) - shown).max() <= 1 and levels(fused(3, 0), fused(4, 0)) == 0
    distances = [distance(fused(3, psi), fused(3, 0)) for psi in (0.3, 0.6, 1)]
    assert distances == sorted(distances) and distances[-1] > 1
    plain = pipe(cats[0], latent=True, domain="dog", seed=3).images[0]
    assert levels(fused(3, 1), plain) == 0


def test_the_mean_style_is_the_mean_of_many(pipe: FusionPipeline) -> None:
    latent, known = pipe.encodings.latent_style, pipe.encodings.mean_style("dog")[0]
    mean = np.concatenate([latent("dog", seed) for seed in range(300)]).mean(0)
    assert mean @ known / np.linalg.norm(mean) / np.linalg.norm(known) > 0.99


def test_variations_are_numbered_and_follow_from_their_seed(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    several = pipe(cats[:2], dogs[0], variations=3, seed=5)
    assert [s["variation"] for s in several.settings] == [1, 2, 3, 1, 2, 3]
    assert [s["source"] for s in several.settings] == ["00.png"] * 3 + ["01.png"] * 3
    single = pipe(cats[1], dogs[0], variations=[2], seed=5)
    assert levels(single.images[0], several.images[4]) == 0
    assert min(levels(a, b) for a, b in zip(several.images, several.images[1:])) > 3
    assert levels(pipe(cats[1], dogs[0], variations=[2], seed=6).images[0], single.images[0]) > 3
    plain = pipe(cats[1], dogs[0]).images[0]
    assert levels(pipe(cats[1], dogs[0], variations=[0]).images[0], plain) == 0
    near, far = (pipe(cats[1], dogs[0], variations=1, variation_angle=a).images[0] for a in (5, 60))
    assert distance(near, plain) < distance(far, plain)


def test_a_picture_has_the_same_bits_alone_and_in_a_batch(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    options = {"latent": True, "domain": "dog", "seed": 7, "strength": 0.7, "truncation": 0.8}
    together = pipe([*cats[:3], *dogs[:2]], **options).images
    for source, image in zip([*cats[:3], *dogs[:2]], together, strict=True):
        assert levels(pipe(source, **options).images[0], image) == 0


# -- keep ---------------------------------------------------------------------------------------


def test_content_strength_scales_the_skips(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    def fused(strength: float) -> Image.Image:
        return pipe(cats[0], dogs[0], content_strength=strength).images[0]

    plain = pipe(cats[0], dogs[0]).images[0]
    content = pipe.networks.generator.encode(pipe.prepare([cats[0]]))
    bare = content._replace(skips=())
    with torch.inference_mode():
        style = torch.from_numpy(pipe.styles_of([dogs[0]]))
        none = pipe.networks.generator.decode(bare, style)[0]
    shown = none.permute(1, 2, 0).clamp(-1, 1).add(1).mul(127.5).numpy()
    assert levels(fused(1), plain) == 0
    assert np.abs(pixels(fused(0)) - shown).max() <= 1 < levels(fused(0), plain)


def test_colour_match_moves_towards_the_sources_colours(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    source = pixels(centre_square(read_picture(cats[0]), 16))
    means = [
        pixels(pipe(cats[0], dogs[0], colour_match=share).images[0]).mean((0, 1))
        for share in (0, 0.5, 1)
    ]
    distances = [np.abs(mean - source.mean((0, 1))).sum() for mean in means]
    assert distances[0] > distances[1] > distances[2]
    plain = pipe(cats[0], dogs[0]).images[0]
    assert levels(pipe(cats[0], dogs[0], colour_match=0).images[0], plain) == 0


# -- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "fix", "options"),
    [
        ("no interpolation 'sphere'", "'spherical'", dict(interpolation="sphere")),
        ("no level 'fien'", "'fine'", dict(levels={"fien": 0})),
        ("has no middle level", "coarse 8 px, fine 16 px", dict(levels={"middle": 0})),
        ("no region 'lefft'", "'left'", dict(regions={"lefft": 0})),
        ("H W finite numbers", "", dict(regions=[(np.zeros((3, 3, 3)), 0)])),
        ("H W finite numbers", "", dict(regions=[(np.full((3, 3), np.nan), 0)])),
        ("feather is 0.9", "", dict(feather=0.9)),
        ("feather is about regions", "region", dict(feather=0.2)),
        ("angle is about variations", "variations", dict(variation_angle=5)),
        ("source mix is 2", "", dict(source_mix=2, second_source=0)),
        ("about two sources", "second source", dict(source_mix=0.5)),
        ("about latent styles", "latent style", dict(truncation=0.5)),
        ("truncation is -1", "", dict(truncation=-1)),
        ("variations is -1", "", dict(variations=-1)),
        ("must not be negative", "", dict(variations=[-1])),
        ("variation angle is 91", "", dict(variation_angle=91)),
        ("content strength is 3", "", dict(content_strength=3)),
        ("colour match is nan", "", dict(colour_match=float("nan"))),
        ("no reference picture", "", dict(references=[], weights=[1], levels={"fine": 0})),
    ],
)
def test_values_that_do_not_fit_are_refused(
    pipe: FusionPipeline, cats: list[Path], what: str, fix: str, options: dict
) -> None:
    def filled(value):
        return cats[1] if value == 0 and isinstance(value, int) else value

    for name in ("levels", "regions"):
        given = options.get(name)
        if isinstance(given, dict):
            options = options | {name: {key: filled(v) for key, v in given.items()}}
        elif given:
            options = options | {name: [(mask, filled(v)) for mask, v in given]}
    if "second_source" in options:
        options = options | {"second_source": cats[1]}
    with pytest.raises(UserError) as caught:
        pipe(**{"source": cats[0], "references": cats[1]} | options)
    assert what in caught.value.what and fix in caught.value.fix


def test_a_model_without_skips_has_no_content_strength(
    resnet_model: Path, cats: list[Path]
) -> None:
    with pytest.raises(UserError, match="this model has none"):
        FusionPipeline.from_pretrained(resnet_model)(
            cats[0], cats[1], domain="cat", content_strength=0.5
        )
