"""Every combination builds; a model folder gives back, bit for bit, what was saved into it."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from facemeld.config import MODEL_FORMAT, NetworkConfig, SwinConfig
from facemeld.config.network import GENERATORS, SKIPS, STYLE_ENCODERS
from facemeld.errors import UserError
from facemeld.networks.bundle import (
    Networks,
    build_discriminator,
    load_model,
    save_model,
    without_values,
)

TINY = NetworkConfig(
    image_size=32,
    domains=("cat", "人", "wild cat"),
    widths=(4, 8),
    style_encoder_widths=(4, 4, 8, 8),
    discriminator_widths=(4, 4, 8, 8),
    style_size=6,
    latent_size=4,
    mapping_width=8,
    mapping_shared_layers=1,
    mapping_domain_layers=2,
    encoder_blocks=1,
    decoder_blocks=1,
    feature_size=32,
    unit_styles=True,
    swin=SwinConfig(window_size=4, head_width=4, convolutional_levels=1),
)
PROJECTED = dict(widths=(4, 8, 8), feature_size=64, skip_resolutions=(16,))
COMBINATIONS = pytest.mark.parametrize(
    ("generator", "skips", "style_encoder", "styled_output"),
    list(itertools.product(GENERATORS, SKIPS, STYLE_ENCODERS, (False, True))),
)


def randomised(networks: Networks) -> Networks:
    torch.manual_seed(1)
    for tensor in networks.state_dict().values():
        tensor.normal_()
    return networks


@COMBINATIONS
def test_round_trip_is_bitwise(tmp_path, generator, skips, style_encoder, styled_output):
    config = dataclasses.replace(
        TINY,
        generator=generator,
        skips=skips,
        style_encoder=style_encoder,
        style_encoder_widths=(4, 8) if style_encoder == "swin" else TINY.style_encoder_widths,
        styled_output=styled_output,
    )
    if generator == "projected":
        config = dataclasses.replace(config, **PROJECTED)
    networks = randomised(Networks(config))
    save_model(networks, tmp_path / "model", card="# a model\n")
    loaded = load_model(tmp_path / "model")
    assert loaded.config == networks.config == config.resolved()
    assert loaded.state_dict().keys() == networks.state_dict().keys()
    for name, tensor in networks.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert not any(module.training for module in loaded.modules())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    save_model(loaded, tmp_path / "again", card="# a model\n")
    for file in ("config.json", "model.safetensors", "README.md"):
        again = (tmp_path / "again" / file).read_bytes()
        assert again == (tmp_path / "model" / file).read_bytes()


def test_a_model_on_a_cpu_keeps_the_layout_with_the_smaller_rounding_error(tmp_path):
    networks = Networks(TINY).to(memory_format=torch.channels_last)
    save_model(networks, tmp_path / "model", card="")
    assert all(tensor.is_contiguous() for tensor in load_model(tmp_path / "model").parameters())


def test_half_precision_on_disk_is_single_in_memory(tmp_path):
    networks = randomised(Networks(TINY))
    save_model(networks, tmp_path / "half", card="", half=True)
    save_model(networks, tmp_path / "whole", card="")
    sizes = [(tmp_path / n / "model.safetensors").stat().st_size for n in ("half", "whole")]
    assert sizes[0] < 0.7 * sizes[1]
    for name, tensor in load_model(tmp_path / "half").state_dict().items():
        assert torch.equal(tensor, networks.state_dict()[name].half().float()), name


def test_projected_networks_share_their_features_in_files_too(tmp_path):
    parts = dict(generator="projected", style_encoder="projected")
    networks = randomised(Networks(dataclasses.replace(TINY, **parts, **PROJECTED)))
    copied = copy.deepcopy(networks)
    save_model(networks, tmp_path, card="")
    for one in (networks, copied, load_model(tmp_path)):
        features = one.style_encoder.features
        assert one.generator.encoder.features is features
        assert torch.equal(features.stem.weight, networks.style_encoder.features.stem.weight)
        names = one.state_dict()
        assert "style_encoder.features.stem.weight" in names
        assert not [n for n in names if n.startswith("generator.encoder.features.")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            dict(widths=(4, 8, 8, 8, 8), feature_size=128),
            "begins at 2 px, but the frozen features' maps have 32, 16, 8, 4 px",
        ),
        (dict(skip_resolutions=(32,)), "skips want 32 px"),
    ],
)
def test_maps_that_the_frozen_features_do_not_have(changes, words):
    given = PROJECTED | dict(generator="projected", skips="additive", feature_size=64) | changes
    with pytest.raises(UserError, match=words):
        Networks(dataclasses.replace(TINY, **given))


@pytest.mark.parametrize("kind", ["resnet", "projected"])
def test_the_discriminator_that_is_named(kind):
    discriminator = build_discriminator(dataclasses.replace(TINY, discriminator=kind))
    assert type(discriminator).__name__.lower() == f"{kind}discriminator"


@pytest.mark.parametrize("image_size", [16, 32, 64, 128, 256, 512, 1024])
@pytest.mark.parametrize("skips", ["none", "additive", "highpass"])
def test_the_papers_networks_at_every_size(image_size, skips):
    config = NetworkConfig(
        image_size=image_size, domains=("a", "b"), skips=skips, skip_resolutions=(16, 32, 64)
    )
    with torch.device("meta"):
        networks = Networks(config)
        pictures = torch.empty(1, 3, image_size, image_size)
        domains = torch.zeros(1, dtype=torch.int64)
        build_discriminator(config)
        assert networks.style_encoder(pictures, domains).shape == (1, 64)
    assert networks.config.problems() == []


@pytest.mark.parametrize("skips", SKIPS)
@pytest.mark.parametrize("generator", sorted({*GENERATORS} - {"projected"}))
def test_any_size_divisible_by_16(generator, skips):
    """Without any width given."""
    for size in (16, 48, 144, 240):
        config = NetworkConfig(
            image_size=size,
            domains=("a", "b"),
            generator=generator,
            style_encoder="swin",
            discriminator="projected",
            skips=skips,
            skip_resolutions=(16, 32, 64, 128),
        )
        with without_values(), torch.no_grad():
            networks = Networks(config)
            pictures, masks = torch.empty(1, 3, size, size), torch.empty(1, 2, size, size)
            style = networks.style_encoder(pictures, torch.zeros(1, dtype=torch.int64))
            content = networks.generator.encode(pictures)
            assert [s.shape[2] for s in content.skips] == list(config.skip_sides()), size
            assert networks.generator.decode(content, style, masks).shape == pictures.shape, size


def test_the_papers_numbers_of_parameters():
    def count(module: torch.nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    with torch.device("meta"):
        plain = Networks(NetworkConfig(domains=("a", "b")))
        masked = Networks(NetworkConfig(domains=("a", "b"), skips="masked"))
        discriminator = build_discriminator(NetworkConfig(domains=("a", "b")))
    assert count(plain.generator) == 33_892_995
    # the official count of 43,467,395 has shortcuts that are never used
    assert count(masked.generator) == 43_467_395 - (512 * 256 + 256 * 128 + 128 * 64)
    assert count(plain.mapping_network) == 2_438_272
    assert count(plain.style_encoder) == 20_916_928
    assert count(discriminator) == 20_852_290


def test_a_file_from_before_it_was_known_what_is_usual(tmp_path):
    config = dataclasses.replace(TINY, style_encoder="projected")
    save_model(randomised(Networks(config)), tmp_path, card="")
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    unknown = {"style_encoder.domain_centre", "style_encoder.domain_precision"}
    save_file({n: w for n, w in weights.items() if n not in unknown}, path)
    loaded = load_model(tmp_path).state_dict()
    assert loaded.keys() == weights.keys()
    for name, tensor in loaded.items():
        assert torch.equal(tensor, torch.zeros_like(tensor) if name in unknown else weights[name])


class TestDamagedFolders:
    @pytest.fixture
    def model(self, tmp_path):
        save_model(randomised(Networks(TINY)), tmp_path / "model", card="")
        return tmp_path / "model"

    def change(self, model, **changes) -> None:
        path = model / "config.json"
        values = json.loads(path.read_text(encoding="utf-8"))
        values["network"] |= changes
        path.write_text(json.dumps(values), encoding="utf-8")

    @pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
    def test_a_missing_file(self, model, file):
        (model / file).unlink()
        with pytest.raises(UserError, match="no config.json|weights are missing"):
            load_model(model)

    @pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
    @pytest.mark.parametrize("share", [0, 0.3, 0.99])
    def test_a_truncated_file(self, model, file, share):
        whole = (model / file).read_bytes()
        (model / file).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UserError, match="damaged|cannot be read"):
            load_model(model)

    def test_a_newer_format(self, model):
        text = (model / "config.json").read_text(encoding="utf-8")
        newer = text.replace(f'"format": {MODEL_FORMAT}', f'"format": {MODEL_FORMAT + 1}')
        (model / "config.json").write_text(newer, encoding="utf-8")
        with pytest.raises(UserError, match=f"format {MODEL_FORMAT + 1}"):
            load_model(model)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            (dict(style_size=7), "weights do not fit config.json: .* of another shape"),
            (dict(decoder_blocks=2), "missing .generator.decoder.2"),
            (dict(encoder_blocks=0), "unknown .generator"),
            (dict(widths=[4096, 4096]), "of another shape"),
            (dict(generator="swim-unet"), "no generator named 'swim-unet'"),
            (dict(generator=None), "generator must be a str"),
            (dict(image_size=None), "image_size must be a int"),
            (dict(widths=[[4], 8]), "widths must be a list of int"),
            (dict(image_sise=64), "unknown option 'image_sise'"),
            (dict(style_size=10**30), "style_size is 1000"),
        ],
    )
    def test_a_configuration_of_other_networks(self, model, changes, words):
        self.change(model, **changes)
        with pytest.raises(UserError, match=words):
            load_model(model)

    def test_nested_beyond_measure(self, model):
        (model / "config.json").write_text("[" * 200_000, encoding="utf-8")
        with pytest.raises(UserError, match="damaged"):
            load_model(model)
