"""facemeld fuse on photographs, facemeld align on one, and masks for masked models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_portraits import EYES_AND_MOUTH, photograph, portrait
from PIL import Image, ImageOps

from facemeld.cli import main
from facemeld.config import NetworkConfig
from facemeld.errors import UserError
from facemeld.faces.geometry import transform
from facemeld.faces.masks import REGIONS as faces_regions
from facemeld.fusion.inputs import Input
from facemeld.fusion.looks import Looks
from facemeld.fusion.passes import encode_sources
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.fusion.regions import FACE_PARTS
from facemeld.fusion.request import Controls
from facemeld.fusion.skip_masks import load_masker
from facemeld.fusion.torch_backend import TorchBackend
from facemeld.images import is_marked_synthetic, read_picture, read_settings
from facemeld.networks.bundle import Networks, save_model

PLACES = np.array([[0.6, 0, 20.0], [0, 0.6, 60.0]]), np.array([[0.9, 0, 220.0], [0, 0.9, 70.0]])


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A photograph with a small and a large face."""
    one = np.asarray(photograph(PLACES[0], (480, 360)))
    two = np.asarray(photograph(PLACES[1], (480, 360)))
    both = np.concatenate([one[:, :200], two[:, 200:]], axis=1)
    path = tmp_path / "scene.png"
    Image.fromarray(both).save(path)
    return path


def eyes(place: np.ndarray) -> tuple[int, ...]:
    left, right = transform(place, EYES_AND_MOUTH[:2] * 256).mean(0).astype(int)
    return int(left), int(right)


def test_paste_back_changes_the_largest_face_only(scene, tmp_path, faces, projected_model, capsys):
    out = tmp_path / "out.png"
    arguments = ["--source", str(scene), "--reference", str(faces / "cat" / "00.png")]
    arguments += ["--model", str(projected_model), "--align", "human"]
    main(["fuse", *arguments, "--paste-back", "--out", str(out)])
    before, after = np.asarray(read_picture(scene)), np.asarray(read_picture(out))
    changed = (before != after).any(2)
    x, y = eyes(PLACES[1])
    assert changed[y, x] and not changed[:, :200].any() and not changed[0].any()
    assert changed.mean() < 0.5
    settings = read_settings(out)
    assert is_marked_synthetic(out) and settings["paste_back"] and settings["source"] == scene.name
    assert settings["aligned"][0]["kind"] == "human"
    assert "scene.png" not in capsys.readouterr().out

    main(["fuse", *arguments, "--paste-back", "--faces", "all", "--out", str(out)])
    changed = (before != np.asarray(read_picture(out))).any(2)
    assert all(changed[y, x] for x, y in map(eyes, PLACES))


def test_align_alone_gives_a_picture_for_each_face(scene, tmp_path, faces, projected_model, capsys):
    arguments = ["--source", str(scene), "--reference", str(faces / "cat" / "00.png")]
    arguments += ["--model", str(projected_model), "--align", "human"]
    main(["fuse", *arguments, "--faces", "all", "--out", str(tmp_path / "many")])
    assert len(list((tmp_path / "many").iterdir())) >= 2
    main(["fuse", *arguments, "--out", str(tmp_path / "one.png")])
    assert read_picture(tmp_path / "one.png").size == (16, 16)
    with pytest.raises(SystemExit) as caught:
        main(["fuse", *arguments, "--faces", "all", "--out", str(tmp_path / "two.png")])
    assert caught.value.code == 2 and "--out names one" in capsys.readouterr().err


def test_what_cannot_be_pasted_back_is_told(tmp_path, faces, projected_model, capsys):
    plain = tmp_path / "plain.png"
    Image.new("RGB", (80, 80), "navy").save(plain)
    common = ["--reference", str(faces / "cat" / "00.png"), "--model", str(projected_model)]
    for arguments, words in (
        (["--source", str(plain), "--paste-back"], "no face was found"),
        (["--source", str(plain), "--faces", "all"], "--faces is about photographs"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["fuse", *common, *arguments, "--out", str(tmp_path / "x.png")])
        assert caught.value.code == 2 and words in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_align_one_photograph(scene, tmp_path, capsys):
    out = tmp_path / "face.png"
    main(["align", str(scene), str(out), "--domain", "human", "--size", "48", "--json"])
    (entry,) = json.loads(capsys.readouterr().out)
    assert read_picture(out).size == (48, 48) and not is_marked_synthetic(out)
    assert entry["kind"] == "human" and np.array(entry["matrix"]).shape == (2, 3)
    with pytest.raises(SystemExit):
        main(["align", str(scene), str(scene), "--domain", "human"])
    assert "the output is the input" in capsys.readouterr().err


def test_align_a_folder_by_the_command_line(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    portrait(96).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.jpg").write_bytes(b"")
    main(["align", str(tmp_path / "in"), str(tmp_path / "out"), "--domain", "human"])
    told = capsys.readouterr()
    assert told.out.startswith("1 faces (1 human) in 1 photographs of 2 files")
    assert "b.jpg: the picture is empty" in told.err


def masked_model() -> Networks:
    torch.manual_seed(0)
    config = NetworkConfig(
        domains=("a", "b"),
        image_size=32,
        widths=(8, 8, 8),
        style_encoder_widths=(8, 8, 8, 8),
        skips="masked",
        skip_resolutions=(16, 32),
    )
    return Networks(config)


def test_a_masked_model_gets_masks_or_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path))
    save_model(masked_model(), tmp_path / "model", card="")
    for build in (
        lambda: FusionPipeline(TorchBackend(masked_model()), weights_dir=tmp_path),
        lambda: FusionPipeline.from_networks(masked_model(), weights_dir=tmp_path),
        lambda: FusionPipeline.from_pretrained(tmp_path / "model", weights_dir=tmp_path),
    ):
        with pytest.raises(UserError, match="no landmark network is at hand") as caught:
            build()
        assert "wing" in caught.value.fix and "openseeface" in caught.value.fix
    asked = []

    def masker(pictures: torch.Tensor) -> torch.Tensor:
        asked.append(pictures.shape)
        return torch.ones(len(pictures), 2, 256, 256)

    monkeypatch.setattr("facemeld.fusion.skip_masks.load_masker", lambda weights_dir: masker)
    pipe = FusionPipeline.from_networks(masked_model())
    plain = pipe.translate(pipe.prepare([portrait(64)]), torch.zeros(1, 64))
    fused = pipe([portrait(64)] * 2, [portrait(64)], domain="a").images
    assert asked == [(1, 3, 32, 32)] and len(fused) == 2, "equal pictures are looked at once"
    pipe.grid([portrait(64)], [portrait(64)] * 3, domain="b")
    assert asked[1:] == []
    masks = torch.ones(1, 2, 256, 256)
    masked = pipe.translate(pipe.prepare([portrait(64)]), torch.zeros(1, 64), masks)
    assert (masked - plain).abs().max() > 1e-3, "the skips carry something"


def test_the_masks_of_two_sources_are_blended_like_their_contents(monkeypatch):
    def masker(pictures: torch.Tensor) -> torch.Tensor:  # bright places
        bright = pictures.mean(dim=1, keepdim=True).add(1).div(2).repeat(1, 2, 1, 1)
        return torch.nn.functional.interpolate(bright, size=(256, 256))

    monkeypatch.setattr("facemeld.fusion.skip_masks.load_masker", lambda weights_dir: masker)
    pipe = FusionPipeline.from_networks(masked_model())
    one, other = portrait(64), ImageOps.invert(portrait(64).rotate(90))

    def fused(source: Image.Image, **options) -> np.ndarray:
        return np.asarray(pipe(source, portrait(64), domain="a", **options).images[0], int)

    ends = fused(one), fused(other)
    assert np.abs(ends[0] - ends[1]).max() > 30
    for mix, end in enumerate(ends):
        assert np.array_equal(fused(one, second_source=other, source_mix=mix), end)
    half = pipe.skip_masks([Input(one)]) / 2 + pipe.skip_masks([Input(other)]) / 2
    middle = Looks(second_source=Input(other))
    (encoded,) = encode_sources(pipe, [Input(one)], middle, Controls(), own_style=False)
    np.testing.assert_allclose(encoded.skip_masks, half, atol=1e-6)


def test_a_source_without_landmarks_is_told_once(tmp_path, monkeypatch):
    portrait(64).save(tmp_path / "cat.png")
    save_model(masked_model(), tmp_path / "model", card="")

    def masker(pictures: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(pictures), 2, 256, 256)

    monkeypatch.setattr("facemeld.fusion.skip_masks.load_masker", lambda weights_dir: masker)
    notes = []
    pipe = FusionPipeline.from_pretrained(tmp_path / "model", on_note=notes.append)
    for _ in range(2):
        pipe(tmp_path / "cat.png", portrait(64), domain="a")
    assert len(notes) == 1 and notes[0].startswith("no human face was found in cat.png")


def test_the_official_network_gives_the_masks_if_it_is_there(tmp_path):
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "networks"))
    import official_landmarks

    torch.save({"state_dict": official_landmarks.weights()}, tmp_path / "wing.ckpt")
    masks = load_masker(tmp_path)(torch.zeros(1, 3, 64, 64))
    assert masks.shape == (1, 2, 256, 256) and masks.std() > 0.01


def test_a_damaged_landmark_network_is_told_not_passed_over(tmp_path):
    (tmp_path / "openseeface_lm_model0_opt.onnx").write_bytes(b"half of it")
    with pytest.raises(UserError, match="not the published file"):
        load_masker(tmp_path)
    with pytest.raises(UserError, match="no landmark network is at hand") as caught:
        load_masker(tmp_path / "nowhere")
    assert "download wing" in caught.value.fix and "download openseeface" in caught.value.fix


def test_parts_of_a_face_take_a_look_of_their_own(scene, tmp_path, faces, projected_model):
    """eyes and mouth change, what is around the face does not"""
    pipe = FusionPipeline.from_pretrained(projected_model)
    source, cat, dog = portrait(128), faces / "cat" / "00.png", faces / "dog" / "00.png"
    masks = pipe.face_parts(Input(source), 16, ["eyes", "mouth"], feather=0.05)
    plain = np.asarray(pipe(source, cat).images[0], int)
    found = np.asarray(pipe(source, cat, regions={"eyes": dog, "mouth": dog}).images[0], int)
    inside = masks["eyes"] + masks["mouth"]
    changed = np.abs(found - plain).max(axis=2)
    assert changed[inside == 0].max(initial=0) == 0 and changed[inside > 0.5].mean() > 3


def test_parts_have_soft_edges_and_follow_the_second_source(faces, projected_model):
    pipe = FusionPipeline.from_pretrained(projected_model)
    cat, dog = faces / "cat" / "00.png", faces / "dog" / "00.png"
    source, lower = portrait(128), Image.new("RGB", (128, 128))
    lower.paste(portrait(128), (0, 30))

    def fused(source: Image.Image, **options) -> np.ndarray:
        regions = {"eyes": dog, "mouth": dog}
        return np.asarray(pipe(source, cat, regions=regions, **options).images[0], int)

    plain = np.asarray(pipe(source, cat).images[0], int)
    changed = [np.abs(fused(source, feather=f) - plain).max(axis=2) for f in (0, 0.3)]
    assert (changed[0] == 0).sum() > (changed[1] == 0).sum()
    for mix, alone in enumerate((source, lower)):
        both = fused(source, second_source=lower, source_mix=mix)
        assert np.array_equal(both, fused(alone))


def test_every_part_has_a_name():
    assert FACE_PARTS == faces_regions


def test_photographs_take_every_control(scene, tmp_path, faces, projected_model):
    out = tmp_path / "many"
    main(
        ["fuse", "--source", str(scene), "--reference", str(faces / "cat" / "00.png")]
        + ["--model", str(projected_model), "--align", "human", "--paste-back"]
        + ["--fine", str(faces / "dog" / "00.png"), "--variations", "2", "--out", str(out)]
    )
    made = sorted(out.iterdir())
    settings = [read_settings(path) for path in made]
    assert [s["variation"] for s in settings] == [1, 2] and settings[0]["levels"] == {
        "fine": "00.png"
    }
    assert [len(s["sha256"]["source"]) for s in settings] == [64, 64]
    assert read_picture(made[0]).size == read_picture(scene).size
