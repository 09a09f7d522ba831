"""Results of faces that were found in photographs are made again, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_portraits import photograph
from PIL import Image

from facemeld.cli import main
from facemeld.errors import UserError
from facemeld.fusion.recall import recall
from facemeld.images import read_picture, read_settings, write_picture


class Album:
    """Photographs with one and with two faces, and a result made of them."""

    def __init__(self, folder: Path, model: Path, faces: Path) -> None:
        self.folder, self.model, self.dog = folder, model, faces / "dog" / "00.png"
        self.result = folder / "result.png"
        one, two = (
            np.asarray(photograph(np.array([[s, 0, x], [0, s, 30.0]]), (320, 200)))
            for s, x in ((0.42, 5.0), (0.56, 150.0))
        )
        self.pair, self.single = folder / "pair.png", folder / "single.png"
        Image.fromarray(np.concatenate([one[:, :130], two[:, 130:]], axis=1)).save(self.pair)
        Image.fromarray(two).save(self.single)

    def fuse(self, *options: str) -> None:
        command = ["fuse", "--source", str(self.pair), "--align", "human", "--model"]
        main([*command, str(self.model), "--out", str(self.result), *map(str, options)])

    def again(self, *options: str) -> Path:
        out = self.folder / "again.png"
        command = ["fuse", "--repeat", str(self.result), "--model", str(self.model)]
        main([*command, "--out", str(out), *map(str, options)])
        return out


@pytest.fixture
def album(tmp_path: Path, projected_model: Path, faces: Path) -> Album:
    return Album(tmp_path, projected_model, faces)


@pytest.fixture(scope="module")
def fused(tmp_path_factory, projected_model: Path, faces: Path) -> Album:
    """A result of an aligned source and an aligned reference; for reading."""
    album = Album(tmp_path_factory.mktemp("album"), projected_model, faces)
    album.fuse("--reference", album.single)
    return album


ORDERS = {
    "a face": ["--reference", "{single}", "--strength", "0.7"],
    "pasted back": ["--reference", "{dog}", "{single}", "--paste-back", "--size", "40"],
    "all faces": ["--fine", "{single}", "--region", "left={single}", "--paste-back"]
    + ["--faces", "all"],
    "a cascade": ["--reference", "{single}", "--paste-back", "--then", "{model}"]
    + ["--then-reference", "{dog}"],
    "two sources": ["--reference", "{dog}", "--second-source", "{single}"],
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_result_repeats_to_the_bit(order: str, album: Album) -> None:
    places = {"single": album.single, "dog": album.dog, "model": album.model}
    album.fuse(*(option.format(**places) for option in ORDERS[order]))
    again = album.again("--inputs", str(album.dog.parent))
    assert read_picture(again).tobytes() == read_picture(album.result).tobytes()
    assert read_settings(again) == read_settings(album.result)


def test_the_references_are_aligned_as_they_were(fused: Album) -> None:
    settings = read_settings(fused.result)
    placed = settings["placed"]["references"][0]
    assert placed["size"] == 16
    placed["matrix"][0][2] += 3
    changed, before = fused.folder / "changed.png", read_picture(fused.result)
    write_picture(before, changed, settings=settings)
    again = recall(changed, [], models=[str(fused.model)]).run().images[0]
    assert again.tobytes() != before.tobytes()


DAMAGES = {
    "no face": lambda s: s.update(aligned=[]),
    "a face of any size": lambda s: s["aligned"][0].update(size=10**9),
    "a broken matrix": lambda s: s["aligned"][0].update(matrix=[[1, 0, 0]]),
    "no number": lambda s: s["aligned"][0].update(matrix=[[1, 0, float(3)], [0, "x", 0]]),
    "a sheared face": lambda s: s["aligned"][0].update(matrix=[[1, 0, 0], [0.5, 1, 0]]),
    "a point": lambda s: s["aligned"][0].update(matrix=[[0, 0, 0], [0, 0, 0]]),
    "a reference far away": lambda s: s["placed"]["references"][0].update(
        matrix=[[1, 0, 1e300], [0, 1, 0]]
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_places_are_refused(name: str, fused: Album) -> None:
    settings = read_settings(fused.result)
    DAMAGES[name](settings)
    damaged = fused.folder / "damaged.png"
    write_picture(read_picture(fused.result), damaged, settings=settings)
    with pytest.raises(UserError, match="damaged"):
        recall(damaged, [], models=[str(fused.model)])


def test_another_source_has_no_place(fused: Album, capsys) -> None:
    with pytest.raises(SystemExit):
        fused.again("--source", str(fused.single))
    assert "whose places another source does not have" in capsys.readouterr().err
