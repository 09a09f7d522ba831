"""Job lists are read whole, and what is wrong in them is told with its line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from facemeld.errors import UserError
from facemeld.fusion.job_list import (
    Job,
    check_jobs,
    jobs_of_folder,
    read_job_list,
    with_variations,
)
from facemeld.fusion.request import Controls
from facemeld.networks.model_folder import read_network_config

DEFAULT = Job(
    where="the command line",
    source=Path(),
    out=PurePosixPath(),
    references=(Path("cat.jpg"),),
    controls=Controls(strength=0.5),
)


def jobs_from(tmp_path: Path, text: str, default: Job = DEFAULT) -> list[Job]:
    path = tmp_path / "jobs.csv"
    path.write_bytes(text.encode())
    return read_job_list(path, default)


def test_every_column_arrives(tmp_path: Path) -> None:
    (job,) = jobs_from(
        tmp_path,
        "\ufeffsource,reference,weights,region,fine,second_source,source_mix,strength,seed,latent,"
        "domain,interpolation,size,out\r\n"
        'a b.jpg,x.png | y.png,3|1,left=l.png|m.png=k.png,f.png,"two, three.png",0.25,1,7,no,'
        "cat,spherical,128,deep/r.webp\r\n",
    )
    assert job.source == tmp_path / "a b.jpg" and job.out == PurePosixPath("deep/r.webp")
    assert job.references == (tmp_path / "x.png", tmp_path / "y.png")
    assert job.regions == (("left", tmp_path / "l.png"), (tmp_path / "m.png", tmp_path / "k.png"))
    assert job.levels == {"fine": tmp_path / "f.png"}
    assert job.second_source == tmp_path / "two, three.png"
    assert job.controls == Controls(
        weights=(3.0, 1.0),
        source_mix=0.25,
        seed=7,
        domain="cat",
        interpolation="spherical",
        size=128,
    )


def test_empty_cells_take_what_the_command_line_says(tmp_path: Path) -> None:
    jobs = jobs_from(tmp_path, "source,strength,reference\na.png,,\nb.png,0.9,c.png\n")
    assert [job.controls.strength for job in jobs] == [0.5, 0.9]
    assert [job.references for job in jobs] == [(Path("cat.jpg"),), (tmp_path / "c.png",)]
    assert [str(job.out) for job in jobs] == ["0001_a.png", "0002_b.png"]
    (random,) = jobs_from(tmp_path, "source,latent,domain\na.png,yes,cat\n")
    assert random.references == () and random.controls.latent


MISTAKES = {
    "nothing": ("", "no column 'source'"),
    "a header alone": ("source\n", "no jobs"),
    "an unknown column": ("source,refrence\na,b\n", "did you mean 'reference'"),
    "a column twice": ("source,out,out\na,b.png,c.png\n", "twice"),
    "no source": ("source,reference\n,b.png\n", "line 2"),
    "too many cells": ("source\na,b\n", "line 2"),
    "too few cells": ("source,reference\na.png,b.png\na.png\n", "line 3"),
    "a word for a number": ("source,strength\na.png,much\n", "strength is 'much'"),
    "a word for numbers": ("source,weights\na.png,1|x\n", "numbers with |"),
    "neither yes nor no": ("source,latent\na.png,perhaps\n", "yes or no"),
    "a place without a picture": ("source,region\na.png,left\n", "line 2"),
    "an open quote": ('source\n"a.png\n', "not a CSV file"),
    "binary": ("source\na.png\0b\n", "not UTF-8 text"),
    "two results of one name": ("source,out\na.png,r.png\nb.png,R.png\n", "line 3"),
    "no picture": ("source,out\na.png,r.txt\n", "cannot be written as '.txt'"),
    "up": ("source,out\na.png,../r.png\n", "outside the output folder"),
    "up, later": ("source,out\na.png,x/../../r.png\n", "outside the output folder"),
    "absolute": ("source,out\na.png,/tmp/r.png\n", "outside the output folder"),
    "a drive": ("source,out\na.png,C:r.png\n", "outside the output folder"),
    "backslashes": ("source,out\na.png,..\\r.png\n", "outside the output folder"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_with_their_line(name: str, tmp_path: Path) -> None:
    text, expected = MISTAKES[name]
    with pytest.raises(UserError) as caught:
        jobs_from(tmp_path, text)
    assert expected in str(caught.value)


def test_other_encodings_and_missing_lists(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_bytes("source\nZoë.png\n".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        read_job_list(tmp_path / "jobs.csv", DEFAULT)
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UserError, match="no such list"):
            read_job_list(path, DEFAULT)


def test_controls_are_checked_before_anything_begins(tmp_path: Path, projected_model: Path) -> None:
    config = read_network_config(projected_model)
    text = (
        "source,strength,domain,weights\n" + "a.png,,,\n" + "b.png,2,,\nc.png,,cta,\nd.png,,,1|2\n"
    )
    with pytest.raises(UserError) as caught:
        check_jobs(jobs_from(tmp_path, text), config)
    told = caught.value.what
    assert "line 3: strength is 2" in told and "did you mean 'cat'" in told
    assert "line 5: 2 weights for 1 references" in told and "line 2" not in told


def test_a_folder_gives_a_job_for_each_picture(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "deep/a.png", "deep/b.JPG", ".hidden.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    jobs = jobs_of_folder(tmp_path, DEFAULT)
    assert [str(job.out) for job in jobs] == ["a_jpg.png", "a_png.png", "deep/a.png", "deep/b.png"]
    assert jobs[3].source == tmp_path / "deep" / "b.JPG"
    assert jobs[0].controls == DEFAULT.controls


def test_variations_are_jobs_of_their_own() -> None:
    job = replace(DEFAULT, out=PurePosixPath("x/r.png"), controls=Controls(variations=(1, 2)))
    made = list(with_variations([job, DEFAULT]))
    assert [str(j.out) for j in made[:2]] == ["x/r_variation1.png", "x/r_variation2.png"]
    assert [j.controls.variations for j in made] == [(1,), (2,), ()]
