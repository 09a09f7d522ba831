"""The demo: fuse the bundled faces, and say in a short text what each file is."""

from __future__ import annotations

from pathlib import Path

from facemeld.data.folders import bundled_faces
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.fusion.provenance import grid_settings
from facemeld.images.write import write_picture

CELL = 128
SIZE = 256
SEED = 3
SINGLES = (
    # file, source, references, weights; what it shows
    ("astronaut_as_cat.png", "woman_astronaut", ["cat_chelsea"], None, "her pose, the cat's look"),
    (
        "dog_as_anime.png",
        "dog_generated",
        ["anime_lorelei_a"],
        None,
        "the dog's layout, a drawn character's look",
    ),
    (
        "two_looks_at_once.png",
        "woman_hopper",
        ["cat_chelsea", "wild_raccoon"],
        [0.5, 0.5],
        "two references at once, half the cat, half the raccoon",
    ),
)


def run_demo(out: Path, *, model: str | Path = "faces") -> list[Path]:
    """Writes a sheet, single results and README.txt to ``out``; returns their paths."""
    pipe = FusionPipeline.from_pretrained(model)
    faces = {path.stem: path for path in bundled_faces()}
    pictures = list(faces.values())
    lines = ["What is in this folder", ""]
    written = []

    def keep(image, name: str, meaning: str, settings: dict) -> None:
        path = out / name
        write_picture(image, path, settings=settings)
        written.append(path)
        lines.append(f"{name}: {meaning}")

    known = [stem.split("_")[0] for stem in faces]
    domain = [name if name in pipe.domains else None for name in known]
    sheet = pipe.grid(pictures, pictures, domain=domain, cell=CELL)
    meaning = "every bundled face (left) with the look of every other (top)"
    about = grid_settings(pipe, pictures, pictures, domain=domain, cell=CELL)
    keep(sheet, "sheet.jpg", meaning, about)
    for name, source, references, weights, meaning in SINGLES:
        result = pipe(faces[source], [faces[r] for r in references], weights=weights, size=SIZE)
        keep(result.images[0], name, meaning, result.settings[0])
    for domain in pipe.domains:
        result = pipe(faces["woman_astronaut"], latent=True, domain=domain, seed=SEED, size=SIZE)
        meaning = f"the astronaut with a random look of the domain {domain}"
        keep(result.images[0], f"random_{domain}.png", meaning, result.settings[0])
    lines += [
        "",
        "The sheet is everything with everything; the single pictures were chosen by eye.",
        "All of it is made by a network; the files carry metadata that says so.",
        f"Again, or with your own pictures: facemeld fuse --source YOU.jpg --reference CAT.jpg "
        f"--out RESULT.png (model: {pipe.name})",
    ]
    text = out / "README.txt"
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [*written, text]
