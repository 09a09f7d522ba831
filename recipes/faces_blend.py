"""The last step of the bundled ``faces``: an average of two models, and man moved off woman.

    python recipes/faces_blend.py --before runs/faces-64-finish/model \\
      --after runs/faces-64-follow/model --share 0.6 --domain man --off woman --by 0.6 \\
      --data faces/train --out runs/faces

What it does is in ``facemeld.networks.blend``. The result is stored in half precision.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import torch

from facemeld.data.folders import scan_domains
from facemeld.data.sampling import as_tensor
from facemeld.data.store import load_pictures
from facemeld.errors import UserError
from facemeld.networks.blend import average, move_away
from facemeld.networks.bundle import load_model, save_model

PICTURES, CODES = 150, 100  # that the mean styles are taken from


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="model folder")
    parser.add_argument("--after", type=Path, required=True, help="trained on from the first")
    parser.add_argument("--share", type=float, required=True, help="of the second, 0 to 1")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--off", required=True, help="the domain that it is moved away from")
    parser.add_argument("--by", type=float, required=True, help="times their distance")
    parser.add_argument("--data", type=Path, required=True, help="training pictures")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    try:
        blend(parser.parse_args())
    except UserError as error:
        sys.exit(f"error: {error}")


def blend(given: argparse.Namespace) -> None:
    """Makes the model.

    Raises:
        UserError: models that do not fit, unknown domains, pictures that cannot be read.
    """
    if given.out.exists():
        raise UserError("there is something already", where=str(given.out), fix="name a new folder")
    card = f"# {given.out.name}: {given.share} of {given.after}, the rest of {given.before}\n"
    networks = average(load_model(given.before), load_model(given.after), given.share)
    networks = networks.half().float()  # as it will be stored
    folders = scan_domains(given.data, only=(given.domain, given.off))
    folders = dataclasses.replace(folders, files=tuple(f[:PICTURES] for f in folders.files))
    store = load_pictures(folders, networks.config.image_size)
    pictures = {n: as_tensor(p, "cpu") for n, p in zip(store.domains, store.pictures)}
    shape = (CODES, networks.config.latent_size)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    move_away(networks, pictures, latents, domain=given.domain, other=given.off, by=given.by)
    save_model(networks, given.out, card=card, half=True)


if __name__ == "__main__":
    main()
