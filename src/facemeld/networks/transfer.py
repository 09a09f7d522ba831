"""Weights of one model as the start of another, whose domains may be fewer, more or reordered.

A module says in ``per_domain`` how the names of those of its tensors begin whose first axis runs
over the domains: the heads. They are matched by the names of the domains, all else as it is.

A generator may also start from one for pictures of half the size, as progressive growing does
(Karras et al. 2018): the inner blocks are the smaller one's, those of the new resolution are new.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Domains = tuple[str, ...]


def grown(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A generator's weights under the names they have in one of twice the picture size.

    Without the layers that read and paint pixels, which the larger one has at its own resolution.
    """
    renamed = {}
    for name, tensor in weights.items():
        if name.startswith("encoder."):
            _, level, rest = name.split(".", 2)
            name = f"encoder.{int(level) + 1}.{rest}"
        if not name.startswith(("from_rgb.", "output_norm.", "to_rgb.")):
            renamed[name] = tensor
    return renamed


def take_over(
    weights: dict[str, Tensor],
    module: nn.Module,
    theirs: Domains,
    mine: Domains,
    *,
    new: tuple[str, ...] = (),
) -> str:
    """Copies a module's weights into another one; heads of new domains stay as they are.

    Args:
        weights: state dict of the module to start from.
        module: what to change; on the meta device the call only compares.
        theirs: domains of ``weights``.
        mine: domains of ``module``.
        new: how the names of tensors begin that ``weights`` have no part in.

    Returns:
        What does not fit, in words; empty when all does. Nothing is copied unless all fits.
    """
    state = {n: t for n, t in module.state_dict().items() if not n.startswith(new)}
    expected = {n: _shape_of(n, t, module, len(mine), len(theirs)) for n, t in state.items()}
    unfit = []
    for name in dict.fromkeys((*expected, *weights)):
        there = tuple(weights[name].shape) if name in weights else None
        if there != expected.get(name):
            unfit.append(f"{name} ({_in_words(there)} there, {_in_words(expected.get(name))} here)")
    if unfit:
        more = f" and {len(unfit) - 5} more" if len(unfit) > 5 else ""
        return ", ".join(unfit[:5]) + more
    shared = [(theirs.index(domain), k) for k, domain in enumerate(mine) if domain in theirs]
    with torch.no_grad():
        for name, tensor in state.items():
            if not _per_domain(name, module):
                tensor.copy_(weights[name])
                continue
            heads = tensor.unflatten(0, (len(mine), -1))
            for there, here in shared:
                heads[here].copy_(weights[name].unflatten(0, (len(theirs), -1))[there])
    return ""


def _per_domain(name: str, module: nn.Module) -> bool:
    return name.startswith(getattr(module, "per_domain", ()))


def _shape_of(
    name: str, tensor: Tensor, module: nn.Module, mine: int, theirs: int
) -> tuple[int, ...]:
    """The shape that a tensor would have with another number of domains."""
    if not _per_domain(name, module):
        return tuple(tensor.shape)
    return (tensor.shape[0] // mine * theirs, *tensor.shape[1:])


def _in_words(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return "absent"
    return " x ".join(map(str, shape)) or "a number"
