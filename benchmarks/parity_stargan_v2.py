"""Compares imported checkpoints with the official StarGAN v2 code, for generated weights.

    git clone https://github.com/clovaai/stargan-v2
    python benchmarks/parity_stargan_v2.py --peer stargan-v2

prints, for every picture size, number of domains and w_hpf, the largest absolute difference of
generator, style encoder and mapping network in fp32, and exits with 1 if one is above 1e-4. The
peer's code is CC BY-NC 4.0 and stays where you put it. Only its core/model.py is run; munch and the
landmark network, which that file imports and the compared networks do not use, are replaced by
empty modules, so nothing needs to be installed for it.

``--fixture FOLDER`` also writes the numbers that tests/export compares with.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import sys
import tempfile
import types
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from facemeld.export.stargan_v2 import import_stargan_v2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "export"))
import official_layout  # noqa: E402

TOLERANCE = 1e-4
FIXTURES = ((0.0, 3), (1.0, 2))  # w_hpf, domains; at 64 px, at most 256 channels


def load_peer(checkout: Path) -> types.ModuleType:
    """The official core/model.py as a module."""
    path = checkout / "core" / "model.py"
    if not path.is_file():
        sys.exit(f"no core/model.py in {checkout}: give a checkout of clovaai/stargan-v2")
    unused = {"munch": ["Munch"], "core": [], "core.wing": ["FAN"]}
    before = {name: sys.modules.get(name) for name in unused}
    for name, members in unused.items():
        sys.modules[name] = types.ModuleType(name)
        for member in members:
            setattr(sys.modules[name], member, None)
    spec = importlib.util.spec_from_file_location("official_model", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        for name, original in before.items():
            del sys.modules[name]
            if original is not None:
                sys.modules[name] = original
    return module


def official_networks(
    peer: types.ModuleType,
    seed: int,
    *,
    image_size: int,
    domains: int,
    w_hpf: float,
    max_width: int,
) -> dict[str, nn.Module]:
    """The three official networks with generated weights, in eval mode."""
    with torch.device("meta"):  # their own initialisation is not needed
        networks = {
            "generator": peer.Generator(image_size, 64, max_width, w_hpf),
            "mapping_network": peer.MappingNetwork(16, 64, domains),
            "style_encoder": peer.StyleEncoder(image_size, 64, domains, max_width),
        }
    parts = official_layout.checkpoint(
        image_size=image_size, domains=domains, w_hpf=w_hpf, max_width=max_width, seed=seed
    )
    for part, network in networks.items():
        network.load_state_dict(parts[part], strict=True, assign=True)
        network.eval()
    return networks


def outputs(
    networks: Mapping[str, nn.Module],
    given: dict[str, Tensor],
    masks: Tensor | list[Tensor] | None,
    styles: dict[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Styles of both kinds, and pictures under ``styles`` (by default these), masks or not.

    Both sides get the same styles, so that each network is compared by itself.
    """
    found = {
        "encoded styles": networks["style_encoder"](given["references"], given["domains"]),
        "mapped styles": networks["mapping_network"](given["latents"], given["domains"]),
    }
    styles = styles or dict(found)
    for name, kind in (("reference", "encoded styles"), ("latent", "mapped styles")):
        found[f"{name} pictures"] = networks["generator"](given["sources"], styles[kind])
        if masks is not None:
            masked = networks["generator"](given["sources"], styles[kind], masks)
            found[f"{name} pictures, masks"] = masked
    return found


@torch.inference_mode()
def compare(
    peer: types.ModuleType,
    *,
    image_size: int,
    domains: int,
    w_hpf: float,
    max_width: int = 512,
    batch_size: int = 2,
    seed: int = 0,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Official outputs, and ours for the same weights and inputs."""
    sizes = dict(image_size=image_size, domains=domains, w_hpf=w_hpf, max_width=max_width)
    official = official_networks(peer, seed, **sizes)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "100000_nets_ema.ckpt"
        torch.save({part: net.state_dict() for part, net in official.items()}, checkpoint)
        ours = import_stargan_v2(checkpoint, Path(folder) / "model")
    given = official_layout.inputs(image_size, domains, batch=batch_size)
    masks = given["masks"] if w_hpf > 0 else None
    expected = outputs(official, given, None if masks is None else list(masks.split(1, dim=1)))
    return expected, outputs(dict(ours.named_children()), given, masks, styles=expected)


def write_fixture(folder: Path, w_hpf: float, domains: int, found: dict[str, Tensor]) -> None:
    """Styles whole, of the pictures every fourth pixel in each direction."""
    arrays = {}
    for name, values in found.items():
        key = name.replace(" ", "_").replace(",", "")
        arrays[key] = values[..., ::4, ::4].numpy() if values.dim() == 4 else values.numpy()
    np.savez_compressed(folder / f"official_64px_hpf{w_hpf:g}_domains{domains}.npz", **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", type=Path, required=True, help="checkout of clovaai/stargan-v2")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--domains", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--w-hpf", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fixture", type=Path, help="folder for the numbers of tests/export")
    options = parser.parse_args()
    peer = load_peer(options.peer)
    if options.fixture:
        for w_hpf, domains in FIXTURES:
            official, _ = compare(peer, image_size=64, domains=domains, w_hpf=w_hpf, max_width=256)
            write_fixture(options.fixture, w_hpf, domains, official)

    worst = 0.0
    print("| px | domains | w_hpf | output | largest value | largest difference |")
    print("|---|---|---|---|---|---|")
    cases = itertools.product(options.sizes, options.domains, options.w_hpf)
    for size, domains, w_hpf in cases:
        official, ours = compare(
            peer,
            image_size=size,
            domains=domains,
            w_hpf=w_hpf,
            batch_size=options.batch_size,
            seed=options.seed,
        )
        for name, expected in official.items():
            largest = expected.abs().max().item()
            difference = (ours[name] - expected).abs().max().item()
            worst = max(worst, difference)
            row = f"{size} | {domains} | {w_hpf:g} | {name} | {largest:.2f} | {difference:.1e}"
            print(f"| {row} |", flush=True)
    print(f"\nlargest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
