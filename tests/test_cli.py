"""The command line: results on standard output, mistakes in three lines, torch only when needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import facemeld
from facemeld.cli import main
from facemeld.config import preset, presets, write_toml
from facemeld.errors import UserError
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.images import is_marked_synthetic, read_settings

COMMANDS = (
    "demo",
    "fuse",
    "grid",
    "align",
    "train",
    "distil",
    "evaluate",
    "compare",
    "export",
    "import-stargan-v2",
    "presets",
    "bench",
    "info",
    "prepare",
    "download",
)


class Places:
    """Where the pictures and models of these tests are."""

    def __init__(self, faces: Path, projected_model: Path, resnet_model: Path, out: Path) -> None:
        self.faces, self.out = str(faces), str(out)
        self.model, self.resnet = str(projected_model), str(resnet_model)
        self.cat, self.dog = str(faces / "cat" / "00.png"), str(faces / "dog" / "00.png")
        text = out / "text.png"
        text.write_text("not a picture")
        self.text = str(text)

    def to(self, name: str) -> str:
        """A path to write to."""
        return str(Path(self.out) / name)


@pytest.fixture
def at(faces: Path, projected_model: Path, resnet_model: Path, tmp_path: Path) -> Places:
    return Places(faces, projected_model, resnet_model, tmp_path)


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """Runs a command that must fail with this code; returns what it says."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    told = capsys.readouterr()
    assert caught.value.code == code and told.out == "" and "Traceback" not in told.err
    return told.err


# -- help -------------------------------------------------------------------------------------


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    told = capsys.readouterr().out
    assert caught.value.code == 0 and all(command in told for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    told = capsys.readouterr().out
    assert caught.value.code == 0 and f"facemeld {command}" in told


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"facemeld {facemeld.__version__}\n"


def test_presets_are_listed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["presets"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(presets())


# -- commands ---------------------------------------------------------------------------------


def test_fuse_writes_a_marked_picture_with_its_settings(
    at: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    out = at.to("new/folder/fused.png")
    main(
        ["fuse", "--source", at.cat, "--reference", at.dog, at.cat, "--weights", "3", "1"]
        + ["--strength", "0.8", "--model", at.model, "--out", out]
    )
    assert capsys.readouterr().out == out + "\n"
    settings = read_settings(out)
    assert is_marked_synthetic(out) and settings["weights"] == [0.75, 0.25]
    expected = FusionPipeline.from_pretrained(at.model)(
        at.cat, [at.dog, at.cat], weights=[3, 1], strength=0.8
    )
    assert settings == expected.settings[0]
    with Image.open(out) as image:
        assert image.tobytes() == expected.images[0].tobytes()


def test_fuse_without_settings_is_marked_all_the_same(at: Places) -> None:
    out = at.to("fused.jpg")
    main(
        ["fuse", "--source", at.cat, "--latent", "--domain", "dog", "--seed", "3"]
        + ["--no-keep-settings", "--model", at.model, "--out", out]
    )
    assert is_marked_synthetic(out) and read_settings(out) is None


def test_fuse_writes_several_sources_to_a_folder(
    at: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        ["fuse", "--source", at.cat, at.dog, "--reference", at.dog, "--model", at.model]
        + ["--out", at.to("fused"), "--json"]
    )
    entries = json.loads(capsys.readouterr().out)
    names = ["001_00.png", "002_00.png"]
    assert [Path(e["file"]).name for e in entries] == names
    assert sorted(p.name for p in Path(at.to("fused")).iterdir()) == names
    assert [e["settings"]["source"] for e in entries] == ["00.png", "00.png"]


def test_every_control_has_an_option(at: Places, capsys: pytest.CaptureFixture[str]) -> None:
    out = at.to("fused.png")
    main(
        ["fuse", "--source", at.cat, "--reference", at.dog, "--model", at.model, "--out", out]
        + ["--fine", at.cat, "--region", f"left={at.dog}", f"top={at.cat}", "--feather", "0.1"]
        + ["--interpolation", "spherical", "--strength", "0.6", "--second-source", at.dog]
        + ["--source-mix", "0.3", "--content-strength", "0.8", "--colour-match", "0.5"]
    )
    expected = FusionPipeline.from_pretrained(at.model)(
        at.cat,
        at.dog,
        levels={"fine": at.cat},
        regions={"left": at.dog, "top": at.cat},
        feather=0.1,
        interpolation="spherical",
        strength=0.6,
        second_source=at.dog,
        source_mix=0.3,
        content_strength=0.8,
        colour_match=0.5,
    )
    assert read_settings(out) == expected.settings[0]
    with Image.open(out) as image:
        assert image.tobytes() == expected.images[0].tobytes()
    folder = Path(at.to("variations"))
    main(
        ["fuse", "--source", at.cat, "--latent", "--domain", "dog", "--truncation", "0.5"]
        + ["--variations", "2", "--model", at.model, "--out", str(folder)]
    )
    names = ["001_00_variation1.png", "001_00_variation2.png"]
    assert sorted(p.name for p in folder.iterdir()) == names
    assert [read_settings(folder / name)["variation"] for name in names] == [1, 2]


def test_a_cascade_is_two_commands_and_repeats(
    at: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, both, again = (at.to(f"{name}.png") for name in ("one", "two", "both", "again"))
    first = ["fuse", "--source", at.cat, "--reference", at.dog, "--model", at.model]
    main([*first, "--out", one])
    main(
        ["fuse", "--source", one, "--reference", at.cat, "--domain", "cat", "--model", at.resnet]
        + ["--out", two]
    )
    main(
        [*first, "--then", at.resnet, "--then-reference", at.cat, "--then-domain", "cat"]
        + ["--out", both]
    )
    assert Image.open(both).tobytes() == Image.open(two).tobytes()
    main(["fuse", "--repeat", one, "--inputs", at.faces, "--model", at.model, "--out", again])
    assert Image.open(again).tobytes() == Image.open(one).tobytes()
    capsys.readouterr()
    main(["info", both])
    told = capsys.readouterr().out
    assert "model_sha256" in told and "00.png" in told


def test_a_seed_for_nothing_is_told(at: Places, capsys: pytest.CaptureFixture[str]) -> None:
    for options, told in ((["--seed", "3"], True), ([], False)):
        main(fuse_dog(at, *options))
        assert ("--seed changes nothing" in capsys.readouterr().err) is told


def test_grid_writes_a_sheet(at: Places, capsys: pytest.CaptureFixture[str]) -> None:
    out = at.to("sheet.png")
    main(
        ["grid", "--source", at.cat, at.dog, "--reference", at.dog, "--cell", "32"]
        + ["--domain", "dog", "--model", at.resnet, "--out", out]
    )
    assert capsys.readouterr().out == out + "\n" and is_marked_synthetic(out)
    with Image.open(out) as image:
        assert image.size == (2 * 32 + 2, 3 * 32 + 4)
    settings = read_settings(out)
    assert settings["domain"] == "dog" and settings["grid"]["cell"] == 32
    named = [entry["name"] for entry in settings["grid"]["sources"]]
    assert named == [Path(at.cat).name, Path(at.dog).name] and settings["model_sha256"]
    with pytest.raises(SystemExit):
        main(["fuse", "--repeat", out, "--out", at.to("again.png")])
    assert "what grid made cannot be repeated by fuse" in capsys.readouterr().err
    main(
        ["grid", "--source", at.cat, "--reference", at.dog, "--domain", "dog"]
        + ["--model", at.resnet, "--out", out, "--no-keep-settings"]
    )
    assert is_marked_synthetic(out) and read_settings(out) is None
    pair = ["grid", "--source", at.cat, "--reference", at.cat, at.dog, "--model", at.resnet]
    main([*pair, "--domain", "cat", "dog", "--out", out])
    assert read_settings(out)["domain"] == ["cat", "dog"]
    with pytest.raises(SystemExit):
        main([*pair, "--domain", "cat", "dog", "cat", "--out", out])
    assert "3 domains for 2 references" in capsys.readouterr().err


def test_info_tells_what_a_model_is(at: Places, capsys: pytest.CaptureFixture[str]) -> None:
    main(["info", at.model, "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["image_size"] == 16 and facts["domains"] == ["cat", "dog"]
    networks = FusionPipeline.from_pretrained(at.model).networks
    count = sum(p.numel() for p in networks.generator.parameters())
    assert facts["parameters"]["generator"] == count
    costs = {cost["part"]: cost for cost in facts["costs"]}
    assert costs["generator"]["parameters"] == count and costs["generator"]["gmac"] > 0
    main(["info", at.model])
    told = capsys.readouterr().out
    assert "cat, dog" in told and re.search(rf"^generator +{count:,} ", told, re.MULTILINE)


def test_info_compares_presets_before_training(capsys: pytest.CaptureFixture[str]) -> None:
    main(["info", "--preset", "smoke", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["image_size"] == 32 and facts["batch_size"] == 4 and facts["domains"] == []
    assert {c["part"] for c in facts["costs"]} >= {"generator", "style_encoder", "discriminator"}
    main(["info", "--preset", "smoke"])
    assert "counted with three" in capsys.readouterr().out


def test_info_tells_how_a_picture_was_made(at: Places, capsys: pytest.CaptureFixture[str]) -> None:
    out = at.to("fused.png")
    main(["fuse", "--source", at.cat, "--reference", at.dog, "--model", at.model, "--out", out])
    capsys.readouterr()
    main(["info", out, "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["synthetic"] is True and facts["settings"]["references"] == ["00.png"]
    main(["info", at.cat, "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["synthetic"] is False and facts["settings"] is None


# -- mistakes ---------------------------------------------------------------------------------


def train_with(at: Places, *options: str) -> list[str]:
    return ["train", "--preset", "smoke", "--data", at.faces, "--out", at.to("r"), *options]


def fuse_with(at: Places, *options: str, source: str = "", out: str = "o.png") -> list[str]:
    fixed = ["--source", source or at.cat, "--model", at.model, "--out", at.to(out)]
    return ["fuse", *fixed, *options]


def fuse_dog(at: Places, *options: str, **changes: str) -> list[str]:
    return fuse_with(at, "--reference", at.dog, *options, **changes)


MISTAKES: dict[str, tuple[Callable[[Places], list[str]], tuple[str, ...]]] = {
    "unknown preset": (
        lambda at: ["train", "--preset", "smoek", "--data", at.faces, "--out", at.to("r")],
        ("no preset named 'smoek'", "did you mean 'smoke'?"),
    ),
    "preset and file": (
        lambda at: train_with(at, "--config", "a.toml"),
        ("either --preset or --config",),
    ),
    "neither preset nor file": (
        lambda at: ["train", "--data", at.faces, "--out", at.to("r")],
        ("either --preset or --config", "faces-64"),
    ),
    "missing file": (
        lambda at: ["train", "--config", at.to("none.toml"), "--out", at.to("r")],
        ("no such configuration file", "none.toml"),
    ),
    "no data": (
        lambda at: ["train", "--preset", "smoke", "--out", at.to("r")],
        ("no training pictures", "--data"),
    ),
    "no run folder": (
        lambda at: ["train", "--preset", "smoke", "--data", at.faces],
        ("no run folder", "--out"),
    ),
    "missing data": (
        lambda at: ["train", "--preset", "smoke", "--data", at.to("n"), "--out", at.to("r")],
        ("there is no such folder", "check the path"),
    ),
    "typo in --set": (
        lambda at: train_with(at, "--set", "weights.cycel=2"),
        ("unknown option 'weights.cycel'", "did you mean 'cycle'?"),
    ),
    "typo in the table of --set": (
        lambda at: train_with(at, "--set", "wieghts.cycle=2"),
        ("unknown option 'wieghts.cycle'",),
    ),
    "no equals sign": (
        lambda at: train_with(at, "--set", "ema"),
        ("not of the form name=value", "ema"),
    ),
    "impossible options": (
        lambda at: train_with(
            at, "--batch-size", "0", "--image-size", "33", "--recipe", "leen", "--set", "ema=7"
        ),
        ("batch_size is 0", "image_size is 33", "ema is 7", "did you mean 'lean'?"),
    ),
    "missing picture": (
        lambda at: fuse_dog(at, source=at.to("no.png")),
        ("no.png",),
    ),
    "text as a picture": (
        lambda at: fuse_with(at, "--reference", at.dog, at.text),
        ("text.png",),
    ),
    "unknown domain": (
        lambda at: fuse_dog(at, "--domain", "dgo"),
        ("no domain 'dgo'", "did you mean 'dog'?"),
    ),
    "unknown source domain": (
        lambda at: fuse_dog(at, "--source-domain", "x"),
        ("no domain 'x'", "cat, dog"),
    ),
    "two sources for one picture": (
        lambda at: (
            ["fuse", "--source", at.cat, at.dog, "--reference", at.dog]
            + ["--model", at.model, "--out", at.to("o.png")]
        ),
        ("2 pictures to write, but --out names one", "name a folder"),
    ),
    "unknown format": (
        lambda at: fuse_dog(at, out="o.jpgg"),
        ("cannot be written as '.jpgg'", "'.jpg'"),
    ),
    "weights for other references": (
        lambda at: fuse_dog(at, "--weights", "1", "2"),
        ("2 weights for 1 references",),
    ),
    "strength": (
        lambda at: fuse_dog(at, "--strength", "80"),
        ("strength is 80.0, but must be from 0 to 1",),
    ),
    "latent with references": (
        lambda at: fuse_dog(at, "--latent", "--domain", "dog"),
        ("takes no references",),
    ),
    "latent without a domain": (
        lambda at: fuse_with(at, "--latent"),
        ("needs a domain", "cat, dog"),
    ),
    "negative seed": (
        lambda at: fuse_with(at, "--latent", "--domain", "dog", "--seed", "-1"),
        ("seed is -1",),
    ),
    "no reference": (
        lambda at: fuse_with(at),
        ("no reference picture",),
    ),
    "unknown model": (
        lambda at: (
            ["fuse", "--source", at.cat, "--reference", at.dog]
            + ["--model", at.to("none"), "--out", at.to("o.png")]
        ),
        ("no such model", "none"),
    ),
    "huge cells": (
        lambda at: ["grid", *fuse_dog(at, "--cell", "1000000")[1:]],
        ("cell is 1000000",),
    ),
    "a region without a picture": (
        lambda at: fuse_dog(at, "--region", "left"),
        ("'left' does not say where and what", "--region left=cat.jpg"),
    ),
    "an unknown region": (
        lambda at: fuse_dog(at, "--region", f"eyess={at.cat}"),
        ("no region 'eyess'", "mask picture"),
    ),
    "a mask that is missing": (
        lambda at: fuse_dog(at, "--region", f"{at.to('m.png')}={at.cat}"),
        ("no such file", "m.png"),
    ),
    "a level that the model has not": (
        lambda at: fuse_dog(at, "--middle", at.cat),
        ("no middle level", "coarse 8 px"),
    ),
    "truncation of references": (
        lambda at: fuse_dog(at, "--truncation", "0.5"),
        ("about latent styles",),
    ),
    "feather without a place": (
        lambda at: fuse_dog(at, "--feather", "0.2"),
        ("feather is about regions", "name a region"),
    ),
    "an angle without variations": (
        lambda at: fuse_dog(at, "--variation-angle", "5"),
        ("variation angle is about variations",),
    ),
    "what a runtime cannot do": (
        lambda at: fuse_dog(at, "--backend", "onnx", "--precision", "bf16", "--compile"),
        ("the backend onnx has no precision bf16 and no compile", "the backend torch"),
    ),
    "weights for another model's references": (
        lambda at: fuse_dog(
            at, "--then", at.model, "--then-reference", at.cat, "--then-weights", "1", "2"
        ),
        ("2 weights for 1 references",),
    ),
    "variations into one picture": (
        lambda at: fuse_dog(at, "--variations", "3"),
        ("3 pictures to write", "name a folder"),
    ),
    "options of a second model without one": (
        lambda at: fuse_dog(at, "--then-domain", "cat"),
        ("a second model", "--then"),
    ),
    "a second model with an unknown domain": (
        lambda at: fuse_dog(at, "--then", at.resnet, "--then-domain", "cta"),
        ("no domain 'cta'", "did you mean 'cat'"),
    ),
    "repeating a picture without settings": (
        lambda at: ["fuse", "--repeat", at.cat, "--out", at.to("o.png")],
        ("holds no settings",),
    ),
    "repeating with other options": (
        lambda at: fuse_dog(at, "--repeat", at.cat),
        ("takes its settings from the picture", "--reference"),
    ),
    "repeating by another backend": (
        lambda at: ["fuse", "--repeat", at.cat, "--backend", "torch", "--out", at.to("o.png")],
        ("takes its settings from the picture",),
    ),
    "a backend that the model has no graphs for": (
        lambda at: fuse_dog(at, "--backend", "onnx"),
        ("has no onnx graphs", "facemeld export --model"),
    ),
    "export of nothing": (
        lambda at: ["export", "--model", at.to("none"), "--out", at.to("o")],
        ("no such model", "none"),
    ),
    "export into a folder with other things": (
        lambda at: ["export", "--out", at.faces],
        ("the folder is not empty", "choose a new one"),
    ),
    "info on two things": (
        lambda at: ["info", at.model, "--preset", "smoke"],
        ("both a model and a preset", "give one of them"),
    ),
    "comparison of a folder that is no run": (
        lambda at: ["compare", at.faces, "--out", at.to("report")],
        ("neither a run folder", "facemeld train --out"),
    ),
    "info on nothing": (
        lambda at: ["info", at.to("none")],
        ("no such model", "none"),
    ),
    "import of nothing": (
        lambda at: ["import-stargan-v2", at.to("none.ckpt"), "--out", at.to("m")],
        ("no such checkpoint", "none.ckpt"),
    ),
    "preparation of nothing": (
        lambda at: ["prepare", at.to("n"), at.to("out")],
        ("there is no such folder", "check the path"),
    ),
    "preparation into itself": (
        lambda at: ["prepare", at.faces, str(Path(at.faces) / "cat" / "out")],
        ("in the folder of the photographs", "choose a folder beside it"),
    ),
    "impossible preparation": (
        lambda at: (
            ["prepare", at.faces, at.to("out"), "--size", "3", "--format", "gif"]
            + ["--processes", "0"]
        ),
        ("size is 3", "format is 'gif'", "processes is 0"),
    ),
    "unknown download": (
        lambda at: ["download", "afqh"],
        ("nothing named 'afqh'", "did you mean 'afhq'?"),
    ),
    "download without accepting its terms": (
        lambda at: ["download", "afhq"],
        ("terms of afhq have to be accepted first: CC BY-NC 4.0", "--accept-licence"),
    ),
    "distillation of an unknown teacher": (
        lambda at: ["distil", "--teacher", "fcaes", "--data", at.faces, "--out", at.to("r")],
        ("no such model", "did you mean 'faces'"),
    ),
    "distillation without pictures of a domain": (
        lambda at: ["distil", "--teacher", "faces", "--data", at.faces, "--out", at.to("r")],
        ("there is no domain 'anime'", "pictures"),
    ),
    "distillation with too few fakes": (
        lambda at: (
            ["distil", "--teacher", at.model, "--data", at.faces, "--out", at.to("r")]
            + ["--fakes", "3"]
        ),
        ("fakes is 3", "0 leaves the light evaluation out"),
    ),
    "evaluation without pictures": (
        lambda at: ["evaluate", "--data", at.to("n"), "--reals", at.faces, "--model", at.model],
        ("there is no such folder",),
    ),
    "evaluation of a folder that is not there": (
        lambda at: ["evaluate", "--data", at.to("n"), "--model", at.model],
        ("there is no such folder", "check the path"),
    ),
    "evaluation without a folder for what takes long": (
        lambda at: ["evaluate", "--data", at.faces, "--model", at.model, "--protocol", "clean"],
        ("--out",),
    ),
    "evaluation against nothing": (
        lambda at: ["evaluate", "--data", at.faces, "--model", at.model],
        ("no real pictures", "--reals"),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_three_lines(
    name: str, at: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, expected = MISTAKES[name]
    before = sorted(Path(at.out).iterdir())
    told = fails(arguments(at), capsys)
    lines = told.splitlines()
    assert lines[0].startswith("error: ") and len(lines) <= 3
    assert all(line.startswith(("  where: ", "  fix:   ")) for line in lines[1:])
    assert all(part in told for part in expected), told
    assert sorted(Path(at.out).iterdir()) == before


def test_a_typo_in_an_option_suggests_the_right_one(
    at: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    told = fails(["train", "--preset", "smoke", "--dta", at.faces], capsys)
    assert "--dta" in told and "--data" in told
    told = fails(["fus", "--source", at.cat], capsys)
    assert "fus" in told and "fuse" in told


def test_debug_shows_where_a_mistake_was_noticed(at: Places) -> None:
    with pytest.raises(UserError, match="no such model"):
        main(["info", at.to("none"), "--debug"])


def test_options_override_the_file(
    at: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_toml(preset("smoke"), tmp_path / "run.toml")
    # the first problem is the file's, the second one the option's
    text = (tmp_path / "run.toml").read_text().replace("ema = 0.999", "ema = 7.0")
    (tmp_path / "run.toml").write_text(text)
    arguments = ["train", "--config", str(tmp_path / "run.toml"), "--data", at.faces]
    arguments += ["--out", at.to("r"), "--seed", "-4", "--set", "network.style_size=0"]
    told = fails(arguments, capsys)
    assert all(part in told for part in ("ema is 7.0", "seed is -4", "style_size is 0"))


# -- without torch ----------------------------------------------------------------------------

_RUN_ALL = """
import json, sys
from facemeld.cli import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as end:
        code = end.code
    else:
        code = 0
    heavy = sorted({"torch", "tensorboard", "safetensors"} & sys.modules.keys())
    print("\\n" + json.dumps([arguments, code, heavy]))
"""


def test_help_and_mistakes_do_without_torch(at: Places) -> None:
    runs = [(["--help"], 0), (["--version"], 0), (["presets"], 0)]
    runs += [([command, "--help"], 0) for command in COMMANDS]
    runs += [(arguments(at), 2) for arguments, _ in MISTAKES.values()]
    done = subprocess.run(
        [sys.executable, "-c", _RUN_ALL, json.dumps([arguments for arguments, _ in runs])],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(facemeld.__file__).parents[1])},
        timeout=60,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[[")]
    assert len(found) == len(runs), done.stderr
    assert [(arguments, code, heavy) for arguments, code, heavy in found] == [
        (arguments, code, []) for arguments, code in runs
    ]


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    command = f"{sys.executable} -m facemeld download | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1 and done.stderr == ""
