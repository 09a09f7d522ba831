"""Import of official StarGAN v2 checkpoints: equal numbers, and clear words about wrong files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import official_layout
import pytest
import torch
from torch import Tensor

from facemeld.errors import UserError
from facemeld.export.stargan_v2 import import_stargan_v2
from facemeld.networks.bundle import load_model

DATA = Path(__file__).parent / "data"
NARROW = dict(max_width=32, style_size=8, latent_size=4)  # at 512 px the first width is 32


def save(checkpoint: object, path: Path, **options) -> Path:
    torch.save(checkpoint, path, **options)
    return path


def narrow(*, domains: int = 2, **options) -> dict[str, dict[str, Tensor]]:
    return official_layout.checkpoint(image_size=512, domains=domains, **NARROW, **options)


@pytest.mark.parametrize(("w_hpf", "domains"), [(0, 3), (1, 2)])
def test_agrees_with_what_the_official_code_computed(tmp_path, w_hpf, domains):
    sizes = dict(image_size=64, domains=domains, max_width=256)
    made = official_layout.checkpoint(w_hpf=w_hpf, **sizes)
    path = save(made, tmp_path / "100000_nets_ema.ckpt")
    networks = import_stargan_v2(path, tmp_path / "model")
    given = official_layout.inputs(64, domains)
    expected = dict(np.load(DATA / f"official_64px_hpf{w_hpf}_domains{domains}.npz"))
    with torch.inference_mode():
        found = {
            "encoded_styles": networks.style_encoder(given["references"], given["domains"]),
            "mapped_styles": networks.mapping_network(given["latents"], given["domains"]),
        }
        for name, kind in (("reference", "encoded_styles"), ("latent", "mapped_styles")):
            styles = torch.from_numpy(expected[kind])
            found[f"{name}_pictures"] = networks.generator(given["sources"], styles)
            if w_hpf:
                pictures = networks.generator(given["sources"], styles, given["masks"])
                found[f"{name}_pictures_masks"] = pictures
    assert set(found) == set(expected)
    for name, values in found.items():
        values = values[..., ::4, ::4] if values.dim() == 4 else values
        assert np.abs(values.numpy() - expected[name]).max() < 1e-4, name
        assert np.abs(expected[name]).max() > 1, "the comparison must be about something"


@pytest.mark.parametrize(
    ("image_size", "w_hpf"), [(64, 0), (128, 0.3), (256, 0), (256, 2), (512, 0), (512, 1)]
)
def test_reads_the_configuration_off_the_weights(tmp_path, image_size, w_hpf):
    first = 2**14 // image_size
    sizes = dict(image_size=image_size, domains=5, style_size=8, latent_size=4)
    made = official_layout.checkpoint(w_hpf=w_hpf, max_width=first, **sizes)
    path = save(made, tmp_path / "a.ckpt")
    config = import_stargan_v2(path, tmp_path / "model").config
    halvings = {64: 2, 128: 3, 256: 4, 512: 5}[image_size] + (w_hpf > 0)
    assert config.image_size == image_size
    assert config.widths == (first,) * (halvings + 1)
    assert config.style_encoder_widths == (first,) * (image_size.bit_length() - 2)
    assert config.skips == ("masked" if w_hpf else "none")
    assert config.high_pass_divisor == (w_hpf or 1)
    assert (config.style_size, config.latent_size, config.mapping_width) == (8, 4, 512)
    assert (config.mapping_shared_layers, config.mapping_domain_layers) == (4, 4)
    assert config.domains == tuple(f"domain_{index}" for index in range(5))


def test_every_age_of_file_gives_the_same_networks(tmp_path):
    plain = import_stargan_v2(save(narrow(w_hpf=1), tmp_path / "new.ckpt"), tmp_path / "new")
    variants = {
        "prefixed": save(narrow(w_hpf=1, prefix="module."), tmp_path / "prefixed.ckpt"),
        "with landmark network": save(
            narrow(w_hpf=1) | {"fan": {"conv1.conv.weight": torch.zeros(3)}}, tmp_path / "fan.ckpt"
        ),
        "no filter": save(narrow(w_hpf=1, store_filter=False), tmp_path / "early.ckpt"),
        "before zip": save(
            narrow(w_hpf=1), tmp_path / "old.ckpt", _use_new_zipfile_serialization=False
        ),
    }
    for name, path in variants.items():
        networks = import_stargan_v2(path, tmp_path / name)
        assert networks.config == plain.config, name
        for key, tensor in networks.state_dict().items():
            assert torch.equal(tensor, plain.state_dict()[key]), (name, key)


def test_the_folder_is_a_model_with_an_honest_card(tmp_path):
    path = save(narrow(w_hpf=0.5), tmp_path / "100000_nets_ema.ckpt")
    notes: list[str] = []
    out = tmp_path / "deep" / "model"
    networks = import_stargan_v2(path, out, on_note=notes.append)
    assert sorted(f.name for f in out.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    loaded = load_model(out)
    assert loaded.config == networks.config
    card = (out / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(path.read_bytes()).hexdigest() in card
    for fact in ("100000_nets_ema.ckpt", "Attribution-NonCommercial 4.0", "512 px", "w_hpf = 0.5"):
        assert fact in card
    assert len(notes) == 2 and all(note in card for note in notes)
    assert "names of its domains" in notes[0] and "masks" in notes[1]


def test_notes_say_what_was_assumed(tmp_path):
    early = save(narrow(w_hpf=1, store_filter=False), tmp_path / "early.ckpt")
    notes: list[str] = []
    import_stargan_v2(early, tmp_path / "a", domains=["female", "male"], on_note=notes.append)
    assert len(notes) == 2 and "1, the official default, is assumed" in notes[1]
    notes.clear()
    told = import_stargan_v2(
        early, tmp_path / "b", domains=["female", "male"], w_hpf=2, on_note=notes.append
    )
    assert told.config.domains == ("female", "male") and told.config.high_pass_divisor == 2
    assert len(notes) == 1


def test_training_weights_are_taken_with_a_note(tmp_path):
    made = narrow() | {"discriminator": {"main.0.weight": torch.zeros(1)}}
    notes: list[str] = []
    path = save(made, tmp_path / "100000_nets.ckpt")
    import_stargan_v2(path, tmp_path / "model", domains=["a", "b"], on_note=notes.append)
    assert len(notes) == 1 and "moving average" in notes[0]


def test_the_order_of_domains_is_kept(tmp_path):
    made = narrow(domains=3)
    networks = import_stargan_v2(
        save(made, tmp_path / "a.ckpt"), tmp_path / "model", domains=["cat", "dog", "wild"]
    )
    latents = official_layout.normal("latent", (1, 4))
    features = latents
    for layer in (0, 2, 4, 6):
        weights = made["mapping_network"]
        matrix, bias = weights[f"shared.{layer}.weight"], weights[f"shared.{layer}.bias"]
        features = torch.relu(features @ matrix.T + bias)
    for domain in range(3):
        style = features
        for layer in (0, 2, 4, 6):
            name = f"unshared.{domain}.{layer}"
            style = style @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
            style = torch.relu(style) if layer < 6 else style
        found = networks.mapping_network(latents, torch.tensor([domain]))
        assert (found - style).abs().max() < 1e-5


def remove(part: str, name: str):
    return lambda made: made[part].pop(name)


def put(part: str, name: str, values: Tensor):
    return lambda made: made[part].__setitem__(name, values)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda made: made.pop("style_encoder"), "no style_encoder in it; it holds generator"),
        (lambda made: made.update(generator=torch.zeros(1)), "generator is not a dict of tensors"),
        (remove("generator", "from_rgb.weight"), "generator.from_rgb.weight is missing"),
        (remove("generator", "from_rgb.bias"), r"1 missing \(generator.from_rgb.bias\)"),
        (remove("generator", "encode.3.conv1.weight"), "has 3 encoder blocks, but 7 .* or 8"),
        (remove("style_encoder", "unshared.1.bias"), "missing .style_encoder.unshared.1.bias"),
        (remove("style_encoder", "shared.7.conv1.weight"), "512 px, the style encoder for 256 px"),
        (remove("mapping_network", "unshared.0.0.weight"), "unshared.0.0.weight is missing"),
        (remove("mapping_network", "unshared.1.0.weight"), "unknown .mapping_network.unshared.1"),
        (put("generator", "from_rgb.weight", torch.zeros(48, 3, 3, 3)), "has 48 channels"),
        (put("generator", "from_rgb.bias", torch.zeros(31)), r"\(31,\) instead of \(32,\)"),
        (put("generator", "attention.weight", torch.zeros(4)), "1 unknown .generator.attention"),
        (put("generator", "\x1b[31mred", torch.zeros(4)), r"generator.\\x1b\[31mred"),
        (put("generator", "from_rgb.bias", torch.full((32,), torch.nan)), "not finite"),
        (put("generator", "from_rgb.bias", torch.zeros(32).int()), "not a plain tensor"),
        (put("generator", "hpf.filter", torch.ones(3, 3)), "1 unknown .generator.hpf.filter"),
    ],
)
def test_wrong_weights_are_named(tmp_path, spoil, words):
    made = narrow()
    spoil(made)
    with pytest.raises(UserError, match=words) as raised:
        import_stargan_v2(save(made, tmp_path / "a.ckpt"), tmp_path / "model")
    assert raised.value.where == str(tmp_path / "a.ckpt") and raised.value.fix
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "values", [torch.ones(3, 3), torch.zeros(3, 3), torch.ones(2), torch.full((3, 3), torch.nan)]
)
def test_a_filter_that_is_no_laplacian(tmp_path, values):
    made = narrow(w_hpf=1)
    made["generator"]["hpf.filter"] = values
    with pytest.raises(UserError, match="not a 3 x 3 Laplacian"):
        import_stargan_v2(save(made, tmp_path / "a.ckpt"), tmp_path / "model")


@pytest.mark.parametrize(
    ("made_with", "told", "words"),
    [(0.5, 1, "trained with 0.5"), (0, 1, "layers of w_hpf = 0"), (None, -1, "must be above 0")],
)
def test_an_impossible_w_hpf(tmp_path, made_with, told, words):
    made = narrow(w_hpf=1 if made_with is None else made_with, store_filter=made_with is not None)
    with pytest.raises(UserError, match=words):
        import_stargan_v2(save(made, tmp_path / "a.ckpt"), tmp_path / "model", w_hpf=told)


@pytest.mark.parametrize("names", [["cat"], ["cat", "cat"], ["cat", ""], ["a", "b", "c"], []])
def test_names_that_do_not_fit(tmp_path, names):
    path = save(narrow(), tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="has 2 domains"):
        import_stargan_v2(path, tmp_path / "model", domains=names)


def test_optimiser_states_are_recognised(tmp_path):
    made = narrow()
    optimisers = {part: {"state": {}, "param_groups": []} for part in made}
    with pytest.raises(UserError, match="state of the optimisers"):
        import_stargan_v2(save(optimisers, tmp_path / "100000_optims.ckpt"), tmp_path / "model")


def test_nothing_is_overwritten(tmp_path):
    path = save(narrow(), tmp_path / "a.ckpt")
    used = tmp_path / "used"
    used.mkdir()
    (used / "diary.txt").write_text("mine")
    for out in (used, used / "diary.txt"):
        with pytest.raises(UserError, match="exists already") as raised:
            import_stargan_v2(path, out)
        assert "new or empty folder" in raised.value.fix
    assert (used / "diary.txt").read_text() == "mine" and len(list(used.iterdir())) == 1


def test_a_model_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    path = save(narrow(), tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="cannot (be read|write)"):
        import_stargan_v2(path, path / "model")
    assert path.is_file()
