"""Folders full of broken pictures: prepare accounts for every file and never falls over."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemeld.data.prepare import PrepareOptions, prepare

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")


def photograph(kind: str, seed: int) -> bytes:
    """A picture with metadata that can break."""
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = seed % 8 + 1
    exif[0x010E] = "a description"
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({} if kind in ("GIF", "BMP") else {"exif": exif}))
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore")
def test_flipped_bytes_are_kept_or_rejected(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "in" / "x").mkdir(parents=True)
    count = 0
    for kind in KINDS:
        for seed in range(30):
            content = np.frombuffer(photograph(kind, seed), np.uint8).copy()
            head = min(len(content), 300)
            content[random.integers(0, head, 1 + seed % 6)] = random.integers(0, 256, 1 + seed % 6)
            (tmp_path / "in" / "x" / f"{kind}{seed}.jpg").write_bytes(content.tobytes())
            count += 1
    (tmp_path / "in" / "x" / "good.png").write_bytes(photograph("PNG", 999))
    prepare(tmp_path / "in", tmp_path / "out", PrepareOptions(size=16), processes=1)
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    records = {record["source"]: record for record in map(json.loads, lines)}
    assert len(records) == count + 1 and "result" in records["x/good.png"]
    assert all(("result" in record) != ("rejected" in record) for record in records.values())
    results = [r for r in records.values() if "result" in r]
    assert 10 < len(results) < count
    for record in results:
        with Image.open(tmp_path / "out" / record["result"]) as image:
            assert image.size == (16, 16) and image.mode == "RGB"


def test_bombs_cost_little(tmp_path: Path) -> None:
    import tracemalloc

    (tmp_path / "in" / "x").mkdir(parents=True)
    (tmp_path / "in" / "x" / "good.png").write_bytes(photograph("PNG", 1))
    Image.new("1", (60_000, 1_000)).save(tmp_path / "in" / "x" / "wide.png")
    with (tmp_path / "in" / "x" / "sparse.png").open("wb") as file:
        file.truncate(10**12)
    tracemalloc.start()
    try:
        done = prepare(tmp_path / "in", tmp_path / "out", PrepareOptions(size=16), processes=1)
        assert tracemalloc.get_traced_memory()[1] < 120e6
    finally:
        tracemalloc.stop()
    assert sorted(done.reasons.values()) == [1, 1]
