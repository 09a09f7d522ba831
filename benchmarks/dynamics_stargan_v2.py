"""Compares one training iteration of the starganv2 recipe with the official code.

    git clone https://github.com/clovaai/stargan-v2
    python benchmarks/dynamics_stargan_v2.py --peer stargan-v2

Both sides start from the same weights, get the same batch, and go through all four phases with
their optimisers, so a later phase sees what the earlier ones learned. Prints the fourteen losses
side by side; exits with 1 if one differs by more than 1e-3 of its value. (Over more iterations the
two drift apart: Adam's first steps follow the signs of gradients that may be mere rounding.)

The peer's code is CC BY-NC 4.0 and stays where you put it; what it imports and the compared
functions do not use (munch but for its attribute access, the landmark network, data, metrics) is
replaced by empty modules.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from pathlib import Path

import torch
from torch import Tensor, nn

from facemeld.config import LossWeights, NetworkConfig, TrainingConfig
from facemeld.data.sampling import AUGMENTATION_NUMBERS, AUGMENTED, Batch
from facemeld.export.stargan_v2 import _official_names
from facemeld.networks.bundle import Networks, build_discriminator
from facemeld.training.starganv2 import StarGANv2Recipe

TOLERANCE = 1e-3
SIZE, DOMAINS, WIDTH, BATCH = 64, 2, 256, 2
LOSS_NAMES = {
    "reg": "r1",
    "adv": "adversarial",
    "sty": "style",
    "ds": "diversity",
    "cyc": "cycle",
}


class Namespace(dict):
    """A dict whose items are attributes, which is all that the peer uses of munch."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


def load_peer(checkout: Path) -> tuple[types.ModuleType, types.ModuleType]:
    """The official core/model.py and core/solver.py as modules."""
    if not (checkout / "core" / "solver.py").is_file():
        sys.exit(f"no core/solver.py in {checkout}: give a checkout of clovaai/stargan-v2")
    unused = {
        "munch": {"Munch": Namespace},
        "core.wing": {"FAN": None},
        "core.checkpoint": {"CheckpointIO": None},
        "core.data_loader": {"InputFetcher": None},
        "core.utils": {},
        "metrics": {},
        "metrics.eval": {"calculate_metrics": None},
    }
    for name, members in unused.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(members)
    sys.path.insert(0, str(checkout))
    importlib.import_module("core").utils = sys.modules["core.utils"]
    return importlib.import_module("core.model"), importlib.import_module("core.solver")


def official_networks(model: types.ModuleType) -> Namespace:
    """Generator, mapping network, style encoder and discriminator, He-initialised."""
    networks = Namespace(
        generator=model.Generator(SIZE, 64, max_conv_dim=WIDTH, w_hpf=0),
        mapping_network=model.MappingNetwork(16, 64, DOMAINS),
        style_encoder=model.StyleEncoder(SIZE, 64, DOMAINS, max_conv_dim=WIDTH),
        discriminator=model.Discriminator(SIZE, DOMAINS, max_conv_dim=WIDTH),
    )
    for network in networks.values():
        for layer in network.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return networks


def same_networks(official: Namespace) -> dict[str, nn.Module]:
    """Ours, with the official weights."""
    config = NetworkConfig(
        image_size=SIZE,
        domains=tuple(f"domain_{k}" for k in range(DOMAINS)),
        widths=(WIDTH,) * 3,
        style_encoder_widths=(WIDTH,) * 5,
        discriminator_widths=(WIDTH,) * 5,
    )
    networks, discriminator = Networks(config), build_discriminator(config)
    theirs = {
        f"{part}.{name}": value
        for part, network in official.items()
        for name, value in network.state_dict().items()
    }
    networks.load_state_dict(
        {
            name: torch.stack([theirs[o] for o in _official_names(name, DOMAINS)]).view(value.shape)
            for name, value in networks.state_dict().items()
        }
    )
    last = max(int(n.split(".")[2]) for n in theirs if n.startswith("discriminator.main."))
    renames = (("trunk.", "main."), ("shortcut", "conv1x1"), ("heads", f"main.{last}"))
    renamed = {}
    for name in discriminator.state_dict():
        official_name = name
        for ours, their in renames:
            official_name = official_name.replace(ours, their)
        renamed[name] = theirs[f"discriminator.{official_name}"]
    discriminator.load_state_dict(renamed)
    return {**dict(networks.named_children()), "discriminator": discriminator, "all": networks}


def optimisers(networks: dict[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
    """The paper's."""
    defaults = TrainingConfig()
    return {
        name: torch.optim.Adam(
            network.parameters(),
            lr=defaults.mapping_learning_rate
            if name == "mapping_network"
            else defaults.learning_rate,
            betas=(defaults.beta1, defaults.beta2),
            weight_decay=defaults.weight_decay,
        )
        for name, network in networks.items()
    }


def official_iteration(solver, networks: Namespace, batch: Batch) -> dict[str, float]:
    """The body of the official training loop, by its own loss functions."""
    options = Namespace(lambda_reg=1, lambda_sty=1, lambda_ds=1, lambda_cyc=1, w_hpf=0)
    steps = optimisers(networks)
    codes = {
        "latent": ("z_trg", [batch.latents[::2], batch.latents[1::2]]),
        "reference": ("x_ref", [batch.references[::2], batch.references[1::2]]),
    }
    found: dict[str, float] = {}

    def learn(loss: Tensor, parts: dict, where: str, trained: tuple[str, ...]) -> None:
        for optimiser in steps.values():
            optimiser.zero_grad()
        loss.backward()
        for name in trained:
            steps[name].step()
        found.update({f"{where}/{LOSS_NAMES.get(k, k)}": float(v) for k, v in parts.items()})

    given = (networks, options, batch.sources.clone(), batch.source_domains, batch.targets)
    for mode, (name, pair) in codes.items():
        loss, parts = solver.compute_d_loss(*given, **{name: pair[0]})
        learn(loss, parts, f"discriminator/{mode}", ("discriminator",))
    for mode, (name, pair) in codes.items():
        loss, parts = solver.compute_g_loss(*given, **{f"{name}s": pair})
        both = ("generator", "mapping_network", "style_encoder")
        learn(loss, parts, f"generator/{mode}", both if mode == "latent" else ("generator",))
    return found


def our_iteration(networks: dict[str, nn.Module], batch: Batch) -> dict[str, float]:
    """One step of the starganv2 recipe."""
    whole = networks.pop("all")
    steps = optimisers(networks)
    recipe = StarGANv2Recipe(TrainingConfig(), whole, networks["discriminator"])
    numbers: dict[str, Tensor] = {}
    for loss, trained in recipe.step(batch, LossWeights(), 0, numbers):
        parameters = [p for name in trained for p in networks[name].parameters()]
        for parameter in parameters:
            parameter.grad = None
        loss.backward(inputs=parameters)
        for name in trained:
            steps[name].step()
    return {name: float(value) for name, value in numbers.items()}


def random_batch(seed: int) -> Batch:
    """Noise for pictures: the equations do not mind."""
    random = torch.Generator().manual_seed(seed)
    pictures = torch.rand(3 * BATCH, 3, SIZE, SIZE, generator=random) * 2 - 1
    domains = torch.randint(0, DOMAINS, (2, BATCH), generator=random)
    rows = torch.arange(3 * BATCH)
    return Batch(
        sources=pictures[:BATCH],
        source_domains=domains[0],
        source_rows=rows[:BATCH],
        targets=domains[1],
        references=pictures[BATCH:],
        reference_rows=rows[BATCH:],
        latents=torch.randn(2 * BATCH, 16, generator=random),
        from_latents=False,
        uniform=torch.rand(BATCH, AUGMENTED, AUGMENTATION_NUMBERS, generator=random),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", type=Path, required=True, help="checkout of clovaai/stargan-v2")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    model, solver = load_peer(options.peer)
    official = official_networks(model)
    ours = same_networks(official)
    batch = random_batch(options.seed)
    expected, found = official_iteration(solver, official, batch), our_iteration(ours, batch)
    assert expected.keys() == found.keys()
    worst = 0.0
    print("| loss | official | ours |\n|---|---|---|")
    for name, value in expected.items():
        print(f"| {name} | {value:.6f} | {found[name]:.6f} |")
        worst = max(worst, abs(found[name] - value) / abs(value))
    print(f"\nlargest relative difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
