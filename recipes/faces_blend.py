"""The last step of the bundled ``faces``: two models averaged, domains moved apart, codes matched.

    python recipes/faces_blend.py --before runs/faces-64-finish/model \\
      --after runs/faces-64-follow/model --share 0.6 --move man woman 0.6 --match 1000 \\
      --data faces/train --out runs/faces

What it does is in ``facemeld.networks.blend`` and ``facemeld.training.matching``; with training
pictures it also takes from them what is usual in each domain, so that unusual references are drawn
in (``facemeld.networks.style_encoder``). The result is stored in half precision, with the average
of the discriminators, or the second model's where they cannot be averaged, if it has one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from facemeld.data.folders import scan_domains
from facemeld.data.sampling import BatchSampler, as_tensor
from facemeld.data.store import load_pictures
from facemeld.errors import UserError
from facemeld.networks.blend import average, move_away, spread_out
from facemeld.networks.bundle import (
    Networks,
    build_discriminator,
    load_model,
    read_discriminator,
    save_model,
)
from facemeld.networks.model_folder import read_network_config
from facemeld.networks.style_encoder import ProjectedStyleEncoder
from facemeld.networks.transfer import take_over
from facemeld.training.matching import match_latents, styles_of

PICTURES, CODES = 150, 100  # that the mean styles are taken from
AT_ONCE = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="model folder")
    parser.add_argument(
        "--after", type=Path, required=True, help="trained on from the first, or both from a third"
    )
    parser.add_argument("--share", type=float, required=True, help="of the second, 0 to 1")
    parser.add_argument(
        "--move",
        nargs=3,
        action="append",
        default=[],
        metavar=("DOMAIN", "OFF", "BY"),
        help="move a domain's styles away from another's, by so many times their distance",
    )
    parser.add_argument(
        "--spread",
        nargs=2,
        action="append",
        default=[],
        metavar=("DOMAIN", "BY"),
        help="move a domain's styles away from their mean, to so many times their distance",
    )
    parser.add_argument("--match", type=int, default=0, help="steps that match codes to styles")
    parser.add_argument(
        "--data", type=Path, help="training pictures, to move, to match, and to know what is usual"
    )
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
    moves = [(domain, other, number(by)) for domain, other, by in given.move]
    spreads = [(domain, number(by)) for domain, by in given.spread]
    if (moves or spreads or given.match) and given.data is None:
        fix = "give --data, too"
        raise UserError("--move, --spread and --match need the training pictures", fix=fix)
    card = f"# {given.out.name}: {given.share} of {given.after}, the rest of {given.before}\n"
    networks = average(load_model(given.before), load_model(given.after), given.share)
    networks = networks.half().float()  # as it will be stored
    if given.data is not None:
        finish(networks, given.data, moves, spreads, given.match)
    adversary = discriminator(given.before, given.after, given.share)
    save_model(networks, given.out, card=card, half=True, discriminator=adversary)


def finish(
    networks: Networks,
    data: Path,
    moves: list[tuple[str, str, float]],
    spreads: list[tuple[str, float]],
    steps: int,
) -> None:
    """Moves domains, takes what is usual in each, then matches codes to the pictures' styles."""
    config = networks.config
    store = load_pictures(scan_domains(data, only=config.domains), config.image_size)
    some = {n: as_tensor(p[:PICTURES], "cpu") for n, p in zip(store.domains, store.pictures)}
    latents = torch.randn((CODES, config.latent_size), generator=torch.Generator().manual_seed(0))
    for domain, other, by in moves:
        move_away(networks, some, latents, domain=domain, other=other, by=by)
    for domain, by in spreads:
        spread_out(networks, some, domain=domain, by=by)
    sampler = BatchSampler(store, sources=1, latent_size=0, seed=0)
    fit_usual(networks, sampler)
    if steps:
        styles = styles_of(networks, sampler)
        before, after = match_latents(networks, styles, steps=steps, seed=0)
        print(f"energy distance of codes to pictures: {before:.4f}, then {after:.4f}")


@torch.no_grad()
def fit_usual(networks: Networks, sampler: BatchSampler) -> None:
    """Fits a projected style encoder's statistics of each domain to the training pictures."""
    encoder = networks.style_encoder
    if not isinstance(encoder, ProjectedStyleEncoder):
        return
    rows = np.arange(sampler.counts.sum())
    seen = map(sampler.pictures_of_rows, np.array_split(rows, -(-len(rows) // AT_ONCE)))
    statistics = torch.cat([encoder.statistics(encoder.features(some), some) for some in seen])
    labels = np.repeat(np.arange(len(sampler.counts)), sampler.counts)
    encoder.fit_usual(statistics, torch.from_numpy(labels))


def discriminator(before: Path, after: Path, share: float) -> dict[str, torch.Tensor] | None:
    """Weights of the average of both models', if both have one and it is the same network."""
    theirs, mine = read_discriminator(before), read_discriminator(after)
    if theirs is None or mine is None:
        return mine
    config = read_network_config(after)
    start = build_discriminator(config)
    start.load_state_dict(mine)  # what the first model does not know stays as it is here
    if take_over(theirs, start, read_network_config(before).domains, config.domains):
        return mine
    return {n: torch.lerp(w, mine[n].float(), share) for n, w in start.state_dict().items()}


def number(by: str) -> float:
    """What ``--move`` and ``--spread`` are given last."""
    try:
        return float(by)
    except ValueError:
        raise UserError(f"'{by}' is not a number", where="BY") from None


if __name__ == "__main__":
    main()
