"""Compares pictures a second of the data path with what the official loader does to each picture.

    python benchmarks/data_against_stargan_v2.py [--data DIR] [--size 256]

The official loader decodes every picture at every use: Pillow's decoder, a random crop (scale 0.8
to 1, ratio 0.9 to 1.1) of half of the pictures, bilinear resizing, mirroring of half, then
torchvision's ToTensor and Normalize. torchvision does not install beside every PyTorch, so its
steps are written out here with the same calls to Pillow and PyTorch that it makes. Ours decodes a
picture once (`facemeld.data.store`), and makes batches with the same crops and mirroring from the
cache. All in one thread, by the processor's clock: pictures a second a core. The parts take turns,
so that other work on the machine slows them alike.

Also told: how far each way of shrinking is from decoding in full and shrinking with Lanczos (PSNR).
Without --data, the pictures are JPEGs (quality 92) with detail of every size, made up.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facemeld.data.cache import cached_pictures
from facemeld.data.folders import scan_domains
from facemeld.data.sampling import BatchSampler
from facemeld.data.store import load_pictures

SOURCES = 8
MEAN = DEVIATION = torch.full((3, 1, 1), 0.5)


def official(file: Path, size: int) -> torch.Tensor:
    """What the official loader does to one picture. -> 3 H W"""
    with file.open("rb") as opened:
        image = Image.open(opened).convert("RGB")
    width, height = image.size
    if random.random() < 0.5:
        area = width * height * random.uniform(0.8, 1.0)
        ratio = np.exp(random.uniform(np.log(0.9), np.log(1.1)))
        w = min(round((area * ratio) ** 0.5), width)
        h = min(round((area / ratio) ** 0.5), height)
        left, top = random.randint(0, width - w), random.randint(0, height - h)
        image = image.crop((left, top, left + w, top + h))
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))
    tensor = pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)
    return tensor.clone().sub_(MEAN).div_(DEVIATION)


def make_pictures(folder: Path, side: int, count: int) -> None:
    """JPEGs whose detail falls off as that of photographs does (1/f)."""
    chance = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(side)] * 2)) + 1 / side
    for domain in ("a", "b"):
        (folder / domain).mkdir(parents=True)
        for index in range(count):
            noise = np.fft.fft2(chance.standard_normal((3, side, side)))
            picture = np.fft.ifft2(noise / frequency).real
            picture = 0.8 * picture[:1] + 0.2 * picture  # mostly grey, as pictures are
            picture = 128 + 50 * (picture - picture.mean()) / picture.std()
            pixels = picture.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
            Image.fromarray(pixels).save(folder / domain / f"{index}.jpg", quality=92)


def rate(work: Callable[[], int]) -> float:
    """Pictures a second of processor time; ``work`` returns how many it made."""
    began = time.process_time()
    pictures = work()
    return pictures / (time.process_time() - began)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else np.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of domains with JPEGs")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--pictures", type=int, default=32, help="how many are made up")
    parser.add_argument("--side", type=int, help="their side; else twice the size")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = options.data
        if data is None:
            data = Path(folder) / "pictures"
            make_pictures(data, options.side or 2 * options.size, options.pictures // 2)
        compare(data, options.size, options.rounds, Path(folder) / "cache")


def compare(data: Path, size: int, rounds: int, cache: Path) -> None:
    folders = scan_domains(data)
    files = [file for domain in folders.files for file in domain]
    store = cached_pictures(folders, size, cache)
    sampler = BatchSampler(store, sources=SOURCES, latent_size=16, seed=0, crop_probability=0.5)
    steps = iter(range(10**9))

    def by_official() -> int:
        torch.stack([official(file, size) for file in files])
        return len(files)

    def decoding() -> int:
        load_pictures(folders, size, workers=1)
        return len(files)

    def from_cache() -> int:
        for _ in range(8):
            sampler.batch(next(steps))
        return 8 * 3 * SOURCES  # a source comes with two references

    def bytes_from_cache() -> int:
        turned = np.zeros((SOURCES, 3), bool)
        turned[::2] = True
        chance = np.random.default_rng(next(steps))
        for _ in range(8):
            kinds = chance.integers(len(sampler.counts), size=(SOURCES, 3))
            picks = chance.integers(sampler.counts[kinds])
            sampler._pixels(kinds, picks, turned, sampler._crop_boxes(chance, (SOURCES, 3)))
        return 8 * 3 * SOURCES

    def decoding_and_batches() -> int:
        own = load_pictures(folders, size, workers=1)
        once = BatchSampler(own, sources=1, latent_size=16, seed=0, crop_probability=0.5)
        for step in range(len(files) // 3):
            once.batch(step)
        return len(files)

    ways = {
        "the official loader": by_official,
        "decoding alone": decoding,
        "decoding, then a batch of it": decoding_and_batches,
        "batches from the cache": from_cache,
        "the same as bytes, for another device": bytes_from_cache,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, work in ways.items():
            speed = rate(work)
            if turn:  # the first round warms up
                found[name].append(speed)
    size_kb = statistics.mean(file.stat().st_size for file in files) / 1e3
    print(f"{len(files)} JPEGs of {size_kb:.0f} kB on average, to {size} px\n")
    base = found["the official loader"]
    print("| way | pictures a second a core | times the official loader |\n|---|---|---|")
    for name, speeds in found.items():
        ratios = [a / b for a, b in zip(speeds, base)]
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        print(
            f"| {name} | {statistics.median(speeds):.0f} "
            f"| {statistics.median(ratios):.1f} ({spread}) |"
        )
    ours, theirs = [], []
    for file, picture in zip(files, np.concatenate(store.pictures)):
        with Image.open(file) as image:
            whole = image.convert("RGB")
        best = np.asarray(whole.resize((size, size), Image.Resampling.LANCZOS))
        ours.append(psnr(picture, best))
        theirs.append(psnr(np.asarray(whole.resize((size, size), Image.Resampling.BILINEAR)), best))
    print(
        f"\nPSNR to full decoding and Lanczos: ours {statistics.mean(ours):.1f} dB, "
        f"antialiased bilinear as the official loader {statistics.mean(theirs):.1f} dB"
    )


if __name__ == "__main__":
    main()
