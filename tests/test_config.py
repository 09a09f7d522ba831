"""Configurations: all problems at once, typos answered, plain text and back without loss."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from facemeld.config import (
    LossWeights,
    NetworkConfig,
    SwinConfig,
    TrainingConfig,
    from_dict,
    preset,
    presets,
    read_toml,
    to_dict,
    training,
    write_toml,
)
from facemeld.config.network import GENERATORS, SKIPS
from facemeld.config.recipe_options import RECIPES, USERS
from facemeld.errors import UserError


@pytest.mark.parametrize(
    ("values", "words", "fix"),
    [
        ({"batchsize": 4}, "unknown option 'batchsize'", "did you mean 'batch_size'"),
        ({"network": {"image_sise": 64}}, "'network.image_sise'", "did you mean 'image_size'"),
        ({"weights": {"cycel": 1}}, "'weights.cycel'", "did you mean 'cycle'"),
        ({"late_weights": {"q": 1}}, "'late_weights.q'", "choose one of: adversarial"),
        ({"network": 5}, "network. must be a table", ""),
    ],
)
def test_an_unknown_option_suggests_the_right_name(values, words, fix):
    with pytest.raises(UserError, match=words) as raised:
        from_dict(TrainingConfig, values, where="run.toml")
    assert raised.value.where == "run.toml"
    assert fix in raised.value.fix


@pytest.mark.parametrize(
    ("changes", "suggestion"),
    [
        (dict(skips="highpas"), "did you mean 'highpass'"),
        (dict(style_encoder="Resnet"), "did you mean 'resnet'"),
        (dict(discriminator="projectd"), "did you mean 'projected'"),
        (dict(generator="unet"), "resnet"),
    ],
)
def test_an_unknown_choice_suggests_the_right_one(changes, suggestion):
    with pytest.raises(UserError, match=suggestion):
        NetworkConfig(**changes).resolved()


def test_all_problems_are_reported_together():
    network = NetworkConfig(
        image_size=100, skips="hipass", style_size=0, domains=("a", "a"), high_pass_divisor=0.0
    )
    config = TrainingConfig(network=network, recipe="leen", batch_size=0, ema=1.5, precision="fp8")
    with pytest.raises(UserError) as raised:
        config.resolved()
    for words in (
        "image_size is 100",
        "no skips named 'hipass'",
        "style_size is 0",
        "domains must have different names",
        "high_pass_divisor is 0.0",
        "no recipe named 'leen'",
        "batch_size is 0",
        "ema is 1.5",
        "no precision named 'fp8'",
    ):
        assert words in raised.value.what


SWIN_96 = dict(
    image_size=96,
    generator="swin-unet",
    style_encoder="swin",
    discriminator="projected",
    widths=(32, 64, 96),
)


def test_swin_networks_need_no_power_of_two():
    resolved = NetworkConfig(**SWIN_96).resolved()
    assert resolved.style_encoder_widths == resolved.widths == (32, 64, 96)


@pytest.mark.parametrize("skips", SKIPS)
@pytest.mark.parametrize("generator", sorted({*GENERATORS} - {"projected"}))
def test_every_multiple_of_16_is_a_size_with_all_defaults(generator, skips):
    for size in [*range(16, 257, 16), 272, 528, 1008]:
        config = NetworkConfig(
            image_size=size,
            generator=generator,
            style_encoder="swin",
            discriminator="projected",
            skips=skips,
            skip_resolutions=(16, 32, 64, 128),
        ).resolved()
        assert config.resolved() == config, size
        halvings = len(config.widths) - 1
        coarsest = size >> halvings
        assert halvings >= 1 and coarsest << halvings == size
        assert bool(config.skip_sides()) == (skips != "none"), size
        if generator != "resnet":
            assert coarsest >= config.swin.window_size, size
        if size > 16:  # as deep as the paper's, unless half a pixel would be left
            least = 16 if skips in ("none", "additive") else 8
            assert coarsest < 2 * least or coarsest % 2, size


@pytest.mark.parametrize(
    ("size", "sides"),
    [(64, (32, 16)), (80, (40, 20)), (112, (56, 28)), (96, (48, 24)), (128, (32, 16))],
)
def test_skips_of_other_sizes_mean_the_maps_of_the_same_depth(size, sides):
    config = NetworkConfig(
        image_size=size,
        widths=(8, 8, 8, 8, 8),
        skips="additive",
        skip_resolutions=(16, 32),
        style_encoder="projected",
        discriminator="projected",
        unit_styles=True,
    )
    assert config.resolved().skip_sides() == sides


def test_widths_that_nobody_gave_are_whole_heads_in_swin_stages():
    config = NetworkConfig(image_size=144, generator="swin-unet", style_encoder="swin")
    config = dataclasses.replace(config, discriminator="projected").resolved()
    assert config.widths == config.style_encoder_widths == (113, 226, 448, 512)
    plain = dataclasses.replace(config, widths=(), generator="resnet", style_encoder_widths=())
    plain = plain.resolved()
    assert plain.widths == (113, 226, 452, 512)
    assert plain.style_encoder_widths == config.style_encoder_widths


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(image_size=8), "from 16 to 1024"),
        (dict(image_size=2048), "from 16 to 1024"),
        (dict(image_size=-64), "from 16 to 1024"),
        (dict(image_size="64"), "image_size must be a int, not '64'"),
        (dict(image_size=None), "image_size must be a int, not None"),
        (dict(image_size=True), "image_size must be a int"),
        (dict(styled_output=1), "styled_output must be a bool"),
        (dict(domains=["a"]), "domains must be a list of str"),
        (dict(domains=("a", 1)), "domains must be a list of str"),
        (dict(domains=("a", "")), "none of them empty"),
        (dict(high_pass_divisor=float("nan")), "high_pass_divisor must be a float"),
        (dict(widths=(8,)), "does not fit 256 px"),
        (dict(widths=(8,) * 9), "does not fit 256 px"),
        (dict(widths=(8, 0)), "widths must be from 1 to 4096 each"),
        (dict(style_encoder_widths=(8, 8)), "must halve 256 px down to 4"),
        (dict(discriminator_widths=(8, 8)), "must halve 256 px down to 4"),
        (dict(skips="additive", skip_resolutions=(8,)), "skips = additive carry nothing"),
        (dict(style_encoder="projected"), "needs unit_styles = true"),
        (dict(feature_size=100), "must be a multiple of 32"),
        (dict(domains=tuple(map(str, range(1001)))), "at most 1000"),
        (dict(image_size=96), "resnet style encoder and discriminator need .* a power of two"),
        (
            SWIN_96 | dict(image_size=80, widths=(32,) * 5),
            "map of 5 px is smaller than swin.window",
        ),
        (
            SWIN_96 | dict(widths=(32, 64, 80, 96)),
            "80 channels are no multiples of swin.head_width",
        ),
        (
            SWIN_96 | dict(widths=(32, 64), encoder_blocks=0),
            "the generator's encoder has no Swin stage",
        ),
        (SWIN_96 | dict(skips="additive", skip_resolutions=(12, 128)), "carry nothing"),
        (
            SWIN_96 | dict(style_encoder_widths=(32, 40, 48)),
            "the style encoder's Swin stages of 48",
        ),
        (dict(swin=SwinConfig(window_size=0)), "swin.window_size is 0"),
        (dict(swin=SwinConfig(blocks="two")), "swin.blocks must be a int"),
    ],
)
def test_impossible_networks(changes, words):
    with pytest.raises(UserError, match=words):
        NetworkConfig(**changes).resolved()


LEAN = dict(recipe="lean", network=NetworkConfig(discriminator="projected"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(learning_rate=-1.0), "learning_rate is -1"),
        (dict(learning_rate="fast"), "learning_rate must be a float"),
        (dict(weights=LossWeights(cycle="much")), "weights.cycle must be a float"),
        (dict(late_weights=LossWeights(style=None)), "late_weights.style must be a float"),
        (dict(recipe=None), "recipe must be a str, not None"),
        (dict(recipe="lean"), "needs discriminator = projected"),
        (dict(processes=3), "8 sources a batch cannot be divided evenly by 3"),
        (dict(on_unreadable="ignore"), "no on_unreadable named 'ignore'"),
        (dict(recipe="lean", network=NetworkConfig(skips="masked")), "need starganv2"),
        (dict(network=NetworkConfig(discriminator="projected")), "needs discriminator = resnet"),
        (dict(weights=LossWeights(landmarks=1.0)), "ignores weights.landmarks, an option of lean"),
        (dict(late_weights=LossWeights(style_matching=1.0)), "ignores late_weights.style_matching"),
        (dict(warmup_pictures=8, outermost_pictures=8), "warmup_pictures.* outermost_pictures, an"),
        (dict(recipe="fast", teacher="faces"), "the fast recipe ignores teacher, an option of di"),
        (LEAN | dict(augmentation="diffaugment"), "augmentation, an option of starganv2, fast"),
        (LEAN | dict(branches="both", r1=2.0, r1_interval=4), "r1, .* r1_interval, .* branches"),
        (LEAN | dict(recipe="distil", domains=("cat",)), "the distil recipe ignores domains"),
    ],
)
def test_impossible_runs(changes, words):
    with pytest.raises(UserError, match=words):
        TrainingConfig(**changes).resolved()


def test_what_is_off_or_as_always_is_not_refused():
    off = LossWeights(style=0.0, diversity=0.0, cycle=0.0, pixels=1.0)
    config = TrainingConfig(**LEAN | dict(recipe="distil", teacher="t", r1=0.0, weights=off))
    assert config.problems() == []


def test_the_table_of_recipes_says_what_the_options_say_of_themselves():
    source = inspect.getsource(training)
    told = dict(re.findall(r"^    (\w+): [^\n]*\n    \"\"\"(.*?)\"\"\"", source, re.M | re.S))
    options = {option.rpartition(".")[2]: set(users) for option, users in USERS.items()}
    seen = 0
    for name, users in options.items():
        groups = [set(g.split(", ")) for g in re.findall(r"\(([^()]*)\)", told.get(name, ""))]
        named = set().union(*(g for g in groups if g <= set(RECIPES)))
        if named:
            seen += 1
            assert named == users, name
    assert seen > 15


def test_the_table_of_recipes_is_the_documented_one():
    text = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*`) \| ([a-z0-9, `]+) \|$", text, re.M)
    told = {
        option: tuple(re.findall(r"`(\w+)`", users))
        for options, users in rows
        for option in re.findall(r"`([\w.]+)`", options)
    }
    assert {option: told.get(option) for option in USERS} == USERS


@pytest.mark.parametrize("image_size", [16, 32, 64, 128, 256, 512, 1024])
@pytest.mark.parametrize("skips", ["none", "highpass"])
def test_empty_widths_become_the_papers(image_size, skips):
    config = NetworkConfig(image_size=image_size, skips=skips, skip_resolutions=(16, 32))
    resolved = config.resolved()
    assert resolved.widths[0] == min(2**14 // image_size, 512)
    coarsest = 16 if image_size > 16 else 8  # at least one halving
    coarsest //= 2 if skips == "highpass" else 1
    assert image_size >> (len(resolved.widths) - 1) == coarsest
    for widths in (resolved.style_encoder_widths, resolved.discriminator_widths):
        assert image_size >> (len(widths) - 1) == 4 and max(widths) <= 512
    assert resolved.resolved() == resolved, "a resolved configuration stays as it is"


def test_every_preset_resolves_and_survives_as_text(tmp_path):
    assert {"starganv2", "faces-64", "smoke"} <= presets().keys()
    assert all(purpose for purpose in presets().values())
    for name in presets():
        config = preset(name).resolved()
        write_toml(config, tmp_path / "config.toml")
        values = read_toml(tmp_path / "config.toml")
        assert from_dict(TrainingConfig, values) == config, name
        assert from_dict(TrainingConfig, to_dict(config)) == config, name


@pytest.mark.parametrize("name", ["swin-64", "swin-encoder-64", "swin-small-128"])
@pytest.mark.parametrize("quarters", [5, 6, 7])
def test_swin_presets_at_other_sizes(name, quarters):
    network = preset(name).network
    size = quarters * network.image_size // 4
    changes = {"discriminator": "projected"}  # the resnet one needs a power of two
    resolved = dataclasses.replace(network, image_size=size, **changes).resolved()
    assert len(resolved.skip_sides()) == len(network.skip_sides())


def test_the_starganv2_preset_is_the_official_training():
    config = preset("starganv2").resolved()
    assert config == TrainingConfig().resolved()
    assert config.network.widths == (64, 128, 256, 512, 512)
    assert config.network.style_encoder_widths == (64, 128, 256, 512, 512, 512, 512)
    assert (config.batch_size, config.pictures // config.batch_size) == (8, 100_000)
    assert (config.learning_rate, config.mapping_learning_rate) == (1e-4, 1e-6)
    assert (config.beta1, config.beta2, config.weight_decay) == (0.0, 0.99, 1e-4)
    assert (config.r1, config.ema, config.crop_probability) == (1.0, 0.999, 0.5)
    weights = config.weights
    assert weights.adversarial == weights.style == weights.diversity == weights.cycle == 1


def test_an_unknown_preset_suggests_the_nearest():
    with pytest.raises(UserError, match="no preset named 'face-64'") as raised:
        preset("face-64")
    assert "did you mean 'faces-64'" in raised.value.fix


def test_text_keeps_unusual_values(tmp_path):
    config = TrainingConfig(
        network=NetworkConfig(
            image_size=32, domains=('quo"ted', "人", "back\\slash", "new\nline"), widths=(8, 16)
        ),
        data="C:\\faces = [odd]",
        learning_rate=1e-7,
        late_weights=LossWeights(cycle=2.0),
    )
    write_toml(config, tmp_path / "config.toml")
    assert from_dict(TrainingConfig, read_toml(tmp_path / "config.toml")) == config


def test_whole_numbers_are_taken_for_fractions():
    config = from_dict(TrainingConfig, {"learning_rate": 0, "weights": {"cycle": 2}})
    assert config.weights.cycle == 2.0 and isinstance(config.weights.cycle, float)
    assert config.problems() == []


@pytest.mark.parametrize("text", [b"pictures = ", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_file_that_is_not_toml(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_bytes(text)
    with pytest.raises(UserError, match="not a readable TOML file") as raised:
        read_toml(path)
    assert raised.value.where == str(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such configuration file"):
        read_toml(tmp_path / "run.toml")


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NetworkConfig().image_size = 64


def test_configurations_do_not_load_torch():
    code = "import sys, facemeld.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
