"""What a pipeline computes again, and what it remembers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemeld.fusion.cache import RecentlyUsed
from facemeld.fusion.encodings import Encodings
from facemeld.fusion.inputs import read_input
from facemeld.fusion.pipeline import FusionPipeline


@pytest.fixture
def passes(pipe: FusionPipeline, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """How often each of the networks of a pipeline without memories was asked."""
    counted: Counter = Counter()
    for name in ("encode", "decode", "describe", "map_latents"):

        def ask(*given, own=getattr(pipe.backend, name), name=name, **options):
            counted[name] += 1
            return own(*given, **options)

        monkeypatch.setattr(pipe.backend, name, ask)
    monkeypatch.setattr(pipe, "encodings", Encodings(pipe.backend))
    return counted


def test_moving_a_control_costs_one_pass_of_the_decoder(
    pipe: FusionPipeline, passes: Counter, cats: list[Path], dogs: list[Path]
) -> None:
    pipe(cats[0], [dogs[0], cats[1]], strength=0.5)
    assert passes == {"encode": 1, "describe": 3, "decode": 1}
    passes.clear()
    pipe(cats[0], [dogs[0], cats[1]], strength=0.7, weights=[1, 3], domain="dog")
    assert passes == {"decode": 1}
    passes.clear()
    pipe(cats[0], latent=True, domain="cat", truncation=0.5)
    pipe(cats[0], latent=True, domain="dog", truncation=0.6, seed=1)
    assert passes == {"decode": 2, "map_latents": 3}  # the mean styles of all domains once


def test_pictures_are_known_by_their_pixels(
    pipe: FusionPipeline, passes: Counter, cats: list[Path], dogs: list[Path]
) -> None:
    first = pipe(cats[0], dogs[0]).images[0]
    with Image.open(cats[0]) as source, Image.open(dogs[0]) as reference:
        again = pipe(source, reference).images[0]
        source.putpixel((8, 8), (255, 0, 0))
        other = pipe(source, reference).images[0]
    assert again.tobytes() == first.tobytes() != other.tobytes()
    assert passes["encode"] == 2 and passes["describe"] == 1


def test_what_is_remembered_is_what_would_be_computed(
    pipe: FusionPipeline, cats: list[Path], dogs: list[Path]
) -> None:
    for _ in range(2):
        for reference in dogs[:3]:
            pipe(cats[:3], reference, strength=0.4)
    fresh = FusionPipeline(pipe.backend)
    for source in cats[:3]:
        one = pipe(source, dogs[1], strength=0.4).images[0]
        assert one.tobytes() == fresh(source, dogs[1], strength=0.4).images[0].tobytes()


def test_memory_is_bounded(pipe: FusionPipeline, passes: Counter, cats: list[Path]) -> None:
    pipe.encodings = Encodings(pipe.backend, most_bytes=40_000)
    contents = pipe.encodings.contents
    rows = [read_input(cat) for cat in cats]
    sizes = [sum(part.nbytes for part in content) for content in contents(rows)]
    assert sum(sizes) > 40_000 > 2 * max(sizes)
    contents([rows[-1]])
    assert passes["encode"] == len(cats)
    contents([rows[0]])
    assert passes["encode"] == len(cats) + 1


def test_the_least_recently_used_goes_first() -> None:
    kept = RecentlyUsed(30)
    for key in "abc":
        kept.put(key, np.full(2, ord(key)), 10)
    assert kept.get("a")[0] == ord("a")
    kept.put("d", "d", 10)
    assert [kept.get(key) is not None for key in "abcd"] == [True, False, True, True]
    kept.put("d", "larger", 20)
    assert kept.get("d") == "larger" and len(kept) == 2
    kept.put("e", "too large", 99)
    assert kept.get("e") == "too large" and len(kept) == 1
