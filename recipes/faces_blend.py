"""The last step of the bundled ``faces``: an average of two models, and man moved off woman.

    python recipes/faces_blend.py --before runs/faces-64-finish/model \\
      --after runs/faces-64-follow/model --share 0.6 --domain man --off woman --by 0.6 \\
      --data faces/train --out runs/faces

Both models must be of one family: the second one trained on from the first. Their weights are
averaged (Wortsman et al. 2022, "Model soups"). Then the styles of one domain are moved on along the
line from another domain's mean style to its own, by so many times the distance, which makes its
results less like the other's: only the last biases of style encoder and mapping network change.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from facemeld.data.folders import DomainFolders, scan_domains
from facemeld.data.sampling import as_tensor
from facemeld.data.store import load_pictures
from facemeld.networks.bundle import Networks, load_model

PICTURES, CODES = 150, 100  # that the mean styles are taken from
WEIGHTS = "model.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="model folder")
    parser.add_argument("--after", type=Path, required=True, help="model folder")
    parser.add_argument("--share", type=float, required=True, help="of the second, 0 to 1")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--off", required=True, help="the domain that it is moved away from")
    parser.add_argument("--by", type=float, required=True, help="times their distance")
    parser.add_argument("--data", type=Path, required=True, help="training pictures")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    shutil.copytree(given.after, given.out)
    with safe_open(given.after / WEIGHTS, "pt") as file:
        about = file.metadata()
    weights = averaged(
        load_file(given.before / WEIGHTS), load_file(given.after / WEIGHTS), given.share
    )
    save_file(weights, given.out / WEIGHTS, metadata=about)
    move(weights, load_model(given.out), given)
    save_file(weights, given.out / WEIGHTS, metadata=about)


def averaged(
    before: dict[str, Tensor], after: dict[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Of the weights of both, at the precision of the second."""
    return {
        name: torch.lerp(before[name].float(), value.float(), share).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in after.items()
    }


@torch.no_grad()
def move(weights: dict[str, Tensor], networks: Networks, given: argparse.Namespace) -> None:
    """Adds the way to the biases of the domain in ``weights``."""
    names = list(networks.config.domains)
    own = names.index(given.domain)
    found = {
        name: styles(networks, given.data, name, names.index(name))
        for name in (given.domain, given.off)
    }
    lengths = {name: part.norm(dim=1, keepdim=True) for name, part in found.items()}
    means = {name: (part / lengths[name]).mean(dim=0) for name, part in found.items()}
    way = given.by * (means[given.domain] - means[given.off])
    encoder, size = "style_encoder.heads.bias", len(way)
    bias = weights[encoder].float()
    bias[own * size : (own + 1) * size] += way * lengths[given.domain].mean()
    weights[encoder] = bias.to(weights[encoder].dtype)
    mapping = "mapping_network.heads.1.bias"
    bias = weights[mapping].float()
    bias[own] += way * mapped_length(networks, own)
    weights[mapping] = bias.to(weights[mapping].dtype)


def styles(networks: Networks, data: Path, name: str, domain: int) -> Tensor:
    """N S, of some training pictures, before they are brought to one length."""
    folders = scan_domains(data)
    index = folders.domains.index(name)
    files = (folders.files[index][:PICTURES],)
    store = load_pictures(DomainFolders(folders.root, (name,), files), networks.config.image_size)
    pictures = as_tensor(store.pictures[0], "cpu")
    kept: list[Tensor] = []
    hook = networks.style_encoder.heads.register_forward_hook(lambda *given: kept.append(given[2]))
    networks.style_encoder(pictures, torch.full((len(pictures),), domain))
    hook.remove()
    return kept[0].float().unflatten(1, (len(networks.config.domains), -1))[:, domain]


def mapped_length(networks: Networks, domain: int) -> Tensor:
    """Mean length of the mapping network's styles, before they are brought to one length."""
    kept: list[Tensor] = []
    last = networks.mapping_network.heads[-1]
    hook = last.register_forward_hook(lambda *given: kept.append(given[2]))
    codes = torch.randn(
        CODES, networks.config.latent_size, generator=torch.Generator().manual_seed(0)
    )
    networks.mapping_network(codes, torch.full((CODES,), domain))
    hook.remove()
    return kept[0].float()[:, domain].norm(dim=1).mean()


if __name__ == "__main__":
    main()
