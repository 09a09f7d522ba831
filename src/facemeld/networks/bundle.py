"""Build, save and load the networks of a model.

A model folder holds ``config.json`` (a NetworkConfig), ``model.safetensors`` (generator, style
encoder and mapping network), ``README.md`` (the model card), and the licence of the frozen feature
network if it is inside. ``discriminator.safetensors``, for those who train the model on, may be
left out. No pickle is read or written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.overrides import TorchFunctionMode

from facemeld.config import MODEL_FORMAT, NetworkConfig, to_dict
from facemeld.errors import UserError
from facemeld.files import write_whole
from facemeld.networks.discriminator import ProjectedDiscriminator, ResNetDiscriminator
from facemeld.networks.generator import Generator
from facemeld.networks.mapping import MappingNetwork
from facemeld.networks.model_folder import read_network_config
from facemeld.networks.style_encoder import (
    ProjectedStyleEncoder,
    ResNetStyleEncoder,
    SwinStyleEncoder,
)

DISCRIMINATOR = "discriminator.safetensors"


class Networks(nn.Module):
    """The three networks that fusion needs, and the configuration that they were built from."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        config = config.resolved()
        self.config = config
        self.generator = build_generator(config)
        self.style_encoder = _build_style_encoder(config)
        self.mapping_network = MappingNetwork(
            latent_size=config.latent_size,
            style_size=config.style_size,
            domains=len(config.domains),
            width=config.mapping_width,
            shared_layers=config.mapping_shared_layers,
            domain_layers=config.mapping_domain_layers,
            unit_styles=config.unit_styles,
        )
        if config.generator == config.style_encoder == "projected":
            # one frozen network for both, and in files once: as the style encoder's
            self.generator.encoder.features = self.style_encoder.features
            self.register_state_dict_post_hook(_leave_out_shared)
            self.register_load_state_dict_pre_hook(_put_back_shared)


_SHARED, _KEPT = "generator.encoder.features.", "style_encoder.features."


def other_name(name: str) -> str:
    """The name of a tensor of the generator's frozen features as one of the style encoder's."""
    return _KEPT + name.removeprefix(_SHARED) if name.startswith(_SHARED) else name


def _leave_out_shared(networks: Networks, state: dict, prefix: str, metadata: dict) -> None:
    for name in [n for n in state if n.startswith(prefix + _SHARED)]:
        del state[name]


def _put_back_shared(networks: Networks, state: dict, prefix: str, *rest: object) -> None:
    for name in [n for n in state if n.startswith(prefix + _KEPT)]:
        state[prefix + _SHARED + name.removeprefix(prefix + _KEPT)] = state[name]


def build_generator(config: NetworkConfig) -> Generator:
    """The generator that this configuration describes."""
    config = config.resolved()
    return Generator(
        kind=config.generator,
        image_size=config.image_size,
        patch_size=config.patch_size,
        widths=config.widths,
        style_size=config.style_size,
        encoder_blocks=config.encoder_blocks,
        decoder_blocks=config.decoder_blocks,
        skips=config.skips,
        skip_resolutions=config.skip_sides(),
        high_pass_divisor=config.high_pass_divisor,
        styled_output=config.styled_output,
        unit_styles=config.unit_styles,
        swin=config.swin,
        separable=config.separable,
        feature_size=config.feature_size,
    )


def _build_style_encoder(config: NetworkConfig) -> nn.Module:
    if config.style_encoder == "projected":
        return ProjectedStyleEncoder(
            style_size=config.style_size,
            domains=len(config.domains),
            feature_size=config.feature_size,
        )
    if config.style_encoder == "swin":
        return SwinStyleEncoder(
            widths=config.style_encoder_widths,
            style_size=config.style_size,
            domains=len(config.domains),
            unit_styles=config.unit_styles,
            swin=config.swin,
        )
    return ResNetStyleEncoder(
        widths=config.style_encoder_widths,
        style_size=config.style_size,
        domains=len(config.domains),
        unit_styles=config.unit_styles,
    )


def build_discriminator(config: NetworkConfig) -> nn.Module:
    """The discriminator that this configuration names."""
    config = config.resolved()
    if config.discriminator == "projected":
        return ProjectedDiscriminator(domains=len(config.domains), feature_size=config.feature_size)
    return ResNetDiscriminator(widths=config.discriminator_widths, domains=len(config.domains))


@contextmanager
def without_values() -> Iterator[None]:
    """Networks built inside are shapes only: on the meta device, and not initialised."""
    with torch.device("meta"), _NoRandomFill():
        yield


class _NoRandomFill(TorchFunctionMode):
    """Leaves tensors as they are where they would be filled at random: on the meta device there is
    nothing to fill, but PyTorch imports its compiler for it, which takes a second."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def save_model(
    networks: Networks,
    folder: Path,
    *,
    card: str,
    half: bool = False,
    discriminator: nn.Module | dict[str, torch.Tensor] | None = None,
) -> None:
    """Writes a model folder; each file appears whole or not at all.

    Args:
        networks: what to save.
        folder: created if missing; files of an earlier model in it are replaced.
        card: text of the model card, Markdown.
        half: store the weights in fp16 (loading turns them back into fp32).
        discriminator: or its weights, stored beside in fp16 for those who train the model on.
    """
    config = {"format": MODEL_FORMAT, "network": to_dict(networks.config)}
    tensors = _stored(networks.state_dict(), half)
    texts = {"README.md": card}
    if "projected" in (networks.config.style_encoder, networks.config.generator):
        name = "LICENSE-efficientnet-lite0.txt"
        texts[name] = Path(__file__).with_name(name).read_text(encoding="utf-8")
    texts["config.json"] = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / "model.safetensors", lambda partial: save_file(tensors, partial))
    if discriminator is None:
        (folder / DISCRIMINATOR).unlink(missing_ok=True)
    else:
        weights = discriminator if isinstance(discriminator, dict) else discriminator.state_dict()
        weights = _stored(weights, half=True)
        write_whole(folder / DISCRIMINATOR, lambda partial: save_file(weights, partial))
    for name, text in texts.items():
        write_whole(folder / name, lambda partial, text=text: partial.write_text(text, "utf-8"))


def _stored(weights: dict[str, torch.Tensor], half: bool) -> dict[str, torch.Tensor]:
    kind = torch.float16 if half else torch.float32
    return {name: tensor.detach().to("cpu", kind).contiguous() for name, tensor in weights.items()}


def read_discriminator(folder: Path) -> dict[str, torch.Tensor] | None:
    """Weights of the discriminator that a model folder may hold.

    Raises:
        UserError: it is damaged, or not the one that the model's configuration describes.
    """
    path = folder / DISCRIMINATOR
    if not path.is_file():
        return None
    with without_values():
        discriminator = build_discriminator(read_network_config(folder))
    return _read_weights(path, discriminator)


def load_model(folder: Path, *, device: str | torch.device = "cpu") -> Networks:
    """Reads a model folder into networks in eval mode.

    Raises:
        UserError: the folder is missing, damaged, from a newer version, or its weights are not
            those that its configuration describes. Nothing is allocated before both agree. Or the
            device cannot be used.
    """
    config = read_network_config(folder)
    check_device(device)
    with without_values():
        networks = Networks(config)
    networks.load_state_dict(_read_weights(folder / "model.safetensors", networks), assign=True)
    networks = networks.to(device)
    if torch.device(device).type != "cpu":
        # On CPUs channels-last convolutions add up longer rows: a fifth faster, but five times the
        # rounding error, up to 5e-4 from what the official code gives for the same weights.
        networks = networks.to(memory_format=torch.channels_last)
    return networks.eval().requires_grad_(False)


def check_device(device: str | torch.device) -> None:
    """UserError if PyTorch cannot compute there."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"this device cannot be used: {reason}", where=f"device {device}", fix="take the cpu"
        ) from None


def _read_weights(path: Path, networks: nn.Module) -> dict[str, torch.Tensor]:
    expected = {name: tuple(t.shape) for name, t in networks.state_dict().items()}
    later = {f"{n}.{t}" for n, m in networks.named_modules() for t in getattr(m, "later", ())}
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
            for name in later - found.keys():
                del expected[name]  # older than the tensor, which the module puts in
            _compare_shapes(expected, found, path)
            return {name: file.get_tensor(name).float() for name in expected}
    except FileNotFoundError:
        raise UserError("the weights are missing", where=str(path)) from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"the weights cannot be read: {error}", where=str(path)) from None


def _compare_shapes(expected: dict, found: dict, path: Path) -> None:
    missing = sorted(expected.keys() - found.keys())
    surplus = sorted(found.keys() - expected.keys())
    wrong = [n for n in expected if n in found and expected[n] != found[n]]
    parts = []
    for what, names in (("missing", missing), ("unknown", surplus), ("of another shape", wrong)):
        if names:
            more = ", …" if len(names) > 3 else ""
            parts.append(f"{len(names)} {what} ({', '.join(names[:3])}{more})")
    if parts:
        raise UserError("weights do not fit config.json: " + "; ".join(parts), where=str(path))
