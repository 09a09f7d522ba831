"""How the networks of a run are executed; what they compute stays the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint

from facemeld.networks.bundle import Networks
from facemeld.training.adversary import Phase


def side_by_side(
    steps: Sequence[Iterator[Phase]], discriminator: nn.Module
) -> Iterator[tuple[Iterable[Tensor], tuple[str, ...]]]:
    """One phase after the other, each with the losses of all parts of the batch.

    The losses come one by one, so that the graph of one part is gone before the next is built, and
    the caller steps the optimisers before any part enters its next phase.

    Args:
        steps: a recipe's step for each part; all have the same phases.
        discriminator: its spectral norms, if any, take their power iteration with the first part
            only, as with a whole batch.
    """

    def others() -> Iterator[Tensor]:
        discriminator.eval()
        for step in steps[1:]:
            yield next(step)[0]
        discriminator.train()

    for loss, trained in steps[0]:
        yield chain([loss], others()), trained


def recompute_activations(*modules: nn.Module) -> None:
    """Lets each residual block keep its input only, and run anew when gradients need the rest.

    Chen et al. 2016, "Training deep nets with sublinear memory cost". In place; the block's eager
    ``forward`` is replaced, so compile afterwards.
    """
    for module in modules:
        lists = [m for m in module.modules() if isinstance(m, nn.ModuleList | nn.Sequential)]
        for block in chain.from_iterable(lists):
            inside = list(block.modules())
            # a spectral norm would take its power iteration twice
            if len(inside) > 1 and not any(map(is_parametrized, inside)):
                _recompute(block)


def _recompute(block: nn.Module) -> None:
    forward = block.forward

    def recomputed(*inputs: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return forward(*inputs)
        return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False)

    block.forward = recomputed


def compile_networks(networks: Networks, discriminator: nn.Module) -> None:
    """Compiles what is worth it: the generator's two halves, style encoder and discriminator.

    In place. The discriminator's ``forward`` stays eager, because R1 differentiates it twice, which
    compiled code cannot.
    """
    generator = networks.generator
    generator.encode = torch.compile(generator.encode)
    generator.decode = torch.compile(generator.decode)
    networks.style_encoder.compile()
    discriminator.compile()
