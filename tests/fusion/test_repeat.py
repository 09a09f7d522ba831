"""Results that are made again from their settings, fusions of fusions, and foreign sources."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemeld.errors import UserError
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.fusion.recall import recall
from facemeld.fusion.repeat import Recalled
from facemeld.images import read_picture, write_picture


@pytest.fixture(scope="module")
def pipe(projected_model: Path) -> FusionPipeline:
    return FusionPipeline.from_pretrained(projected_model)


class Kitchen:
    """A folder of inputs with different names, and one of results."""

    def __init__(self, faces: Path, model: Path, folder: Path) -> None:
        self.inputs, self.model, self.result = folder / "in" / "deep", model, folder / "r.png"
        self.inputs.mkdir(parents=True)
        for index, path in enumerate(sorted(faces.glob("*/*.png"))[:14:2]):
            shutil.copy(path, self.inputs / f"{index}.png")
        mask = np.zeros((20, 20), np.uint8)
        mask[5:15, 5:15] = 255
        Image.fromarray(mask).save(self.inputs / "mask.png")

    def __getitem__(self, name: int | str) -> Path:
        return self.inputs / f"{name}.png"

    def recall(self, **options) -> Recalled:
        options = {"models": ["faces", str(self.model)]} | options
        return recall(self.result, [self.inputs.parent], **options)


@pytest.fixture
def kitchen(faces: Path, projected_model: Path, tmp_path: Path) -> Kitchen:
    return Kitchen(faces, projected_model, tmp_path)


ORDERS: dict[str, Callable[[Kitchen], dict]] = {
    "references": lambda k: dict(
        references=[k[1], k[2], k[3]], weights=[1, 1, 5], strength=0.7, interpolation="spherical"
    ),
    "levels and regions": lambda k: dict(
        levels={"fine": k[1]}, regions=[("left", k[2]), (k["mask"], k[3])], feather=0.05
    ),
    "two sources": lambda k: dict(
        references=k[1], second_source=k[2], source_mix=0.3, colour_match=0.4, size=40
    ),
    "latent": lambda k: dict(
        latent=True, domain="dog", seed=9, truncation=0.6, variations=[4], content_strength=0.5
    ),
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_result_repeats_to_the_bit(order: str, kitchen: Kitchen, pipe: FusionPipeline) -> None:
    made = pipe(kitchen[0], **ORDERS[order](kitchen))
    write_picture(made.images[0], kitchen.result, settings=made.settings[0])
    again = kitchen.recall().run()
    assert again.settings == [json.loads(json.dumps(made.settings[0]))]
    assert again.images[0].tobytes() == made.images[0].tobytes()
    assert again.images[0].tobytes() == read_picture(kitchen.result).tobytes()


def test_settings_name_the_inputs_and_prove_them(kitchen: Kitchen, pipe: FusionPipeline) -> None:
    made = pipe(kitchen[0], **ORDERS["levels and regions"](kitchen)).settings[0]
    assert made["source"] == "0.png" and made["levels"] == {"fine": "1.png"}
    assert made["regions"] == [["left", "2.png"], ["mask.png", "3.png"]]
    hashes = made["sha256"]
    assert hashes["source"] == sha256(kitchen[0].read_bytes()).hexdigest()
    assert hashes["regions"][0] == [None, sha256(kitchen[2].read_bytes()).hexdigest()]
    weights = kitchen.model / "model.safetensors"
    assert made["model_sha256"] == sha256(weights.read_bytes()).hexdigest()


def test_the_source_can_be_another(kitchen: Kitchen, pipe: FusionPipeline) -> None:
    made = pipe(kitchen[0], kitchen[1], strength=0.5)
    write_picture(made.images[0], kitchen.result, settings=made.settings[0])
    kitchen[0].unlink()
    again = kitchen.recall(source=kitchen[4]).run().images[0]
    assert again.tobytes() == pipe(kitchen[4], kitchen[1], strength=0.5).images[0].tobytes()


def test_a_cascade_is_two_fusions_and_repeats(
    kitchen: Kitchen, pipe: FusionPipeline, resnet_model: Path
) -> None:
    second = FusionPipeline.from_pretrained(resnet_model)
    first = pipe([kitchen[0], kitchen[1]], kitchen[2])
    made = second(first, kitchen[3], domain="dog")
    for index in (0, 1):
        write_picture(first.images[index], kitchen.result, settings=None)
        single = second(kitchen.result, kitchen[3], domain="dog")
        assert single.images[0].tobytes() == made.images[index].tobytes()
        assert made.settings[index]["source"] == first.settings[index]
    write_picture(made.images[1], kitchen.result, settings=made.settings[1])
    models = [str(kitchen.model), str(resnet_model)]
    again = kitchen.recall(models=models).run().images[0]
    assert again.tobytes() == made.images[1].tobytes()


@pytest.mark.parametrize("what", ["drawing", "grey", "noise"])
def test_a_source_of_any_kind_is_accepted(what: str, kitchen: Kitchen, pipe: FusionPipeline):
    random = np.random.default_rng(0)
    pictures = {
        "drawing": Image.new("RGB", (90, 50), "white"),
        "grey": Image.new("L", (7, 7), 90),
        "noise": Image.fromarray(random.integers(0, 256, (33, 20, 4), np.uint8)),
    }
    options = {"strength": 0.5, "second_source": kitchen[1], "levels": {"coarse": kitchen[2]}}
    assert pipe(pictures[what], kitchen[3], **options).images[0].size == (16, 16)


# -- mistakes -----------------------------------------------------------------------------------


def change(path: Path) -> None:
    with Image.open(path) as image:
        image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)


DAMAGES: dict[str, tuple[Callable[[Kitchen, dict], object], str, str]] = {
    "missing": (lambda k, s: k[1].unlink(), "1.png was not found", "--inputs"),
    "changed": (lambda k, s: change(k[1]), "SHA-256 differs", "find the one with SHA-256"),
    "outside": (
        lambda k, s: s.update(references=["../../../etc/passwd"]),
        "passwd was not found",
        "--inputs",
    ),
    "in memory": (lambda k, s: s["sha256"].update(source=None), "in no file", ""),
    "no hashes": (lambda k, s: s.pop("sha256"), "are damaged", ""),
    "text for a number": (lambda k, s: s.update(strength="much"), "are damaged", ""),
    "number for a name": (lambda k, s: s.update(source=3), "are damaged", ""),
    "lists of other lengths": (lambda k, s: s.update(references=[]), "are damaged", ""),
    "another model": (lambda k, s: s.update(model_sha256="0" * 64), "not at hand", "--model"),
    "a path as the model": (
        lambda k, s: s.update(model="/etc", model_sha256="0"),
        "not at hand",
        "--model",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_cannot_be_repeated_says_why(
    name: str, kitchen: Kitchen, pipe: FusionPipeline
) -> None:
    damage, what, fix = DAMAGES[name]
    settings = pipe(kitchen[0], kitchen[1]).settings[0]
    damage(kitchen, settings)
    write_picture(Image.new("RGB", (4, 4)), kitchen.result, settings=settings)
    with pytest.raises(UserError) as caught:
        kitchen.recall()
    assert what in caught.value.what and fix in caught.value.fix


def test_a_picture_without_settings_cannot_be_repeated(kitchen: Kitchen) -> None:
    shutil.copy(kitchen[0], kitchen.result)
    with pytest.raises(UserError, match="holds no settings"):
        kitchen.recall()
