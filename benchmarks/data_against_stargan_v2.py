"""Compares pictures a second of the data path with what the official loader does to each picture.

    python benchmarks/data_against_stargan_v2.py [--data DIR] [--size 256]

The official loader decodes every picture at every use: Pillow's decoder, a random crop (scale 0.8
to 1, ratio 0.9 to 1.1) of half of the pictures, bilinear resizing, mirroring of half, then
torchvision's ToTensor and Normalize. torchvision does not install beside every PyTorch, so its
steps are written out here with the same calls to Pillow and PyTorch that it makes. Ours decodes a
picture once (`facemeld.data.cache`), and makes batches with the same crops and mirroring from the
cache. All in one thread, by the processor's clock: pictures a second a core. The parts take turns,
so that other work on the machine slows them alike.

Also told: how far each way of shrinking is from decoding in full and shrinking with Lanczos (PSNR).
Without --data, there are two sets of JPEGs: photographs of the package, enlarged and given grain,
which take about as many bytes a pixel as AFHQ's; and noise with detail of every size (quality 92),
which takes four times as many, and so is the worst case.
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
from facemeld.data.folders import bundled_faces, scan_domains
from facemeld.data.sampling import BatchSampler
from facemeld.data.store import PictureStore, decode

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


def make_photographs(folder: Path, side: int, count: int) -> None:
    """JPEGs of ``side`` pixels cut out of the bundled photographs, with grain of one level."""
    chance = np.random.default_rng(0)
    photographs = [path for path in bundled_faces() if path.suffix == ".jpg"]
    for index in range(count):
        with Image.open(photographs[index % len(photographs)]) as image:
            own = image.width * chance.uniform(0.8, 1.0)
            left, top = chance.uniform(0, image.width - own, 2)
            box = (left, top, left + own, top + own)
            cut = image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS, box=box)
        grain = chance.normal(0, 1, (side, side, 1))
        pixels = np.rint(np.asarray(cut) + grain).clip(0, 255).astype(np.uint8)
        place = folder / "ab"[index % 2] / f"{index}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place, quality=85)


def make_noise(folder: Path, side: int, count: int) -> None:
    """JPEGs whose detail falls off as that of photographs does (1/f), but never ends."""
    chance = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(side)] * 2)) + 1 / side
    for index in range(count):
        noise = np.fft.fft2(chance.standard_normal((3, side, side)))
        picture = np.fft.ifft2(noise / frequency).real
        picture = 0.8 * picture[:1] + 0.2 * picture  # mostly grey, as pictures are
        picture = 128 + 50 * (picture - picture.mean()) / picture.std()
        pixels = picture.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        place = folder / "ab"[index % 2] / f"{index}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place, quality=92)


class HostPart(BatchSampler):
    """What is left to the processor where another device trains: pictures stay bytes."""

    def _pictures(self, kinds, picks, boxes, mirror):
        return self._bytes(kinds, picks)


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
    parser.add_argument("--pictures", type=int, default=48, help="how many are made up")
    parser.add_argument("--side", type=int, help="their side; else twice the size")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sets = {"given": options.data}
        if options.data is None:
            sets = {"photographs": Path(folder) / "photographs", "noise": Path(folder) / "noise"}
            side = options.side or 2 * options.size
            make_photographs(sets["photographs"], side, options.pictures)
            make_noise(sets["noise"], side, options.pictures)
        for name, data in sets.items():
            print(f"\n{name}: ", end="")
            compare(data, options.size, options.rounds, Path(folder) / "cache")


def compare(data: Path, size: int, rounds: int, cache: Path) -> None:
    folders = scan_domains(data)
    files = [file for domain in folders.files for file in domain]
    store = cached_pictures(folders, size, cache)
    how = dict(sources=SOURCES, latent_size=16, seed=0)
    cropping = BatchSampler(store, crop_probability=0.5, **how)
    mirroring, host = BatchSampler(store, **how), HostPart(store, crop_probability=0.5, **how)
    steps = iter(range(10**9))

    def by_official() -> int:
        torch.stack([official(file, size) for file in files])
        return len(files)

    def decoding() -> list[np.ndarray]:
        made: list[np.ndarray] = []
        decode(folders, size, made.append, on_unreadable="refuse", workers=1)
        return made

    def decoding_and_batches() -> int:
        pixels = np.stack(decoding())
        parts = np.split(pixels, [len(folders.files[0])])
        own = BatchSampler(PictureStore(folders.domains, parts), crop_probability=0.5, **how)
        for step in range(len(files) // (3 * SOURCES)):
            own.batch(step)
        return len(files)

    def batches(sampler: BatchSampler) -> int:
        for _ in range(8):
            sampler.batch(next(steps))
        return 8 * 3 * SOURCES  # a source comes with two references

    ways = {
        "the official loader": by_official,
        "decoding alone": lambda: len(decoding()),
        "decoding, then batches": decoding_and_batches,
        "from the cache, cropped and mirrored": lambda: batches(cropping),
        "from the cache, mirrored": lambda: batches(mirroring),
        "from the cache, as bytes for another device": lambda: batches(host),
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
