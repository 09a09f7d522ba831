"""A model with longer style codes, from which training goes on: results follow references more.

    python recipes/faces_widen.py --model faces --entries 64 --data faces/train --out runs/wide

What it does is in ``facemeld.training.widening``. The result paints as the model does; it is stored
in half precision, with the model's discriminator, if it has one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from facemeld.data.folders import scan_domains
from facemeld.data.sampling import BatchSampler
from facemeld.data.store import load_pictures
from facemeld.errors import UserError
from facemeld.networks.bundle import load_model, read_discriminator, save_model
from facemeld.networks.model_folder import find_model
from facemeld.training.matching import match_latents, styles_of
from facemeld.training.widening import with_wider_styles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="model folder, or the name of a bundled one")
    parser.add_argument("--entries", type=int, default=64, help="how many more")
    parser.add_argument("--fit", type=int, default=4000, help="steps that fit the style encoder")
    parser.add_argument("--match", type=int, default=2000, help="steps that match codes to styles")
    parser.add_argument("--data", type=Path, required=True, help="training pictures")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    try:
        widen(parser.parse_args())
    except UserError as error:
        sys.exit(f"error: {error}")


def widen(given: argparse.Namespace) -> None:
    """Makes the model.

    Raises:
        UserError: a model or pictures that do not fit, or a folder that is there already.
    """
    if given.out.exists():
        raise UserError("there is something already", where=str(given.out), fix="name a new folder")
    model = find_model(given.model)
    networks = load_model(model)
    config = networks.config
    store = load_pictures(scan_domains(given.data, only=config.domains), config.image_size)
    sampler = BatchSampler(store, sources=1, latent_size=0, seed=0)
    wide, missed = with_wider_styles(
        networks, sampler, entries=given.entries, steps=given.fit, seed=0
    )
    print(f"of the new entries {1 - missed:.1%} is given by the style encoder")
    wide = wide.half().float()  # as it will be stored
    before, after = match_latents(wide, styles_of(wide, sampler), steps=given.match, seed=0)
    print(f"energy distance of codes to pictures: {before:.4f}, then {after:.4f}")
    card = f"# {given.out.name}: {given.model} with {given.entries} more style entries\n"
    save_model(wide, given.out, card=card, half=True, discriminator=read_discriminator(model))


if __name__ == "__main__":
    main()
