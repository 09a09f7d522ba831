"""The comparison of runs: equal inputs, honest notes, and every file of the report."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_folders import LINES, write_run
from tiny_models import untrained

from facemeld.cli import main
from facemeld.errors import UserError
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.images.write import is_marked_synthetic
from facemeld.networks.bundle import Networks
from facemeld.reports.compare import fairness
from facemeld.reports.runs import read_runs
from facemeld.reports.samples import (
    choose_faces,
    fuse_all,
    load_networks,
    sheet_of_all,
    sheet_of_run,
)


@pytest.fixture
def files(faces: Path) -> dict[str, list[Path]]:
    return {d: sorted((faces / d).iterdir()) for d in ("cat", "dog")}


def compare(*arguments: object) -> None:
    main(["compare", *map(str, arguments)])


# -- samples ----------------------------------------------------------------------------------


def test_the_choice_of_faces_follows_from_the_seed_alone(files: dict) -> None:
    a, b = choose_faces(files, 3), choose_faces(files, 3)
    assert a == b and a.domains == ["cat", "dog"]
    assert all(s != r for s, r in zip(a.sources, a.references))
    assert any(choose_faces(files, seed).sources != a.sources for seed in range(5))
    assert torch.equal(a.latent(0, 4), a.latent(0, 8)[:, :4])
    assert not torch.equal(a.latent(0, 4), a.latent(1, 4))


def test_a_domain_of_one_picture_shows_it_twice(files: dict) -> None:
    faces = choose_faces(files | {"dog": files["dog"][:1]}, 0)
    assert faces.sources[1] == faces.references[1]


def test_an_unreadable_face_is_refused(files: dict, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UserError):
        choose_faces({"cat": [tmp_path / "text.png"]}, 0)


def test_the_cells_are_what_the_pipeline_makes(files: dict) -> None:
    networks, faces = untrained("resnet"), choose_faces(files, 1)
    fused = fuse_all(networks, faces)
    pipe = FusionPipeline.from_networks(networks)
    for row, source in enumerate(faces.sources):
        expected = pipe(source, faces.references[1], domain="dog").images[0]
        assert np.abs(np.asarray(expected, int) - np.asarray(fused.rows[row][1], int)).max() <= 1
        styles = pipe.map_latent(faces.latent(0, 4), torch.tensor([0]))
        expected = pipe.translate(pipe.prepare([source]), styles)
        shown = torch.tensor(np.asarray(fused.rows[row][2])).permute(2, 0, 1) / 127.5 - 1
        assert (shown - expected[0].clamp(-1, 1)).abs().max() < 0.01


def test_the_cells_of_a_masked_model_have_their_skips(
    files: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(untrained("resnet").config, skips="masked")
    torch.manual_seed(0)
    networks, faces = Networks(config).eval(), choose_faces(files, 1)
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path))
    with pytest.raises(UserError, match="no landmark network is at hand"):
        fuse_all(networks, faces)

    def masks_of(value: float) -> Callable:
        return lambda weights_dir: lambda pictures: torch.full((len(pictures), 2, 8, 8), value)

    cells = {}
    for value in (0.0, 1.0):
        monkeypatch.setattr("facemeld.fusion.skip_masks.load_masker", masks_of(value))
        cells[value] = fuse_all(networks, faces).rows
    pipe = FusionPipeline.from_networks(networks)
    expected = pipe(faces.sources[0], faces.references[1], domain="dog").images[0]
    shown, off = np.asarray(cells[1.0][0][1], int), np.asarray(cells[0.0][0][1], int)
    assert np.abs(np.asarray(expected, int) - shown).max() <= 1
    assert np.abs(off - shown).max() > 3


def test_cells_of_a_domain_that_a_model_lacks_are_blank(files: dict) -> None:
    faces = choose_faces(files, 0)
    fused = fuse_all(untrained("resnet", ("dog", "wild")), faces)
    assert [[cell is None for cell in row] for row in fused.rows] == [[True, False] * 2] * 2
    assert all(c is None for row in fuse_all(untrained("resnet", ("x",)), faces).rows for c in row)
    page = sheet_of_run(fused, faces, 16)
    assert page.size == (5 * 96 + 4 * 2, page.height)
    everything = sheet_of_all([fused, fused], faces, [16, 16])
    rows = 2 * 1 + 2 * 1  # each source under the other's reference, and under its latent code
    assert everything.height > rows * 96 and everything.height < (rows + 1) * 96


def test_a_broken_model_still_gets_its_sheet(files: dict) -> None:
    networks = untrained("resnet")
    for parameter in networks.generator.parameters():
        parameter.data.fill_(float("nan"))
    faces = choose_faces(files, 0)
    assert sheet_of_run(fuse_all(networks, faces), faces, 16).width > 0


def test_an_unfinished_run_shows_its_moving_average(tmp_path: Path, files: dict) -> None:
    run = read_runs([write_run(tmp_path / "run", finished=False)])[0]
    networks, origin = load_networks(run)
    assert origin == "checkpoint at 16 pictures"
    for mine, other in zip(
        networks.state_dict().values(), untrained("resnet").state_dict().values()
    ):
        assert torch.equal(mine, other)
    for path in (run.folder / "checkpoints").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="no checkpoint can be read"):
        load_networks(run)


# -- fairness ---------------------------------------------------------------------------------


def test_what_makes_a_comparison_unfair_is_said(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a")
    b = write_run(tmp_path / "b", seed=1, batch_size=4, data="others")
    told = fairness(read_runs([a, b]))
    assert [re.match(r"The runs differ in (\S+):", note)[1] for note in told] == [
        "data",
        "seed",
        "batch_size",
    ]
    assert "others: b" in told[0]
    assert fairness(read_runs([a, a])) == []


def test_an_unsteady_speed_is_said(tmp_path: Path) -> None:
    lines = [dict(line, pictures_per_second=4.0 + 2 * i) for i, line in enumerate(LINES)]
    told = fairness(read_runs([write_run(tmp_path / "a", lines=lines)]))
    assert len(told) == 1 and "between 5.5 and 8.5" in told[0]


# -- the report -------------------------------------------------------------------------------


def test_two_runs_and_a_model_make_a_report(
    tmp_path: Path, faces: Path, projected_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write_run(tmp_path / "a", lines=[*LINES, "{"])
    faster = [dict(line, pictures_per_second=8.0, peak_memory_mb=1234) for line in LINES]
    b = write_run(tmp_path / "b | <x>", lines=faster, seed=1)
    scores = {"protocol": "light", "mean": {"distance": 9.25}}
    (b / "evaluation.json").write_text(json.dumps(scores))
    out = tmp_path / "report"
    compare(a, b, projected_model, "--data", faces, "--out", out)
    told = capsys.readouterr()
    assert told.out.splitlines() == [str(out / "report.md"), str(out / "report.html")]
    markdown = (out / "report.md").read_text()
    linked = re.findall(r"\]\(([^)]+)\)", markdown)
    assert {p.name for p in out.iterdir()} == {"report.md", "report.html", *linked}
    assert linked[:4] == ["samples.jpg", "samples-1.jpg", "samples-2.jpg", "samples-3.jpg"]
    assert all(is_marked_synthetic(out / name) for name in linked[:4])
    plots = [name for name in linked if name.startswith("curves-")]
    assert plots == [
        "curves-generator-latent-pictures.png",
        "curves-generator-latent-seconds.png",
        "curves-metrics-pictures.png",
        "curves-metrics-seconds.png",
    ]
    with Image.open(out / plots[0]) as plot:
        assert plot.format == "PNG" and plot.width > 300
    tables = dict(re.findall(r"^\| ([^|]+?) \| (.*) \|$", markdown, flags=re.MULTILINE))
    assert tables["seed"].startswith("0 | 1 |")
    assert tables["distance"] == "9.25"
    # 8 s of a are 32 pictures at 4 a second; of b 4 s: the common time is 4 s, half of a's
    assert "At equal training time: 4 s" in markdown and "At equal pictures: 32 seen" in markdown
    assert tables["pictures seen"] == "16 | 32"
    assert tables["light/distance"] == "2 | 4"
    assert re.search(r"^\| b .*\| 1,?234 \|$", markdown, flags=re.MULTILINE)
    assert "1 damaged lines of the log" in markdown
    assert "b \\| \\<x>" in markdown and "b | &lt;x&gt;" in (out / "report.html").read_text()


def test_one_run_is_enough_and_the_faces_are_bundled(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", lines=["{"], finished=False)
    compare(run, "--out", tmp_path / "report")
    markdown = (tmp_path / "report" / "report.md").read_text()
    assert markdown.startswith("# Run run\n") and "checkpoint at 16 pictures" in markdown
    assert "the log is empty" in markdown and "curves-" not in markdown


def test_runs_of_several_picture_sizes_share_a_sheet(tmp_path: Path, faces: Path) -> None:
    compare(write_run(tmp_path / "run"), "faces", "--data", faces, "--out", tmp_path / "report")
    with Image.open(tmp_path / "report" / "samples.jpg") as image:
        assert image.width > 4 * 96
    assert "differ in" not in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{none}"], "no such model"),
        (["{faces}"], "neither a run folder"),
        (["{run}", "--seed", "-1"], "seed is -1"),
        (["{run}", "--data", "{none}"], "there is no such folder"),
        (["{run}", "--data", "{other}"], "no run knows a domain of these pictures (wolf)"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    faces: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "other" / "wolf").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "other" / "wolf" / "1.png")
    places = {
        "run": write_run(tmp_path / "run"),
        "none": tmp_path / "none",
        "faces": faces,
        "other": tmp_path / "other",
    }
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        compare(*(a.format(**places) for a in arguments), "--out", tmp_path / "report")
    told = capsys.readouterr()
    assert caught.value.code == 2 and expected in told.err and told.out == ""
    assert not (tmp_path / "report").exists()
