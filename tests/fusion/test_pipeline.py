"""FusionPipeline on a tiny untrained model: what may change a result, and what must not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import facemeld
from facemeld.errors import UserError
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.fusion.torch_backend import BATCH
from facemeld.images import centre_square, read_picture


@pytest.fixture(scope="module")
def resnet_pipe(resnet_model: Path) -> FusionPipeline:
    return FusionPipeline.from_pretrained(resnet_model)


def levels(a: Image.Image, b: Image.Image) -> int:
    """The largest difference of two pictures of one size, in 255ths."""
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


# -- references and their weights -------------------------------------------------------------


def test_different_references_give_different_results(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    results = [pipe(cats[0], r).images[0] for r in (cats[1], cats[2], dogs[0])]
    assert results[0].size == (16, 16) and results[0].mode == "RGB"
    assert min(levels(results[0], results[1]), levels(results[1], results[2])) > 8


def test_a_reference_with_all_the_weight_is_as_if_alone(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    alone = pipe(cats[0], dogs[0]).images[0]
    assert levels(pipe(cats[0], dogs[0], weights=[5]).images[0], alone) == 0
    weighted = pipe(cats[0], [cats[1], dogs[0], cats[2]], weights=[0, 1, 0]).images[0]
    assert levels(weighted, alone) <= 1


def test_only_the_proportion_of_the_weights_matters(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    def fused(weights: list[float] | None) -> Image.Image:
        return pipe(cats[0], [cats[1], dogs[0]], weights=weights).images[0]

    assert levels(fused([1, 3]), fused([0.25, 0.75])) <= 1
    assert levels(fused([2, 2]), fused(None)) <= 1
    assert levels(fused([1, 3]), fused([3, 1])) > 8


def test_the_order_of_the_references_does_not_matter(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    one = pipe(cats[0], [cats[1], dogs[0]], weights=[0.3, 0.7]).images[0]
    other = pipe(cats[0], [dogs[0], cats[1]], weights=[0.7, 0.3]).images[0]
    assert levels(one, other) <= 1


def test_mixed_styles_are_as_long_as_those_the_generator_learned_from(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    pictures = pipe.prepare([cats[1], dogs[0]])
    codes = pipe.encode_style(pictures, torch.tensor([0, 1]))
    mean = codes.mean(dim=0, keepdim=True)
    expected = pipe.translate(pipe.prepare([cats[0]]), mean * mean.square().mean() ** -0.5)
    result = np.asarray(pipe(cats[0], [cats[1], dogs[0]]).images[0])
    shown = expected[0].permute(1, 2, 0).clamp(-1, 1).add(1).mul(127.5)
    assert np.abs(result - shown.numpy()).max() <= 1


# -- one and many -----------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["pipe", "resnet_pipe"])
def test_a_batch_gives_the_results_of_its_pictures(
    which: str, cats: list[Path], dogs: list[Path], request: pytest.FixtureRequest
) -> None:
    pipe: FusionPipeline = request.getfixturevalue(which)
    sources = [*cats, *dogs, *cats][: BATCH + 2]
    together = pipe(sources, dogs[0], domain="dog")
    assert len(together.images) == len(together.settings) == BATCH + 2
    for source, image, settings in zip(sources, together.images, together.settings, strict=True):
        single = pipe(source, dogs[0], domain="dog")
        assert levels(image, single.images[0]) <= 1
        assert settings == single.settings[0]


@pytest.mark.parametrize("which", ["pipe", "resnet_pipe"])
def test_tensors_of_a_batch_equal_those_of_its_parts(
    which: str, cats: list[Path], dogs: list[Path], request: pytest.FixtureRequest
) -> None:
    pipe: FusionPipeline = request.getfixturevalue(which)
    pictures = pipe.prepare([*cats[:3], *dogs[:2]])
    domains = torch.tensor([0, 0, 1, 1, 0])
    latents = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    styles, mapped = pipe.encode_style(pictures, domains), pipe.map_latent(latents, domains)
    fakes = pipe.translate(pictures, styles)
    assert styles.shape == mapped.shape == (5, 8) and fakes.shape == (5, 3, 16, 16)
    for i in range(5):
        one = slice(i, i + 1)
        for single, together in (
            (pipe.encode_style(pictures[one], domains[one]), styles),
            (pipe.map_latent(latents[one], domains[one]), mapped),
            (pipe.translate(pictures[one], styles[one]), fakes),
        ):
            torch.testing.assert_close(single, together[one], rtol=0, atol=1e-5)


def test_a_picture_may_be_a_path_a_name_bytes_or_an_image(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    path = cats[0]
    forms = [path, str(path), path.read_bytes(), Image.open(path)]
    results = [pipe(form, dogs[0]) for form in forms]
    assert all(levels(r.images[0], results[0].images[0]) == 0 for r in results)
    names = [r.settings[0]["source"] for r in results]
    assert names == ["00.png", "00.png", "(in memory)", "(in memory)"]


# -- strength, latent codes, domains ----------------------------------------------------------


def test_strength_goes_from_the_sources_own_style_to_the_references(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    def fused(strength: float, reference: Path = dogs[0]) -> Image.Image:
        return pipe(cats[0], reference, strength=strength).images[0]

    own = pipe(cats[0], cats[0], domain="cat").images[0]
    full = pipe(cats[0], dogs[0]).images[0]
    assert levels(fused(0.0), own) <= 1 and levels(fused(0.0, dogs[1]), own) <= 1
    assert levels(fused(1.0), full) == 0
    assert levels(fused(0.5), own) > 3 and levels(fused(0.5), full) > 3


def test_the_source_domain_counts_below_full_strength_only(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    def fused(strength: float, source_domain: str | None) -> Image.Image:
        result = pipe(cats[0], dogs[0], strength=strength, source_domain=source_domain)
        return result.images[0]

    assert levels(fused(0.3, None), fused(0.3, "cat")) == 0
    assert levels(fused(0.3, "dog"), fused(0.3, "cat")) > 3
    assert levels(fused(1.0, "dog"), fused(1.0, "cat")) == 0


def test_a_latent_style_follows_from_its_seed_and_domain(
    pipe: FusionPipeline, cats: list[Path]
) -> None:
    def fused(seed: int, domain: str) -> Image.Image:
        return pipe(cats[0], latent=True, seed=seed, domain=domain).images[0]

    first = fused(3, "dog")
    torch.manual_seed(99)
    assert levels(fused(3, "dog"), first) == 0
    assert levels(fused(4, "dog"), first) > 8 and levels(fused(3, "cat"), first) > 8


def test_the_domain_of_each_reference_is_guessed(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    for reference, right, wrong in ((cats[1], "cat", "dog"), (dogs[1], "dog", "cat")):
        guessed = pipe(cats[0], reference).images[0]
        assert levels(guessed, pipe(cats[0], reference, domain=right).images[0]) == 0
        assert levels(guessed, pipe(cats[0], reference, domain=wrong).images[0]) > 3


def test_settings_make_the_picture_again(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    result = pipe(cats[0], [cats[1], dogs[0]], weights=[1, 3], strength=0.6, seed=5)
    settings = json.loads(json.dumps(result.settings[0]))
    expected = {
        "facemeld": facemeld.__version__,
        "model": "projected",
        "source": "00.png",
        "references": ["01.png", "00.png"],
        "weights": [0.25, 0.75],
        "domain": None,
        "source_domain": None,
        "latent": False,
        "strength": 0.6,
        "seed": 5,
        "size": None,
    }
    assert expected.items() <= settings.items()
    names = ("weights", "domain", "latent", "strength", "seed", "size")
    options = {n: settings[n] for n in names}
    again = pipe(cats[0], [cats[1], dogs[0]], **options)
    assert levels(again.images[0], result.images[0]) == 0


def test_a_size_only_enlarges(pipe: FusionPipeline, cats: list[Path], dogs: list[Path]) -> None:
    own = pipe(cats[0], dogs[0]).images[0]
    large = pipe(cats[0], dogs[0], size=40).images[0]
    assert large.size == (40, 40)
    assert levels(large, own.resize((40, 40), Image.Resampling.LANCZOS)) == 0


# -- sheets -----------------------------------------------------------------------------------


def test_a_grid_fuses_every_source_with_every_reference(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    sources, references = cats[:2], [dogs[0], cats[3], dogs[1]]
    sheet = pipe.grid(sources, references)
    assert sheet.size == (4 * 16 + 3 * 2, 3 * 16 + 2 * 2)

    def cell(row: int, column: int) -> Image.Image:
        return sheet.crop((18 * column, 18 * row, 18 * column + 16, 18 * row + 16))

    assert cell(0, 0).getextrema() == ((255, 255),) * 3
    for column, reference in enumerate(references, 1):
        assert levels(cell(0, column), centre_square(read_picture(reference), 16)) == 0
    for row, source in enumerate(sources, 1):
        assert levels(cell(row, 0), centre_square(read_picture(source), 16)) == 0
        for column, reference in enumerate(references, 1):
            assert levels(cell(row, column), pipe(source, reference).images[0]) <= 1


def test_the_references_of_a_grid_can_have_domains_of_their_own(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    references = [dogs[0], dogs[0], cats[0]]
    sheet = pipe.grid(cats[:1], references, domain=["dog", "cat", None])
    cells = [sheet.crop((18 * k, 18, 18 * k + 16, 34)) for k in (1, 2, 3)]
    for cell, reference, domain in zip(cells, references, ("dog", "cat", None)):
        assert levels(cell, pipe(cats[0], reference, domain=domain).images[0]) <= 1
    assert levels(cells[0], cells[1]) > 0
    with pytest.raises(UserError, match="2 domains for 3 references"):
        pipe.grid(cats[:1], references, domain=["dog", "cat"])
    with pytest.raises(UserError, match="no domain 'dgo'"):
        pipe.grid(cats[:1], references, domain=["dog", "dgo", None])


def test_the_cells_of_a_grid_can_be_enlarged(pipe: FusionPipeline, cats: list[Path]) -> None:
    assert pipe.grid(cats[:1], cats[:2], cell=40).size == (3 * 40 + 2 * 2, 2 * 40 + 2)


# -- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("no source picture", dict(source=[])),
        ("no reference picture", dict(references=[])),
        ("strength is 1.5", dict(strength=1.5)),
        ("strength is -0.1", dict(strength=-0.1)),
        ("strength is nan", dict(strength=float("nan"))),
        ("1 weights for 2 references", dict(weights=[1])),
        ("must not be negative", dict(weights=[-1, 2])),
        ("sum above 0", dict(weights=[0, 0])),
        ("must not be negative", dict(weights=[float("nan"), 1])),
        ("must not be negative", dict(weights=[float("inf"), 1])),
        ("must not be negative", dict(weights=[1e308, 1e308])),
        ("no domain 'dgo'", dict(domain="dgo")),
        ("no domain 'fish'", dict(source_domain="fish", strength=0.5)),
        ("no references and no weights", dict(latent=True, domain="dog")),
        ("needs a domain", dict(latent=True, references=[])),
        ("no domain 'dgo'", dict(latent=True, references=[], domain="dgo")),
        ("seed is -1", dict(latent=True, references=[], domain="dog", seed=-1)),
        ("and no weights", dict(latent=True, references=[], domain="dog", weights=[1])),
    ],
)
def test_values_that_do_not_fit_are_refused(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path], what: str, options: dict
) -> None:
    with pytest.raises(UserError) as caught:
        pipe(**{"source": cats[0], "references": dogs[:2]} | options)
    assert what in caught.value.what


def test_an_unknown_domain_gets_a_suggestion(pipe: FusionPipeline, cats: list[Path]) -> None:
    with pytest.raises(UserError) as caught:
        pipe(cats[0], cats[1], domain="Dogs")
    assert "'dog'" in caught.value.fix


def test_an_unreadable_picture_is_named(
    pipe: FusionPipeline, cats: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("text")
    for bad in (tmp_path / "text.png", tmp_path / "none.png"):
        for source, reference in ((bad, cats[0]), (cats[0], bad)):
            with pytest.raises(UserError) as caught:
                pipe([cats[1], source], [cats[1], reference])
            assert caught.value.where == str(bad)


@pytest.mark.parametrize(("sources", "references"), [(0, 1), (1, 0)])
def test_an_empty_grid_is_refused(
    pipe: FusionPipeline, cats: list[Path], sources: int, references: int
) -> None:
    with pytest.raises(UserError, match="at least one source and one reference"):
        pipe.grid(cats[:sources], cats[:references])


@pytest.mark.parametrize("cell", [0, -3, 10**6])
def test_an_impossible_cell_is_refused(pipe: FusionPipeline, cats: list[Path], cell: int) -> None:
    with pytest.raises(UserError, match="cell"):
        pipe.grid(cats[:1], cats[:1], cell=cell)


def test_a_model_that_cannot_guess_domains_says_so(
    resnet_pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    for options in ({}, dict(domain="dog", strength=0.5)):
        with pytest.raises(UserError, match="cannot tell the domain") as caught:
            resnet_pipe(cats[0], dogs[0], **options)
        assert "cat, dog" in caught.value.fix
    resnet_pipe(cats[0], dogs[0], domain="dog", source_domain="cat", strength=0.5)


# -- model folders ----------------------------------------------------------------------------


def test_a_saved_pipeline_gives_the_same_pictures(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path], tmp_path: Path
) -> None:
    expected = pipe(cats[0], dogs[0]).images[0]
    pipe.save_pretrained(tmp_path / "whole", card="# card\n")
    pipe.save_pretrained(tmp_path / "half", card="# card\n", half=True)
    sizes = [(tmp_path / n / "model.safetensors").stat().st_size for n in ("whole", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    for name, tolerance in (("whole", 0), ("half", 6)):
        loaded = FusionPipeline.from_pretrained(tmp_path / name)
        assert loaded.name == name and loaded.domains == pipe.domains
        assert levels(loaded(cats[0], dogs[0]).images[0], expected) <= tolerance
    assert (tmp_path / "whole" / "README.md").read_text() == "# card\n"


def rewrite(change: Callable[[dict], object]) -> Callable[[Path], object]:
    """Damage to a folder: a change of what its config.json says."""

    def damage(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text())
        change(values)
        (folder / "config.json").write_text(json.dumps(values))

    return damage


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("expected", "damage"),
    [
        ("no config.json", lambda folder: (folder / "config.json").unlink()),
        ("is damaged", lambda folder: (folder / "config.json").write_text("{")),
        ("is damaged", lambda folder: (folder / "config.json").write_text("[1]")),
        ("is damaged", lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe")),
        ("has format 999", rewrite(lambda v: v.update(format=999))),
        ("unknown option 'colour'", rewrite(lambda v: v["network"].update(colour=1))),
        ("multiple of 16", rewrite(lambda v: v["network"].update(image_size=17))),
        ("do not fit config.json", rewrite(lambda v: v["network"].update(style_size=9))),
        ("do not fit config.json", rewrite(lambda v: v["network"].update(domains=["cat"]))),
        ("weights are missing", lambda folder: (folder / "model.safetensors").unlink()),
        ("cannot be read", truncate),
        ("cannot be read", lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99)),
    ],
)
def test_a_damaged_model_folder_is_a_clear_error(
    projected_model: Path, tmp_path: Path, expected: str, damage: Callable[[Path], object]
) -> None:
    folder = Path(shutil.copytree(projected_model, tmp_path / "model"))
    damage(folder)
    with pytest.raises(UserError) as caught:
        FusionPipeline.from_pretrained(folder)
    assert expected in caught.value.what and str(folder) in caught.value.where


def test_an_unknown_model_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model") as caught:
        FusionPipeline.from_pretrained(tmp_path / "none")
    assert caught.value.where == str(tmp_path / "none")
