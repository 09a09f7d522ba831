"""Fine-tuning: what a run takes over from a model, and what it refuses."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from drawn_faces import write_faces
from tiny_runs import checkpoints, tensors_of, tiny_config
from torch import Tensor

from facemeld.cli.train import _training_config
from facemeld.config import TrainingConfig, preset, write_toml
from facemeld.errors import UserError
from facemeld.networks.bundle import load_model
from facemeld.networks.model_folder import find_model, read_network_config
from facemeld.networks.transfer import take_over
from facemeld.training.checkpoint import load
from facemeld.training.loop import train

HEADS = {
    "style_encoder.heads.weight": 3,
    "style_encoder.heads.bias": 3,
    "mapping_network.heads.1.weight": 3,
    "mapping_network.heads.0.bias": 3,
}


@pytest.fixture(scope="module")
def other_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new domain before and between the known one: bird, dog and fish, and no cat."""
    root = tmp_path_factory.mktemp("other")
    return write_faces(root / "pictures", {"bird": 3, "dog": 4, "fish": 3})


def first_state(config: TrainingConfig, run: Path) -> dict[str, Tensor]:
    """The weights before anything was learned: learning rates of zero leave them as they are."""
    still = dataclasses.replace(
        config, learning_rate=0.0, mapping_learning_rate=0.0, weight_decay=0.0, pictures=8
    )
    train(still, run)
    return tensors_of(run)


def test_everything_is_taken_over_and_heads_by_name(
    finished: Path, recipe_name: str, other_faces: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    config = tiny_config(recipe_name, other_faces)
    model = load_model(finished / "model").state_dict()  # of cat, dog
    fresh = first_state(config, tmp_path / "fresh")
    config = dataclasses.replace(config, init=str(finished / "model"))
    tuned = first_state(config, tmp_path / "tuned")
    told = capsys.readouterr().err
    assert "domains kept dog; new bird, fish; left out cat; with its discriminator" in told

    for name, count in HEADS.items():
        mine = tuned[f"networks.{name}"].unflatten(0, (count, -1))
        theirs = model[name].unflatten(0, (2, -1))
        new = fresh[f"networks.{name}"].unflatten(0, (count, -1))
        assert torch.equal(mine[1], theirs[1]), name
        assert torch.equal(mine[0], new[0]) and torch.equal(mine[2], new[2]), name
        assert not torch.equal(mine[1], new[1]) or "bias" in name, name
    for name, tensor in model.items():
        # what is known of the domains is fitted to the new pictures
        if "heads" not in name and not name.startswith("style_encoder.domain_"):
            assert torch.equal(tuned[f"networks.{name}"], tensor), name
            assert torch.equal(tuned[f"ema.{name}"], tensor), name

    discriminator, _ = load(checkpoints(finished)[-1])
    (last,) = [n for n in tuned if n.startswith("discriminator.heads") and "bias" in n][-1:]
    assert torch.equal(tuned[last].unflatten(0, (3, -1))[1], discriminator[last][1:])


def test_a_model_folder_brings_its_discriminator_in_half_precision(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config("lean", faces, pictures=16)
    trained = train(config, tmp_path / "first")
    kept = load(checkpoints(tmp_path / "first")[-1], part="discriminator")[0]
    moved = shutil.copytree(trained, tmp_path / "alone")  # no checkpoints beside it
    first_state(dataclasses.replace(config, init=str(moved)), tmp_path / "second")
    assert "with its discriminator" in capsys.readouterr().err
    start = load(checkpoints(tmp_path / "second")[-1], part="discriminator")[0]
    for name, tensor in kept.items():
        if not name.endswith(("_u", "_v")):  # the power iteration goes on
            assert torch.equal(start[name], tensor.half().float()), name

    (moved / "discriminator.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="weights cannot be read"):
        train(dataclasses.replace(config, init=str(moved)), tmp_path / "third")
    assert not (tmp_path / "third").exists()
    (moved / "discriminator.safetensors").unlink()
    first_state(dataclasses.replace(config, init=str(moved)), tmp_path / "fourth")
    assert "with a new discriminator" in capsys.readouterr().err


def test_a_fine_tuned_run_resumes_without_its_model(
    finished: Path, recipe_name: str, other_faces: Path, tmp_path: Path
) -> None:
    config = tiny_config(recipe_name, other_faces, init=str(finished / "model"), pictures=24)
    train(config, tmp_path / "whole")
    expected = tensors_of(tmp_path / "whole")
    again = dataclasses.replace(config, checkpoint_every=8)
    train(again, tmp_path / "cut")
    for late in checkpoints(tmp_path / "cut")[1:]:
        late.unlink()
    moved = (finished / "model").rename(finished / "gone")
    try:
        train(again, tmp_path / "cut")
    finally:
        moved.rename(finished / "model")
    mine = tensors_of(tmp_path / "cut")
    assert all(torch.equal(mine[name], expected[name]) for name in expected)
    assert "Fine-tuned from `model`" in (tmp_path / "cut" / "model" / "README.md").read_text()


def test_a_generator_grows_from_one_of_half_the_size(
    finished: Path, recipe_name: str, faces: Path, tmp_path: Path
) -> None:
    config = tiny_config(recipe_name, faces, init=str(finished / "model"))
    size, widths = config.network.image_size, config.network.widths
    network = dataclasses.replace(config.network, image_size=2 * size, widths=(4, *widths))
    config = dataclasses.replace(config, network=network)
    if network.generator == "projected":  # its features have no new resolution
        with pytest.raises(UserError, match="does not fit .* generator"):
            train(config, tmp_path / "run")
        return
    if network.style_encoder == "resnet":  # it has a layer for each resolution
        network = dataclasses.replace(
            network, style_encoder_widths=(8, 8, 8, 8), discriminator_widths=(8, 8, 8, 8)
        )
        with pytest.raises(UserError, match="does not fit .* style_encoder"):
            train(dataclasses.replace(config, network=network), tmp_path / "run")
        return
    small = load_model(finished / "model").state_dict()
    large = first_state(config, tmp_path / "run")
    last = max(int(n.split(".")[2]) for n in small if n.startswith("generator.decoder."))
    assert f"networks.generator.decoder.{last + 1}.conv1.weight" in large
    names = {
        "generator.encoder.0.conv1.weight": "generator.encoder.1.conv1.weight",
        f"generator.decoder.{last}.conv2.weight": f"generator.decoder.{last}.conv2.weight",
        "mapping_network.shared.0.weight": "mapping_network.shared.0.weight",
    }
    for theirs, mine in names.items():
        assert torch.equal(large[f"networks.{mine}"], small[theirs]), mine
    assert large["networks.generator.from_rgb.weight"].shape[0] == 4

    config = dataclasses.replace(config, pictures=24, warmup_pictures=8, outermost_pictures=16)
    for pictures in (8, 16, 24):  # in the warm-up, after it, and once all layers learn
        train(dataclasses.replace(config, pictures=pictures), tmp_path / "grown")
        state = tensors_of(tmp_path / "grown")
        outermost = load_model(tmp_path / "grown" / "model").generator.outermost
        starts = tuple(f"networks.generator.{name}" for name in outermost)
        mine = [n for n in large if n.startswith("networks.")]
        learned = [n for n in mine if not torch.equal(large[n], state[n])]
        assert any(n.startswith(starts) for n in learned)
        assert all(n.startswith(starts) for n in learned) == (pictures <= 16)


def test_a_model_that_does_not_fit_is_refused_with_all_that_differs(
    finished: Path, recipe_name: str, faces: Path, tmp_path: Path
) -> None:
    config = tiny_config(recipe_name, faces, init=str(finished / "model"))
    wider = dataclasses.replace(config.network, widths=(12, 16), mapping_width=20)
    with pytest.raises(UserError, match="does not fit") as caught:
        train(dataclasses.replace(config, network=wider), tmp_path / "run")
    layer = "skips.16" if recipe_name == "lean, projected" else "from_rgb"
    assert f"{layer}.weight (8 x " in caught.value.what
    assert " there, 12 x " in caught.value.what
    assert "mapping_network: " in caught.value.what
    assert "widths (model [8, 16], run [12, 16])" in caught.value.fix
    assert "mapping_width (model 16, run 20)" in caught.value.fix
    assert not (tmp_path / "run").exists()


def test_a_missing_model_is_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model"):
        train(tiny_config("starganv2", faces, init=str(tmp_path / "none")), tmp_path / "run")


def test_nothing_is_copied_unless_all_fits() -> None:
    module = torch.nn.Linear(2, 2)
    before = module.weight.clone()
    weights = {"weight": torch.zeros(2, 2), "bias": torch.zeros(3), "more": torch.zeros(())}
    assert take_over(weights, module, ("a",), ("a",)) == (
        "bias (3 there, 2 here), more (a number there, absent here)"
    )
    assert torch.equal(module.weight, before)


# -- options ----------------------------------------------------------------------------------


def test_the_models_network_options_hold_unless_given() -> None:
    config = _training_config("smoke", None, {"init": "faces", "network.discriminator": "resnet"})
    model = read_network_config(find_model("faces"))
    assert config.init == "faces" and config.batch_size == preset("smoke").batch_size
    assert config.network == dataclasses.replace(model, discriminator="resnet")


def test_a_run_that_goes_on_has_the_networks_that_it_began_with(tmp_path: Path) -> None:
    given = {"init": str(tmp_path / "gone"), "network.style_size": 24}
    for _ in range(2):  # there is nothing, and then a run that wrote no checkpoint yet
        with pytest.raises(UserError, match="no such model"):
            _training_config("smoke", None, given, tmp_path)
        began = dataclasses.replace(tiny_config("starganv2"), init=given["init"]).resolved()
        write_toml(began, tmp_path / "config.toml")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "pictures-000000000008.safetensors").touch()
    config = _training_config("smoke", None, given, tmp_path)
    assert config.network == dataclasses.replace(began.network, style_size=24)


def test_late_weights_begin_as_the_others() -> None:
    given = {"late_weights.cycle": 5.0, "weights.style": 3.0}
    config = _training_config("starganv2", None, given)
    assert config.late_weights == dataclasses.replace(config.weights, cycle=5.0)
    assert config.late_weights.style == 3.0
    with pytest.raises(UserError, match="late_weights.cycel"):
        _training_config("starganv2", None, {"late_weights.cycel": 5.0})
