"""How often faces are found, and how exactly, in photographs composed of known faces.

    python benchmarks/face_alignment.py --faces DIR [--seen benchmarks/seen_points.json]

DIR holds folders of aligned faces named cat, dog, wild, anime, and others for people. Each face is
placed in a textured picture of 640 x 480 pixels, 120 to 300 pixels large, rolled by up to 20
degrees, so that where it lies is known; then `facemeld align`'s finder looks for it. The table says
for each domain

- found: share of the faces whose centre was found within a quarter of the face picture's side, at
  a scale within a factor of 1.6;
- repeated: mean distance of the five points from those that are found in the same face unmoved;
- eyes, mouth: distance of the eyes, and of people's corners of the mouth, from where they are read
  to be in --seen, for the faces there;
- kind: share of the found faces that `--domain auto` takes for the right kind;
- milliseconds a photograph, on this machine.

Distances are shares of the face picture's side, their medians.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
from PIL import Image

from facemeld.faces.detect import FaceDetection, FaceFinder, select
from facemeld.faces.geometry import inverse, scale_of, similarity, transform, warp, warp_map
from facemeld.faces.templates import template
from facemeld.images.read import is_picture_name, read_picture

SCENE = (640, 480)
SIDES, ROLL = (120, 300), 20.0


def compose(face: Image.Image, random: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
    """A picture with the face in it, and the 2 3 matrix from the face to it."""
    side = random.uniform(*SIDES)
    angle = math.radians(random.uniform(-ROLL, ROLL))
    reach = side * (abs(math.sin(angle)) + abs(math.cos(angle))) / 2
    middle = [random.uniform(reach, length - reach) for length in SCENE]
    turn = (
        side
        / face.width
        * np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
    )
    matrix = np.column_stack([turn, middle - turn @ (face.width / 2, face.height / 2)])
    scene = np.full((SCENE[1], SCENE[0], 3), 128, np.float32)
    for cells, strength in ((6, 60), (24, 25), (96, 12)):
        noise = random.normal(0, 1, (cells * 3 // 4, cells, 3)).clip(-2, 2)
        coarse = Image.fromarray((127.5 + 63 * noise).astype(np.uint8))
        scene += strength / 63 * (np.asarray(coarse.resize(SCENE, 3), np.float32) - 127.5)
    cover = warp_map(np.ones((face.height, face.width)), matrix, SCENE)[..., None]
    scene += cover * (np.asarray(warp(face, matrix, SCENE), np.float32) - scene)
    return Image.fromarray(np.rint(scene).clip(0, 255).astype(np.uint8)), matrix


def nearest(faces: list[FaceDetection], kind: str, matrix: np.ndarray, width: int):
    """The one face that was selected, as 5 2 points in the face picture, if it is the known one."""
    if not faces:
        return None
    points = transform(inverse(matrix), faces[0].points)
    goal = template(kind, width)
    scale = scale_of(similarity(goal, points))
    near = np.linalg.norm(points.mean(0) - goal.mean(0)) < width / 4
    return points if near and 1 / 1.6 < scale < 1.6 else None


def measure(
    folder: Path, kind: str, count: int, seed: int, weights_dir: Path | None, seen: dict
) -> dict[str, float]:
    """The numbers of one domain."""
    finder, auto = (FaceFinder(k, weights_dir=weights_dir) for k in (kind, "auto"))
    files = sorted(p for p in folder.iterdir() if is_picture_name(p))
    random = np.random.default_rng(seed)
    chosen = [files[i] for i in random.permutation(len(files))[:count]]
    chosen += [folder / name.split("/")[1] for name in seen if name.split("/")[0] == folder.name]
    found, repeated, eyes, mouth, right, spent = 0, [], [], [], 0, 0.0
    for file in chosen:
        face = read_picture(file)
        picture, matrix = compose(face, random)
        started = time.perf_counter()
        faces = select(finder.find(picture), "largest")
        spent += time.perf_counter() - started
        points = nearest(faces, kind, matrix, face.width)
        if points is None:
            continue
        found += 1
        guess = select(auto.find(picture), "largest")
        right += bool(guess) and guess[0].kind == kind
        still = nearest(select(finder.find(face), "largest"), kind, np.eye(2, 3), face.width)
        if still is not None:
            repeated.append(np.linalg.norm(points - still, axis=1).mean() / face.width)
        if (known := seen.get(f"{folder.name}/{file.name}")) is not None:
            off = np.linalg.norm(points[[0, 1, 3, 4]][: len(known)] / face.width - known, axis=1)
            eyes.append(off[:2].mean())
            mouth += [off[2:].mean()] if len(known) > 2 else []
    return {
        "faces": len(chosen),
        "found": found / len(chosen),
        "repeated": float(np.median(repeated)) if repeated else math.nan,
        "eyes": float(np.median(eyes)) if eyes else math.nan,
        "mouth": float(np.median(mouth)) if mouth else math.nan,
        "kind": right / max(found, 1),
        "milliseconds": 1000 * spent / len(chosen),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faces", type=Path, required=True, help="domain folders")
    parser.add_argument(
        "--seen", type=Path, help="JSON: domain/file -> eyes, corners of the mouth, shares of side"
    )
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--count", type=int, default=100, help="faces a domain")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seen = json.loads(options.seen.read_text()) if options.seen else {}
    kinds = {"cat": "animal", "dog": "animal", "wild": "animal", "anime": "anime"}
    print("| domain | faces | found | repeated | eyes | mouth | kind | ms |")
    print("|---|---|---|---|---|---|---|---|")
    for folder in sorted(p for p in options.faces.iterdir() if p.is_dir()):
        kind = kinds.get(folder.name, "human")
        row = measure(folder, kind, options.count, options.seed, options.weights_dir, seen)
        cells = f"{row['faces']} | {row['found']:.0%} | {row['repeated']:.3f}"
        cells += f" | {row['eyes']:.3f} | {row['mouth']:.3f}"
        print(
            f"| {folder.name} | {cells} | {row['kind']:.0%} | {row['milliseconds']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
