"""Crop the photographs among the demo faces out of the wheels that carry them.

    pip download --no-deps --only-binary=:all: --python-version 3.11 --dest wheels \\
        scikit-image==0.26.0 matplotlib==3.11.2 scipy==1.10.1
    python scripts/crop_demo_photographs.py wheels src/facemeld/assets/faces

The crops follow the faces that the bundled model was trained on: people from the forehead to the
chin, animals with the whole head. Authors and licences: src/facemeld/assets/faces/LICENSES.md.
"""

from __future__ import annotations

import bz2
import io
import sys
import zipfile
from pathlib import Path

from PIL import Image

SIZE = 256
QUALITY = 90

# file to write -> wheel, file inside it, crop box (left, top, right, bottom) in pixels
PHOTOGRAPHS = {
    "woman_astronaut.jpg": (
        "scikit_image-*.whl",
        "skimage/data/astronaut.png",
        (163, 56, 285, 178),
    ),
    "woman_hopper.jpg": (
        "matplotlib-*.whl",
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        (142, 98, 387, 343),
    ),
    "cat_chelsea.jpg": ("scikit_image-*.whl", "skimage/data/chelsea.png", (85, 0, 385, 300)),
    "wild_raccoon.jpg": ("scipy-*.whl", "scipy/misc/face.dat", (430, 10, 950, 530)),
}
RACCOON_SIZE = (1024, 768)


def picture_in_wheel(wheel: Path, name: str) -> Image.Image:
    """The picture `name` inside `wheel`; `.dat` is SciPy's bzip2 of raw RGB."""
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(name)
    if name.endswith(".dat"):
        return Image.frombytes("RGB", RACCOON_SIZE, bz2.decompress(data))
    return Image.open(io.BytesIO(data)).convert("RGB")


def main(wheels: Path, out: Path) -> None:
    """Write every photograph of the table into `out`."""
    for file, (pattern, name, box) in PHOTOGRAPHS.items():
        (wheel,) = wheels.glob(pattern)
        face = picture_in_wheel(wheel, name).crop(box)
        face.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(out / file, quality=QUALITY)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
