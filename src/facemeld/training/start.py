"""Fine-tuning: a run that starts from a model instead of from random weights.

The model may be one for pictures of half the size; its generator then grows by a resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from facemeld.config import TrainingConfig, to_dict
from facemeld.errors import UserError
from facemeld.networks.bundle import Networks, load_model, read_discriminator
from facemeld.networks.model_folder import find_model, read_network_config
from facemeld.networks.transfer import grown, take_over
from facemeld.training import checkpoint


def check_start(config: TrainingConfig) -> None:
    """Refuses a model that these networks cannot start from; builds and loads nothing large.

    Raises:
        UserError: no such model, or everything in it that does not fit.
    """
    with torch.device("meta"):
        networks = Networks(config.network)
    _start_networks(config, networks)
    read_discriminator(find_model(config.init))


def start_from_model(
    config: TrainingConfig, networks: Networks, discriminator: nn.Module, say: Callable[[str], None]
) -> bool:
    """Takes over the weights of ``config.init``; heads are matched by the names of the domains.

    Where a model folder is still inside its run folder, the newest checkpoint beside it has the
    discriminator in full precision; else the folder itself may hold one.

    Returns:
        Whether the discriminator was taken over, too.
    """
    theirs, mine = _start_networks(config, networks), config.network.domains
    with_discriminator = _start_discriminator(find_model(config.init), discriminator, theirs, mine)
    groups = {
        "domains kept": [d for d in mine if d in theirs],
        "new": [d for d in mine if d not in theirs],
        "left out": [d for d in theirs if d not in mine],
    }
    told = [f"{what} {', '.join(names)}" for what, names in groups.items() if names]
    told.append("with its discriminator" if with_discriminator else "with a new discriminator")
    say(f"starting from {config.init}: {'; '.join(told)}")
    return with_discriminator


def _start_networks(config: TrainingConfig, networks: Networks) -> tuple[str, ...]:
    """Returns the model's domains."""
    model = load_model(find_model(config.init))
    unfit = []
    doubled = config.network.image_size == 2 * model.config.image_size
    doubled = doubled and config.network.generator != "projected"  # its features have no new level
    for name, source in model.named_children():
        weights, target, new = source.state_dict(), getattr(networks, name), ()
        if name == "generator" and doubled:
            weights, new = grown(weights), target.outermost
        domains = model.config.domains, config.network.domains
        if problem := take_over(weights, target, *domains, new=new):
            unfit.append(f"{name}: {problem}")
    if unfit:
        raise UserError(
            "the model does not fit the networks of this run: " + "; ".join(unfit),
            where=config.init,
            fix=f"options that differ from the model's: {_differences(config)}",
        )
    return model.config.domains


def _start_discriminator(
    model: Path, discriminator: nn.Module, theirs: tuple[str, ...], mine: tuple[str, ...]
) -> bool:
    beside = model.parent / "checkpoints"
    found = checkpoint.newest_valid(beside, lambda warning: None, part="discriminator")
    weights = found[0] if found else read_discriminator(model)
    return weights is not None and not take_over(weights, discriminator, theirs, mine)


def _differences(config: TrainingConfig) -> str:
    run, model = to_dict(config.network), to_dict(read_network_config(find_model(config.init)))
    names = [n for n in run if n != "domains" and run[n] != model[n]]
    return ", ".join(f"{n} (model {model[n]}, run {run[n]})" for n in names) or "none"
