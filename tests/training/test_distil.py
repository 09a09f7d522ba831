"""Distilling: the step, what a student learns, and how its run is resumed.

The teachers are untrained, which makes no difference to a student that has to imitate them.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny_models import untrained
from tiny_runs import checkpoints, log_lines, tensors_of

from facemeld.config import LossWeights, TrainingConfig, distillation
from facemeld.data.folders import of_domains
from facemeld.data.sampling import Batch, BatchSampler
from facemeld.data.store import PictureStore, load_pictures
from facemeld.errors import UserError
from facemeld.evaluation.distilled import MODES, Pair, imitation
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.networks.bundle import Networks, build_discriminator, load_model, save_model
from facemeld.networks.model_folder import bundled_models, read_network_config
from facemeld.networks.student import student_network
from facemeld.training.distil import DistilRecipe
from facemeld.training.loop import train
from facemeld.training.losses import feature_distance

WEIGHTS = LossWeights(adversarial=0.3, pixels=2.0, features=0.7)


@pytest.fixture(scope="module")
def store(faces: Path) -> PictureStore:
    return load_pictures(of_domains(faces, ("cat", "dog")), 16)


@pytest.fixture
def recipe(projected_model: Path) -> DistilRecipe:
    torch.manual_seed(0)
    teacher = load_model(projected_model)
    config = tiny(projected_model, "", warmup_pictures=4)
    student = Networks(config.network)
    student.style_encoder, student.mapping_network = teacher.style_encoder, teacher.mapping_network
    judge = build_discriminator(config.network).eval()  # its power iterations stand still
    return DistilRecipe(config, student, teacher.generator, judge, teacher.style_encoder.features)


def tiny(teacher: Path, data: Path | str, **changes) -> TrainingConfig:
    """A run of six iterations; checkpoints in the middle and at the end."""
    student = student_network(read_network_config(teacher))
    options = dict(pictures=24, batch_size=4, processes=1, precision="fp32", warmup_pictures=8)
    options |= dict(log_every=4, sample_every=24, checkpoint_every=12, data=str(data)) | changes
    return dataclasses.replace(distillation(str(teacher), student), **options)


def batch_of(store: PictureStore, *, from_latents: bool) -> Batch:
    batch = BatchSampler(store, sources=4, latent_size=4, seed=0).batch(0)
    return dataclasses.replace(batch, from_latents=from_latents)


# -- the step ---------------------------------------------------------------------------------


@pytest.mark.parametrize("from_latents", [False, True])
def test_the_losses_compare_with_the_teacher(
    recipe: DistilRecipe, store: PictureStore, from_latents: bool
) -> None:
    batch, numbers = batch_of(store, from_latents=from_latents), {}
    phases = list(recipe.step(batch, WEIGHTS, 1, numbers))
    assert [trained for _, trained in phases] == [("discriminator",), ("generator",)]

    networks, targets = recipe.networks, batch.targets
    ways = (2 * batch.uniform[:, 0, 0] - 1).clamp(min=0)
    parts = {"pixels": [], "features": [], "adversarial": [], "real": [], "fake": []}
    for i in range(4):  # one source after the other, each style by itself
        target = targets[i : i + 1]
        two = slice(2 * i, 2 * i + 2)
        if from_latents:
            given = networks.mapping_network(batch.latents[two], target.repeat(2))
        else:
            given = networks.style_encoder(batch.references[two], target.repeat(2))
        domain = batch.source_domains[i : i + 1]
        own = networks.style_encoder(batch.sources[i : i + 1], domain)
        between = own + ways[i] * (given[:1] - own)
        domains = [target, target, domain if ways[i] < 0.5 else target]
        for style, label in zip((given[:1], given[1:], between), domains):
            source = batch.sources[i : i + 1]
            wanted, fake = recipe.teacher(source, style), networks.generator(source, style)
            theirs, mine = recipe.features(wanted), recipe.features(fake)
            parts["pixels"].append(F.l1_loss(fake, wanted))
            gaps = [(m - t).abs().mean() / t.std() for m, t in zip(mine, theirs)]
            parts["features"].append(torch.stack(gaps).mean())
            parts["adversarial"].append(-recipe.discriminator(mine, label).mean())
            parts["real"].append(F.relu(1 - recipe.discriminator(theirs, label)).mean())
            parts["fake"].append(F.relu(1 + recipe.discriminator(mine, label)).mean())
    means = {name: torch.stack(values).mean() for name, values in parts.items()}
    told = {name.rpartition("/")[2]: value for name, value in numbers.items()}
    assert told.keys() == means.keys()
    for name, value in means.items():
        torch.testing.assert_close(told[name], value.detach(), rtol=2e-3, atol=1e-4)
    total = sum(getattr(WEIGHTS, n) * told[n] for n in ("pixels", "features", "adversarial"))
    torch.testing.assert_close(phases[1][0].detach(), total)


def test_only_the_student_learns_and_later_the_discriminator(
    recipe: DistilRecipe, store: PictureStore
) -> None:
    batch = batch_of(store, from_latents=False)
    ((loss, trained),) = recipe.step(batch, WEIGHTS, 0, {})  # still without a discriminator
    assert trained == ("generator",)
    loss.backward()
    assert all(p.grad is not None for p in recipe.networks.generator.parameters())
    others = [recipe.networks.style_encoder, recipe.networks.mapping_network, recipe.teacher]
    others.append(recipe.discriminator)
    assert all(p.grad is None for module in others for p in module.parameters())
    (loss, _), _ = recipe.step(batch, WEIGHTS, 1, {})
    recipe.networks.generator.zero_grad()
    loss.backward()
    assert all(
        not p.grad.any() for p in recipe.networks.generator.parameters() if p.grad is not None
    )


def test_parts_of_a_batch_have_the_gradient_of_the_whole(
    recipe: DistilRecipe, store: PictureStore
) -> None:
    batch = batch_of(store, from_latents=True)
    parameters = list(recipe.networks.generator.parameters())

    def gradients(parts: int) -> list[torch.Tensor]:
        recipe.config = dataclasses.replace(recipe.config, accumulate=parts)
        losses = [list(recipe.step(p, WEIGHTS, 1, {}))[1][0] for p in batch.split(parts)]
        return torch.autograd.grad(sum(losses) / parts, parameters)

    whole, both = (torch.cat([g.flatten() for g in gradients(parts)]) for parts in (1, 2))
    assert (both - whole).norm() < 0.01 * whole.norm()


def test_feature_distance_is_a_share_of_each_maps_deviation() -> None:
    wanted = [torch.randn(2, 3, 4, 4), 100 * torch.randn(2, 5, 2, 2)]
    assert feature_distance(wanted, wanted) == 0
    shifted = [w + 0.5 * w.std(dim=(1, 2, 3), keepdim=True) for w in wanted]
    assert feature_distance(shifted, wanted).item() == pytest.approx(0.5, rel=1e-3)


# -- what comes of it -------------------------------------------------------------------------


@pytest.mark.parametrize("name", bundled_models())
def test_students_of_bundled_models_have_a_tenth_of_the_multiply_adds(name: str) -> None:
    from facemeld.networks.costs import network_costs

    teacher = read_network_config(bundled_models()[name])
    student = student_network(teacher)
    costs = [
        next(c.gmac for c in network_costs(config) if c.part == "generator")
        for config in (teacher, student)
    ]
    assert 10 <= costs[0] / costs[1] < 12
    assert all(s <= t for s, t in zip(student.widths, teacher.widths, strict=True))


def test_a_student_comes_near_to_its_teacher_and_works_in_its_place(
    projected_model: Path, faces: Path, store: PictureStore, tmp_path: Path
) -> None:
    config = tiny(
        projected_model,
        faces,
        pictures=560,
        warmup_pictures=520,
        learning_rate=4e-3,
        weights=LossWeights(pixels=1.0, features=0.1, adversarial=0.01),
        log_every=560,
        sample_every=560,
        checkpoint_every=560,
    )
    network = dataclasses.replace(config.network, widths=(8, 16))  # something to learn with
    config = dataclasses.replace(config, network=network)
    folder = train(config, tmp_path / "run")
    teacher, student = load_model(projected_model), load_model(folder)
    for name in ("style_encoder", "mapping_network"):
        mine = getattr(student, name).state_dict()
        for key, tensor in getattr(teacher, name).state_dict().items():
            assert torch.equal(mine[key], tensor), key

    torch.manual_seed(1)
    untaught = Networks(student.config).eval()
    near, far = (
        imitation(Pair(teacher, model), store, seed=1, sources=32) for model in (student, untaught)
    )
    constant = distance_to_the_mean(teacher, store)
    for mode in MODES:
        assert near[mode]["l1"] < 0.75 * far[mode]["l1"], mode
        assert near[mode]["l1"] < 0.75 * near[mode]["l1_of_source"], mode
    assert near["reference"]["l1"] < 0.85 * constant

    pipe = FusionPipeline.from_pretrained(folder)
    cat, dog = (Image.open(faces / name / "00.png") for name in ("cat", "dog"))
    known = {"source": cat, "references": [dog], "source_domain": "cat", "domain": "dog"}
    assert pipe.domains == ("cat", "dog")
    assert pipe(**known).images[0].size == (16, 16)
    assert pipe(**known, strength=0.5).images != pipe(**known).images


def distance_to_the_mean(teacher: Networks, store: PictureStore) -> float:
    """L1 of the teacher's pictures to their mean, on a scale of 0 to 1: what a student reaches
    that looks at nothing."""
    sampler = BatchSampler(store, sources=32, latent_size=4, seed=1)
    with torch.no_grad():
        batch, pair = sampler.batch(0), Pair(teacher, teacher)
        painted, _ = pair.paint(batch.sources, pair.styles(batch, "reference")[0])
    painted = painted.clamp(-1, 1)
    return float((painted - painted.mean(dim=0)).abs().mean() / 2)


def test_a_teacher_is_no_distance_from_itself(projected_model: Path, store: PictureStore) -> None:
    teacher = load_model(projected_model)
    for scores in imitation(Pair(teacher, teacher), store, seed=0, sources=16).values():
        assert scores["l1"] == 0 and scores["psnr"] == pytest.approx(100)
        for name in ("structure", "style"):
            assert scores[f"{name}_teacher"] == scores[f"{name}_student"]


def test_a_teacher_without_frozen_features_needs_published_ones(
    resnet_model: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = train(tiny(resnet_model, faces), tmp_path / "run")
    assert load_model(model).config.style_encoder == "resnet"
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="efficientnet-lite0 weights are not on this machine"):
        train(tiny(resnet_model, faces), tmp_path / "other")
    assert not (tmp_path / "other").exists()


# -- the run ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(projected_model: Path, faces: Path, tmp_path_factory) -> Path:
    """The folder of one run from start to end, for reading."""
    out = tmp_path_factory.mktemp("distilled") / "run"
    train(tiny(projected_model, faces), out)
    return out


def test_a_resumed_run_ends_bitwise_the_same(
    finished: Path, projected_model: Path, faces: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    checkpoints(run)[-1].unlink()
    shutil.rmtree(run / "model")
    train(tiny(projected_model, faces), run)
    mine, theirs = tensors_of(run), tensors_of(finished)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    weights = Path("model/model.safetensors")
    assert (run / weights).read_bytes() == (finished / weights).read_bytes()


def test_a_teacher_may_move_but_not_change(
    finished: Path, projected_model: Path, faces: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    moved = Path(shutil.copytree(projected_model, tmp_path / "moved"))
    train(tiny(moved, faces, pictures=28), run)
    networks = untrained("projected")
    with torch.no_grad():
        networks.generator.to_rgb.bias += 0.1
    save_model(networks, moved, card="")
    with pytest.raises(UserError, match="another teacher") as caught:
        train(tiny(moved, faces, pictures=32), run)
    assert caught.value.where == str(moved)


def test_two_processes_learn_as_one_does(
    finished: Path, projected_model: Path, faces: Path, tmp_path: Path
) -> None:
    train(tiny(projected_model, faces, processes=2), tmp_path / "run")
    # Adam's steps are of one size however small the gradient, so rounding drives the runs apart.
    for mine, theirs, nearness in zip(
        log_lines(tmp_path / "run"), log_lines(finished), (1e-4, 1e-3, 2e-2)
    ):
        told = [{k: v for k, v in line.items() if "/" in k} for line in (mine, theirs)]
        assert told[0] == pytest.approx(told[1], rel=nearness)


def test_the_card_names_the_teacher(finished: Path, projected_model: Path) -> None:
    card = (finished / "model" / "README.md").read_text()
    assert f"A student of `{projected_model.name}`" in card


# -- mistakes ---------------------------------------------------------------------------------


def test_networks_that_mean_other_styles_are_refused(
    projected_model: Path, faces: Path, tmp_path: Path
) -> None:
    config = tiny(projected_model, faces)
    other = dataclasses.replace(config.network, style_size=12)
    with pytest.raises(UserError, match=r"style_size \(teacher 8, run 12\)"):
        train(dataclasses.replace(config, network=other), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_impossible_combinations_are_told_together(projected_model: Path) -> None:
    config = dataclasses.replace(tiny(projected_model, "x"), init="faces")
    network = dataclasses.replace(config.network, discriminator="resnet")
    told = "; ".join(dataclasses.replace(config, network=network).problems())
    assert "init and teacher exclude each other" in told
    assert "the distil recipe needs discriminator = projected" in told
    assert dataclasses.replace(config, init="", teacher="").problems() == [
        "the distil recipe needs a teacher"
    ]


def test_a_data_folder_lacks_a_domain(projected_model: Path, faces: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(faces, tmp_path / "data"))
    (data / "dog").rename(data / "dgo")
    with pytest.raises(UserError, match="no domain 'dog'") as caught:
        train(tiny(projected_model, data), tmp_path / "run")
    assert "dgo" in caught.value.fix and not (tmp_path / "run").exists()


def test_too_many_multiply_adds_are_refused(projected_model: Path) -> None:
    teacher = read_network_config(projected_model)
    with pytest.raises(UserError, match=r"only \d\.\d times fewer multiply-adds") as caught:
        student_network(teacher, (8, 16))
    assert "narrower ones, like 4 4" in caught.value.fix
    with pytest.raises(UserError, match="3 widths, but the teacher's generator has 2"):
        student_network(teacher, (8, 16, 16))
