"""An Adam optimiser for each network, and its learning rates over the run."""

from __future__ import annotations

import torch
from torch import nn

from facemeld.config import TrainingConfig
from facemeld.networks.swin import swin_parameters


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [p for p in module.parameters() if p.requires_grad]


def optimizer_of(module: nn.Module, name: str, config: TrainingConfig) -> torch.optim.Optimizer:
    """Adam for the network called ``name``; Swin blocks have groups of their own."""
    decayed, free = ({id(p) for p in some} for some in swin_parameters(module))
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    groups = [
        {"params": [(n, p) for n, p in named if id(p) not in decayed | free], "swin": False},
        {"params": [(n, p) for n, p in named if id(p) in decayed], "swin": True},
        {"params": [(n, p) for n, p in named if id(p) in free], "swin": True, "weight_decay": 0.0},
    ]
    return torch.optim.Adam(
        [group for group in groups if group["params"]],
        lr=_learning_rate(name, config),
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )


def set_learning_rates(
    optimizers: dict[str, torch.optim.Optimizer], config: TrainingConfig, pictures: int
) -> None:
    """Sets the rates for the next step of every network, after so many pictures.

    They are constant, then fall linearly to zero from the share ``decay_from`` of the run on; those
    of Swin blocks rise from zero first.
    """
    left = 1 - pictures / config.pictures
    factor = min(1.0, left / (1 - config.decay_from)) if config.decay_from < 1 else 1
    swin = config.swin_learning_rate
    if pictures < config.swin_warmup_pictures:
        swin *= (pictures + config.batch_size) / config.swin_warmup_pictures
    for name, optimizer in optimizers.items():
        for group in optimizer.param_groups:
            share = swin if group["swin"] else 1.0
            group["lr"] = factor * share * _learning_rate(name, config)


def _learning_rate(name: str, config: TrainingConfig) -> float:
    mapping = name == "mapping_network"
    return config.mapping_learning_rate if mapping else config.learning_rate
