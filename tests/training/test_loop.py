"""Whole runs on drawn faces: what they leave behind, that they learn, and their single steps."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import checkpoints, equal_lines, log_lines, tensors_of, tiny_config
from torch import Tensor

from facemeld.config import LossWeights, TrainingConfig, from_dict, read_toml
from facemeld.config.recipe_options import is_ignored
from facemeld.data.catalogue import find_weights
from facemeld.data.folders import scan_domains
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.images import is_marked_synthetic
from facemeld.networks.bundle import Networks, load_model
from facemeld.training.loop import _Run, train
from facemeld.training.optimizers import set_learning_rates
from facemeld.training.processes import Team

# -- what a run leaves behind -----------------------------------------------------------------


def test_a_run_folder_has_all_its_parts(finished: Path, recipe_name: str, faces: Path) -> None:
    assert {p.name.split(".tfevents")[0] for p in finished.iterdir()} == {
        "config.toml", "log.jsonl", "events.out", "samples", "checkpoints", "model", ".cache",
    }  # fmt: skip
    assert [p.name for p in sorted((finished / "samples").iterdir())] == [
        "pictures-000000000024.jpg",
        "pictures-000000000048.jpg",
    ]
    assert [p.name for p in checkpoints(finished)] == [
        "pictures-000000000024.safetensors",
        "pictures-000000000048.safetensors",
    ]
    # the projected parts carry ImageNet weights, and with them their licence; their discriminator
    # is small enough to be kept
    recipe = tiny_config(recipe_name).recipe
    more = {"LICENSE-efficientnet-lite0.txt", "discriminator.safetensors"}
    more = more if recipe == "lean" else set()
    assert {p.name for p in (finished / "model").iterdir()} == {
        "config.json", "model.safetensors", "README.md", "samples.jpg", *more,
    }  # fmt: skip
    card = (finished / "model" / "README.md").read_text()
    assert "| cat | 8 |" in card and "| dog | 5 |" in card and f"`{recipe}`" in card

    described = finished / "config.toml"
    config = from_dict(TrainingConfig, read_toml(described), where=str(described))
    asked = tiny_config(recipe_name, faces)
    network = dataclasses.replace(asked.network, domains=("cat", "dog"))
    assert config == dataclasses.replace(asked, network=network).resolved()


def test_sample_sheets_show_sources_references_and_latent_styles(finished: Path) -> None:
    for name in ("samples/pictures-000000000024.jpg", "model/samples.jpg"):
        path = finished / name
        assert is_marked_synthetic(path)
        with Image.open(path) as sheet:
            # a column of sources, two references and two latent codes a domain
            width = 9 * 16 + 8 * 2
            assert sheet.width == width and sheet.height >= 5 * 16 + 4 * 2


def test_the_log_has_a_line_an_interval(finished: Path, recipe_name: str) -> None:
    lines = log_lines(finished)
    assert [line["pictures"] for line in lines] == list(range(8, 49, 8))
    for line in lines:
        assert line["pictures_per_second"] > 0 and line["peak_memory_mb"] > 50
        assert all(math.isfinite(value) for value in line.values())
    if recipe_name == "fast":
        assert {name.split("/")[1] for line in lines for name in line if "/cycle" in name} == {
            "latent",
            "reference",
        }
        penalised = [any(name.endswith("/r1") for name in line) for line in lines]
        assert penalised == [True, False] * 3
    elif recipe_name == "starganv2":
        assert {
            f"{network}/{mode}/{loss}"
            for mode in ("latent", "reference")
            for network, loss in (("discriminator", "r1"), ("generator", "cycle"))
        } < lines[0].keys()
    else:
        assert "generator/warmup/reconstruction" in lines[0]
        assert "discriminator/real" not in lines[0]
        modes = {name.split("/")[1] for line in lines for name in line if "/cycle" in name}
        assert modes == {"latent", "reference"}


def test_the_model_is_the_moving_average(finished: Path) -> None:
    model = load_model(finished / "model")
    saved = tensors_of(finished)
    average = {n.removeprefix("ema."): t for n, t in saved.items() if n.startswith("ema.")}
    assert model.state_dict().keys() == average.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, average[name]), name
    trained = [n for n, p in Networks(model.config).named_parameters() if p.requires_grad]
    assert any(not torch.equal(saved[f"networks.{n}"], average[n]) for n in trained)


def test_the_model_fuses(finished: Path, faces: Path) -> None:
    pipe = FusionPipeline.from_pretrained(finished / "model")
    result = pipe(faces / "cat/00.png", faces / "dog/00.png", domain="dog")
    assert pipe.domains == ("cat", "dog") and result.images[0].size == (16, 16)


# -- learning ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe_name", "loss", "changes"),
    [
        ("lean", "generator/warmup/reconstruction", dict(warmup_pictures=10**6)),
        ("starganv2", "generator/latent/cycle", {}),
        ("fast", "generator/latent/cycle", dict(branches="both")),
    ],
)
def test_a_run_learns_to_keep_its_sources(
    faces: Path, tmp_path: Path, recipe_name: str, loss: str, changes: dict
) -> None:
    config = tiny_config(
        recipe_name,
        faces,
        pictures=480,
        batch_size=16,
        learning_rate=4e-3,
        log_every=48,
        sample_every=10**6,
        checkpoint_every=10**6,
        **changes,
    )
    train(config, tmp_path / "run")
    values = [line[loss] for line in log_lines(tmp_path / "run")]
    assert np.mean(values[-3:]) < 0.6 * values[0], values


# -- one iteration ----------------------------------------------------------------------------


@pytest.fixture
def run(recipe_name: str, faces: Path, tmp_path: Path) -> _Run:
    return new_run(tiny_config(recipe_name, faces, warmup_pictures=0), tmp_path)


def new_run(config: TrainingConfig, out: Path) -> _Run:
    folders = scan_domains(config.data)
    network = dataclasses.replace(config.network, domains=folders.domains)
    config = dataclasses.replace(config, network=network).resolved()
    needed = config.recipe == "lean" or config.network.style_encoder == "projected"
    features = find_weights("efficientnet-lite0") if needed else None
    return _Run(Team(), config, folders, out, features, None)


def test_each_phase_changes_exactly_the_networks_that_it_names(run: _Run) -> None:
    recipe = run._recipe(discriminator_started=False)
    for loss, trained in recipe.step(run.sampler.batch(0), run._weights(), 0, {}):
        parameters = {
            f"{module}/{name}": parameter
            for module, network in run.modules.items()
            for name, parameter in network.named_parameters()
        }
        before = {name: p.detach().clone() for name, p in parameters.items()}
        run._train([loss], trained)
        changed = {n.split("/")[0] for n, p in parameters.items() if not torch.equal(before[n], p)}
        assert changed == set(trained)
    frozen = {n for n, p in parameters.items() if not p.requires_grad}
    assert all("features" in name or "projections" in name for name in frozen)


def test_a_recipe_reads_the_weights_that_the_table_gives_it(run: _Run) -> None:
    class Watched(LossWeights):
        def __getattribute__(self, name: str):
            if name in names:
                read.add(name)
            return super().__getattribute__(name)

    names = {f.name for f in dataclasses.fields(LossWeights)}
    own = {n for n in names if not is_ignored(f"weights.{n}", run.config.recipe)}
    asked = dict.fromkeys(own, 1.0)
    if run.reader is None:  # this run did not ask for the points of faces at its start
        asked |= {"landmarks": 0.0}
    if run.guide is None:
        asked |= {"guide": 0.0}
    read, modes = set[str](), set[bool]()
    recipe, weights = run._recipe(discriminator_started=False), Watched(**asked)
    for iteration in range(8):
        batch = run.sampler.batch(iteration)
        modes.add(batch.from_latents)
        for _ in recipe.step(batch, weights, iteration, {}):
            pass
    assert len(modes) == 2 or run.config.recipe == "starganv2"
    assert read == own


def test_each_phase_sees_what_the_phases_before_it_learned(
    recipe_name: str, faces: Path, tmp_path: Path
) -> None:
    # autocast keeps bf16 copies of weights; with steps this large a stale copy shows
    numbers: dict[bool, dict[str, Tensor]] = {True: {}, False: {}}
    for keeps_copies, found in numbers.items():
        config = tiny_config(
            recipe_name, faces, precision="bf16", learning_rate=0.03, warmup_pictures=0
        )
        run = new_run(config, tmp_path)
        phases = run._recipe(discriminator_started=False).step(
            run.sampler.batch(0), run._weights(), 0, found
        )
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=keeps_copies):
            for loss, trained in phases:
                run._train([loss], trained)
    for name, fresh in numbers[False].items():
        assert torch.equal(numbers[True][name], fresh), name


@pytest.mark.parametrize("style_encoder", ["resnet", "projected"])
def test_the_masks_reach_the_recipe(style_encoder: str, faces: Path, tmp_path: Path) -> None:
    config = tiny_config("starganv2", faces)
    network = dataclasses.replace(
        config.network, style_encoder=style_encoder, unit_styles=style_encoder == "projected"
    )
    run = new_run(dataclasses.replace(config, network=network), tmp_path)
    run.masker = torch.ones_like
    assert run._recipe(False).masker is run.masker


def test_the_schedules_follow_the_clock(recipe_name: str, faces: Path) -> None:
    run = new_run(
        tiny_config(recipe_name, faces, pictures=800, diversity_until=0.5, decay_from=0.5), faces
    )
    config, rates, diversity, cycle = run.config, [], [], []
    for run.iteration in (0, 25, 50, 75, 100):  # pictures 0, 200, 400, 600, 800
        set_learning_rates(run.optimizers, config, run.pictures)
        rates.append(run.optimizers["generator"].param_groups[0]["lr"])
        mapping = run.optimizers["mapping_network"].param_groups[0]["lr"]
        ratio = config.mapping_learning_rate / config.learning_rate
        assert mapping == pytest.approx(rates[-1] * ratio)
        diversity.append(run._weights().diversity)
        cycle.append(run._weights().cycle)
    assert rates == pytest.approx([config.learning_rate * f for f in (1, 1, 1, 0.5, 0)])
    assert diversity == pytest.approx([1, 0.5, 0, 0, 0])
    early, late = config.weights.cycle, config.late_weights.cycle
    assert cycle == [early, early, early, late, late]


# -- several processes ------------------------------------------------------------------------


def test_two_processes_train_the_same_model(faces: Path, tmp_path: Path) -> None:
    # test_ranks.py compares whole states, in double precision. Here, products over batches of
    # another size round differently, and Adam makes whole steps of what was rounding; so what is
    # compared are the losses before and after the first steps. Processes that kept their own
    # gradients would part by .07.
    config = tiny_config("lean", faces, pictures=16, beta1=0.5, gradient_clip=0.0)
    train(config, tmp_path / "one")
    train(dataclasses.replace(config, processes=2), tmp_path / "two")
    one, two = equal_lines(tmp_path / "one"), equal_lines(tmp_path / "two")
    assert [line.keys() for line in one] == [line.keys() for line in two] and len(one) == 2
    for mine, theirs in zip(one, two):
        gaps = {k: abs(mine[k] - theirs[k]) for k in mine}
        assert max(gaps.values()) < 5e-3, gaps
