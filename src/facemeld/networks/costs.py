"""What each network of a model costs: parameters, multiply-adds and memory, without running it.

The networks are built on the meta device, where tensors have shapes but no values, and passed
through once. So the numbers depend on the configuration alone, not on the machine:

- multiply-adds of convolutions, linear layers and attention, by torch's own formulas, below
  autograd (custom autograd functions included); work on weights alone, such as folding kernels,
  is left out, since a pass does it once whatever its batch;
- memory as the largest sum of the tensors that are alive at once while one picture passes in fp32,
  inputs included, weights and the working space inside PyTorch's kernels left out. Attention is
  taken as fused: its weights are never stored. It is a lower bound of what a process takes.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from facemeld.config import NetworkConfig
from facemeld.networks.bundle import (
    Networks,
    build_discriminator,
    build_generator,
    without_values,
)
from facemeld.networks.features import EfficientNetLite0

ASSUMED_DOMAINS = ("first", "second", "third")  # for configurations that name none


@dataclass(frozen=True)
class PartCost:
    """Costs of one network or of a part of it."""

    part: str
    """``network``, or ``network/part``, which its network's costs include."""
    parameters: int
    gmac: float
    """Thousand million multiply-adds for one picture."""
    weights_mb: float
    """Parameters and buffers in fp32, in 10^6 bytes."""
    peak_mb: float
    """Largest sum of live tensors in the pass of one picture in fp32, in 10^6 bytes."""


def network_costs(config: NetworkConfig) -> list[PartCost]:
    """Costs of the generator and its parts, the style encoder, the mapping network, and the
    discriminator, which only training needs.

    A configuration that names no domains is counted with three.

    Raises:
        UserError: networks that cannot be built.
    """
    if not config.domains:
        config = dataclasses.replace(config, domains=ASSUMED_DOMAINS)
    with without_values(), torch.no_grad():
        networks, discriminator = Networks(config), build_discriminator(config).eval()
        pictures = torch.empty(1, 3, config.image_size, config.image_size)
        styles, latents = torch.empty(1, config.style_size), torch.empty(1, config.latent_size)
        domains = torch.zeros(1, dtype=torch.int64)
        costs = _generator_costs(networks, pictures, styles)
        costs += _style_encoder_costs(networks, pictures, domains)
        mapping = networks.mapping_network
        costs.append(_cost("mapping_network", mapping, (latents, domains), weights=mapping))
        if config.discriminator == "projected":  # its heads: the features are the style encoder's
            pictures = EfficientNetLite0(input_size=config.feature_size)(pictures)
        arguments = (pictures, domains)
        costs.append(_cost("discriminator", discriminator, arguments, weights=discriminator))
    return costs


def generator_gmac(config: NetworkConfig) -> float:
    """Thousand million multiply-adds of a generator's whole pass, as in ``network_costs``."""
    with without_values(), torch.no_grad():
        generator = build_generator(config)
        pictures = torch.empty(1, 3, config.image_size, config.image_size)
        masks = torch.empty(1, 2, *pictures.shape[2:]) if config.skips == "masked" else None
        arguments = (pictures, torch.empty(1, config.style_size), masks)
        return _cost("generator", generator, arguments, weights=generator).gmac


def _generator_costs(networks: Networks, pictures: Tensor, styles: Tensor) -> list[PartCost]:
    """The generator as a whole, its encoder, its decoder without skips, and what the skips add."""
    generator, skips = networks.generator, networks.config.skips
    masks = torch.empty(1, 2, *pictures.shape[2:]) if skips == "masked" else None
    content = generator.encode(pictures)
    bare = content._replace(skips=())
    costs = [
        _cost("generator", generator, (pictures, styles, masks), weights=generator),
        _cost("generator/encoder", generator.encode, (pictures,)),
        _cost("generator/decoder", generator.decode, (bare, styles, masks)),
    ]
    if skips != "none":
        full = _cost("generator/skips", generator.decode, (content, styles, masks))
        numbers = ("parameters", "gmac", "weights_mb", "peak_mb")
        added = {name: getattr(full, name) - getattr(costs[-1], name) for name in numbers}
        costs.append(dataclasses.replace(full, **added))
    return costs


def _style_encoder_costs(networks: Networks, pictures: Tensor, domains: Tensor) -> list[PartCost]:
    """The style encoder, and of it the frozen feature network if it has one."""
    encoder = networks.style_encoder
    costs = [_cost("style_encoder", encoder, (pictures, domains), weights=encoder)]
    if networks.config.style_encoder == "projected":
        costs.append(_cost("style_encoder/features", encoder.features, (pictures,)))
    return costs


def _cost(
    part: str,
    run: Callable[..., object],
    arguments: tuple,
    *,
    weights: nn.Module | None = None,
) -> PartCost:
    """Costs of ``run(*arguments)``.

    Args:
        part: its name.
        run: a network, or a method of one.
        arguments: tensors of one picture, in any nesting.
        weights: the network whose parameters and buffers count; without it the parameters count
            that the pass uses.
    """
    with _UsedParameters() as used, _Ledger(arguments) as ledger:
        run(*arguments)
    if weights is None:
        kept = parameters = list(used.found.values())
    else:
        kept, parameters = list(weights.state_dict().values()), list(weights.parameters())
    return PartCost(
        part=part,
        parameters=sum(p.numel() for p in parameters),
        gmac=ledger.flops / 2e9,
        weights_mb=sum(t.nbytes for t in kept) / 1e6,
        peak_mb=ledger.peak / 1e6,
    )


class _UsedParameters(TorchFunctionMode):
    """Collects the parameters that functions of torch are given, called through modules or not."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, nn.Parameter] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, nn.Parameter):
                self.found[id(value)] = value
        return func(*args, **(kwargs or {}))


class _Ledger(TorchDispatchMode):
    """Counts floating point operations, and the bytes of the tensors that are alive.

    Args:
        inputs: tensors, in any nesting, that are alive at the start.
    """

    def __init__(self, inputs: object) -> None:
        super().__init__()
        self.flops = self.alive = self.peak = 0
        self.derived: set[int] = set()  # keys of memory whose content follows from the inputs
        self.attention = _FusedAttention(self)
        for key, storage in _storages(inputs).items():
            self._add(key, storage)
            self.derived.add(key)

    def __enter__(self) -> _Ledger:
        self.attention.__enter__()
        return super().__enter__()

    def __exit__(self, *error) -> None:
        super().__exit__(*error)
        self.attention.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given, found = _storages((args, kwargs)), _storages(out)
        for key in found.keys() - given.keys():  # others are views, or written in place
            self._add(key, found[key])
        if not self.derived.isdisjoint(given):
            self.derived |= found.keys()
            if (formula := flop_registry.get(func.overloadpacket)) is not None:
                self.flops += formula(*args, **kwargs, out_val=out)
        return out

    def _add(self, key: int, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self.alive -= size
        self.derived.discard(key)


class _FusedAttention(TorchFunctionMode):
    """Attention as the fused kernels of CPUs and GPUs do it: they allocate the output alone, where
    the meta device would take the path that stores the attention weights."""

    def __init__(self, ledger: _Ledger) -> None:
        super().__init__()
        self.ledger = ledger

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        given = dict(zip(("query", "key", "value"), args)) | kwargs
        query, key, value = (given[name] for name in ("query", "key", "value"))
        shapes = [t.flatten(0, -4).shape for t in (query, key, value)]
        self.ledger.flops += sdpa_flop_count(*shapes)
        return query.new_empty(*query.shape[:-1], value.shape[-1])


def _storages(values: object) -> dict[int, torch.UntypedStorage]:
    """The memory behind the tensors in any nesting of containers."""
    tensors = [v for v in tree_leaves(values) if isinstance(v, Tensor)]
    return {id(storage): storage for storage in (t.untyped_storage() for t in tensors)}
