"""How fast `facemeld prepare` is, on photographs that this script makes.

    python benchmarks/prepare_pictures.py --pictures 10000 --size 512

prints, as JSON, seconds, processor seconds a picture (which other programs on the machine disturb
little), and what 10,000 pictures take on two cores at that rate.
The photographs are windows of coloured 1/f noise, whose spectrum is that of photographs, as JPEG of
quality 92; by default 1024 px, as in CelebA-HQ.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from facemeld.data.parallel import usable_cores
from facemeld.data.prepare import PrepareOptions, prepare

FIELD = 4096  # side of the noise that the photographs are cut out of


def noise_field(seed: int) -> Image.Image:
    """RGB noise whose amplitude falls with the frequency, FIELD x FIELD."""
    random = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(FIELD)[:, None], np.fft.rfftfreq(FIELD)[None]
    slope = 1 / np.maximum(np.hypot(fy, fx), 1 / FIELD) ** 1.2
    channels = []
    for _ in range(3):
        channel = np.fft.irfft2(np.fft.rfft2(random.standard_normal((FIELD, FIELD))) * slope)
        channel = 128 + 55 * (channel - channel.mean()) / channel.std()
        channels.append(channel.clip(0, 255).astype(np.uint8))
    return Image.fromarray(np.stack(channels, -1))


def write_photographs(root: Path, count: int, side: int) -> None:
    """``root/one`` and ``root/two`` with half of the photographs each."""
    random = np.random.default_rng(0)
    for number in range(count):
        if number % 1000 == 0:
            field = noise_field(number)
        folder = root / ("one" if number % 2 else "two")
        folder.mkdir(parents=True, exist_ok=True)
        x, y = random.integers(0, FIELD - side, 2).tolist()
        window = field.crop((x, y, x + side, y + side))
        window.save(folder / f"{number:06d}.jpg", quality=92)


def processor_seconds() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--side", type=int, default=1024, help="of the photographs")
    parser.add_argument("--size", type=int, default=512, help="of the results")
    parser.add_argument("--format", default="png")
    parser.add_argument("--processes", type=int, default=usable_cores())
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder, "in"), arguments.pictures, arguments.side)
        before, started = processor_seconds(), time.perf_counter()
        done = prepare(
            Path(folder, "in"),
            Path(folder, "out"),
            PrepareOptions(size=arguments.size, format=arguments.format),
            processes=arguments.processes,
        )
        seconds, busy = time.perf_counter() - started, processor_seconds() - before
    per_picture = busy / arguments.pictures
    facts = {
        "pictures": arguments.pictures,
        "kept": sum(sum(split.values()) for split in done.kept.values()),
        "seconds": round(seconds, 1),
        "processor_milliseconds_per_picture": round(1000 * per_picture, 1),
        "minutes_for_10000_on_two_cores": round(per_picture * 10_000 / 2 / 60, 2),
    }
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
