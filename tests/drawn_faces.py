"""Faces drawn in the test: two domains that a network can tell apart and learn in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COUNTS = {"cat": 8, "dog": 5}


def draw_face(domain: str, index: int, size: int = 48) -> Image.Image:
    """A warm face with pointed ears (cat) or a cold one with hanging ears (dog)."""
    random = np.random.default_rng([index, *domain.encode()])
    background, shade = random.integers(0, 90, 3), random.integers(0, 60)
    colour = (235 - shade, 150 - shade, 40) if domain == "cat" else (60, 140 - shade, 235 - shade)
    image = Image.new("RGB", (size, size), tuple(background.tolist()))
    draw = ImageDraw.Draw(image)
    x, y = size / 2 + random.uniform(-0.1, 0.1, 2) * size
    radius = size * random.uniform(0.25, 0.35)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    for side in (-1, 1):
        ear = x + side * radius * 0.8
        if domain == "cat":
            tip = (ear, y - 1.5 * radius)
            draw.polygon([(ear - 6, y - radius / 2), (ear + 6, y - radius / 2), tip], fill=colour)
        else:
            draw.ellipse((ear - 4, y - radius / 2, ear + 4, y + radius), fill=(30, 70, 120))
        eye = x + side * radius * 0.4
        draw.ellipse((eye - 3, y - 6, eye + 3, y), fill="white")
    return image


def write_faces(root: Path, counts: Mapping[str, int] = COUNTS, first: int = 0) -> Path:
    """Writes ``root/domain/NN.png`` for each domain; ``first`` is the index of the first face."""
    for domain, count in counts.items():
        folder = root / domain
        folder.mkdir(parents=True)
        for index in range(first, first + count):
            draw_face(domain, index).save(folder / f"{index:02d}.png")
    return root
