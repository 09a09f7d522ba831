"""Trains the small network that reads eyes and noses from ImageNet features.

    pip install -e '.[faces,train]'
    python scripts/train_points.py --faces DIR --out src/facemeld/assets/points/points.safetensors

DIR holds folders of face crops, as the bundled model was trained on: cat, dog, wild, woman, man,
anime. The points of some animals and anime characters were read by eye (animal_points.json,
anime_points.json in benchmarks); those of people come from the landmarks of OpenSeeFace, where
these are sure. Every crop is moved, turned, mirrored and recoloured at random.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import cv2
import numpy as np
import torch
from head_points import features, say
from head_scenes import CROP, on_centres, placement, recoloured
from safetensors.torch import save_file
from torch import Tensor

from facemeld.faces.geometry import transform
from facemeld.faces.landmarks import LandmarkFinder
from facemeld.files import write_whole
from facemeld.images.read import is_picture_name, read_picture
from facemeld.config.training import POINTS_FEATURE_SIZE as FEATURE_SIZE
from facemeld.networks.points import PointReader, places

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PEOPLE = ("woman", "man")
LEAST_SURE = 0.75  # of the landmarks of people
VERSIONS_BY_EYE = 20  # of each face that was read by eye
SPREAD = 0.05  # of the wanted maps, shares of the side
BATCH, STEPS = 32, 2500


def faces_by_eye() -> dict[str, np.ndarray]:
    """domain/name -> 3 2 in shares of the side."""
    found: dict[str, np.ndarray] = {}
    for name in ("animal_points.json", "anime_points.json"):
        rows = json.loads((BENCHMARKS / name).read_text())
        found |= {face: np.array(points) for face, points in rows.items()}
    return found


def people(folder: Path, weights_dir: Path | None) -> dict[str, np.ndarray]:
    """The same of people, by landmarks."""
    finder, found = LandmarkFinder(weights_dir), {}
    for domain in PEOPLE:
        for path in sorted(p for p in (folder / domain).iterdir() if is_picture_name(p)):
            picture = read_picture(path)
            points, sure = finder(picture)
            if sure > LEAST_SURE:
                eyes_nose = [points[36:42].mean(0), points[42:48].mean(0), points[30]]
                found[f"{domain}/{path.name}"] = np.stack(eyes_nose) / picture.width
    return found


def varied(
    picture: np.ndarray, points: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A crop moved, turned, mirrored and recoloured, and its points."""
    side = FEATURE_SIZE
    roll, scale = random.normal(0, 0.2), math.exp(random.normal(0, 0.15))
    matrix = placement(side * scale, roll, side * (0.5 + random.normal(0, 0.06, 2)))
    moved = cv2.warpAffine(
        picture, on_centres(matrix), (side, side), flags=1, borderMode=cv2.BORDER_REFLECT
    )
    at = transform(matrix, points * CROP) / side
    if random.random() < 0.5:
        moved, at = moved[:, ::-1], (at * (-1, 1) + (1, 0))[[1, 0, 2]]
    return recoloured(moved, random), at


class Material:
    """Versions of faces as the reader sees them, with their points."""

    def __init__(self) -> None:
        self.network = features(FEATURE_SIZE)
        self.grids: list[Tensor] = []
        self.points: list[Tensor] = []

    def add(self, versions: list[tuple[np.ndarray, np.ndarray]]) -> None:
        for first in range(0, len(versions), BATCH):
            pictures, points = zip(*versions[first : first + BATCH])
            self.grids.append(PointReader.on_one_grid(self.maps(np.stack(pictures))).half())
            self.points.append(torch.from_numpy(np.stack(points)).float())

    @torch.no_grad()
    def maps(self, pictures: np.ndarray) -> list[Tensor]:
        """B N N 3, 0 to 255 -> the frozen maps."""
        values = torch.from_numpy(np.ascontiguousarray(pictures)).float()
        return self.network(values.permute(0, 3, 1, 2) / 127.5 - 1)


def wanted_maps(points: Tensor, side: int) -> Tensor:
    """Gaussians at the points that sum to 1. B P 2 -> B P side side"""
    along = torch.exp(-((places(side, points) - points[..., None]) ** 2) / (2 * SPREAD**2))
    maps = along[:, :, 1, :, None] * along[:, :, 0, None, :]
    return maps / (maps.sum(dim=(2, 3), keepdim=True) + 1e-6)


def train(grids: Tensor, points: Tensor, random: np.random.Generator) -> PointReader:
    """Distance of the means, and cross-entropy of the maps."""
    reader = PointReader()
    reader.deviation.copy_(grids[:400].float().std(dim=(0, 2, 3)) + 1e-3)
    optimiser = torch.optim.AdamW(reader.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=STEPS + 1)
    reader.on_one_grid = lambda grid: grid  # they are on it already
    for step in range(STEPS):
        rows = torch.from_numpy(random.choice(len(grids), BATCH, replace=False))
        found, maps = reader(grids[rows].float())
        distance = (found - points[rows]).norm(dim=-1).mean()
        wanted = wanted_maps(points[rows], maps.shape[-1])
        entropy = -(wanted * maps).sum(dim=(2, 3)).mean()
        optimiser.zero_grad()
        (4 * distance + 0.3 * entropy).backward()
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            say(f"step {step}: off by {distance.item():.4f} of the side")
    del reader.on_one_grid
    return reader.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faces", type=Path, required=True, help="folders of face crops")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--weights-dir", type=Path, help="where openseeface lies")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    random = np.random.default_rng(options.seed)
    by_eye, of_people = faces_by_eye(), people(options.faces, options.weights_dir)
    say(f"{len(by_eye)} faces read by eye, {len(of_people)} people")
    held = [*random.permutation(list(by_eye))[:70], *random.permutation(list(of_people))[:100]]
    known, material = by_eye | of_people, Material()
    pictures = {
        face: np.asarray(read_picture(options.faces / face).resize((CROP, CROP))) for face in known
    }
    for face in known.keys() - set(held):
        count = VERSIONS_BY_EYE if face in by_eye else 1
        versions = [varied(pictures[face], known[face], random) for _ in range(count)]
        material.add(versions)
    reader = train(torch.cat(material.grids), torch.cat(material.points), random)
    errors: dict[str, list[float]] = {}
    for face in held:
        with torch.no_grad():
            found = reader(material.maps(pictures[face][None]))[0][0].numpy()
        off = np.linalg.norm(found - known[face], axis=1)
        errors.setdefault(face.split("/")[0], []).append(off)
    for domain, rows in sorted(errors.items()):
        eyes_nose = np.mean(rows, axis=0)
        say(f"{domain}: {len(rows)} held out, off by " + " ".join(f"{e:.4f}" for e in eyes_nose))
    tensors = {name: t.half().contiguous() for name, t in reader.state_dict().items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(options.out, lambda partial: save_file(tensors, partial))
    say(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
