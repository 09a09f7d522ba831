"""Import of official StarGAN v2 checkpoints (Choi et al. 2020, github.com/clovaai/stargan-v2).

An ``NNNNNN_nets_ema.ckpt`` is a dict of the state dicts ``generator``, ``mapping_network`` and
``style_encoder``. It says nothing else, so every size is read off the weights. Files differ by
age: until April 2021 the high-pass filter was not stored (the published CelebA-HQ checkpoint is
one of these), and for two days in that month every key began with ``module.``.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from facemeld.config import NetworkConfig
from facemeld.errors import UserError
from facemeld.networks.bundle import Networks, load_model, save_model
from facemeld.networks.torch_file import read_torch_file

PARTS = ("generator", "mapping_network", "style_encoder")
_FILTER = "generator.hpf.filter"
_FIX = "give an official NNNNNN_nets_ema.ckpt"

# our name -> official name; {domain} stands for the number of a domain
_RENAMES = (
    (r"^generator\.encoder\.", "generator.encode."),
    (r"^generator\.decoder\.", "generator.decode."),
    (r"\.(norm[12])\.linear\.", r".\1.fc."),
    (r"\.shortcut\.", ".conv1x1."),
    (r"^generator\.to_rgb\.", "generator.to_rgb.2."),
    (r"^generator\.output_norm\.", "generator.to_rgb.0."),
    (r"^style_encoder\.trunk\.", "style_encoder.shared."),
    (r"^style_encoder\.heads\.", "style_encoder.unshared.{domain}."),
)


def import_stargan_v2(
    checkpoint: Path,
    out: Path,
    *,
    domains: Sequence[str] | None = None,
    w_hpf: float | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Networks:
    """Turns an official checkpoint into a model folder.

    Args:
        checkpoint: an ``NNNNNN_nets_ema.ckpt``; a ``_nets.ckpt`` is taken with a note.
        out: folder of the model; created, or empty.
        domains: names of the domains in the order of training, which official code takes from the
            sorted folder names. A checkpoint does not store them: without names they are numbered.
        w_hpf: strength divisor of the high-pass skips, for checkpoints that have such skips but do
            not store it; 1 (the official default) if not given.
        on_note: told each thing that the person should know; the model card has them all.

    Returns:
        The networks as loaded from the new folder, in eval mode.

    Raises:
        UserError: the checkpoint is not what it should be, or the folder cannot be written.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    _require_empty(out)
    weights = _OfficialWeights(read_torch_file(checkpoint), checkpoint)
    config = _read_config(weights, domains, w_hpf)
    with torch.device("meta"):
        networks = Networks(config)
    networks.load_state_dict(_translate(weights, networks), assign=True)
    notes = _notes(weights, config, named=domains is not None, w_hpf=w_hpf)
    for note in notes:
        if on_note is not None:
            on_note(note)
    try:
        save_model(networks, out, card=_model_card(checkpoint, config, notes))
    except UserError:
        for file in out.glob("*"):
            file.unlink(missing_ok=True)
        raise
    return load_model(out)


class _OfficialWeights:
    """The tensors of a checkpoint under names such as ``generator.from_rgb.weight``."""

    def __init__(self, contents: object, path: Path) -> None:
        self.path = path
        if not isinstance(contents, dict):
            raise self.error(f"holds a {type(contents).__name__}, not a dict of networks")
        self.parts = {str(name) for name in contents}
        if missing := [part for part in PARTS if part not in contents]:
            held = _listed(sorted(self.parts)) or "nothing"
            raise self.error(f"no {' and no '.join(missing)} in it; it holds {held}")
        self.tensors: dict[str, Tensor] = {}
        for part in PARTS:
            self._add(part, contents[part])
        claimed = sum(t.numel() * t.element_size() for t in self.tensors.values())
        if claimed > path.stat().st_size:
            raise self.error("claims more weights than the file holds")

    def _add(self, part: str, weights: object) -> None:
        if isinstance(weights, dict) and "param_groups" in weights:
            raise self.error("holds the state of the optimisers (…_optims.ckpt), not weights")
        if not isinstance(weights, dict) or not all(
            isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in weights.items()
        ):
            raise self.error(f"{part} is not a dict of tensors")
        for name, tensor in weights.items():
            if tensor.layout != torch.strided or not tensor.is_floating_point():
                raise self.error(f"{part}.{_listed([name])} is not a plain tensor of real numbers")
            self.tensors[f"{part}.{name.removeprefix('module.')}"] = tensor

    def error(self, what: str) -> UserError:
        return UserError(what, where=str(self.path), fix=_FIX)

    def size(self, name: str, axis: int = 0) -> int:
        """Length of one axis of a tensor."""
        if name not in self.tensors:
            raise self.error(f"{name} is missing")
        if self.tensors[name].dim() <= axis:
            raise self.error(f"{name} has an unexpected shape")
        return self.tensors[name].shape[axis]

    def count(self, pattern: str, *, start: int = 0, step: int = 1) -> int:
        """How many of pattern.format(start), pattern.format(start + step), … there are."""
        number = 0
        while pattern.format(start + step * number) in self.tensors:
            number += 1
        return number


def _read_config(
    weights: _OfficialWeights, domains: Sequence[str] | None, w_hpf: float | None
) -> NetworkConfig:
    """The configuration that the weights' names and shapes tell; UserError where they disagree."""
    first = weights.size("generator.from_rgb.weight")
    image_size = 2**14 // max(first, 1)
    levels = image_size.bit_length() - 1
    if first * 2**levels != 2**14 or not 32 <= image_size <= 1024:
        raise weights.error(
            f"generator.from_rgb.weight has {first} channels, but 2^14 / image size are expected"
        )
    blocks = weights.count("generator.encode.{}.conv1.weight")
    plain = levels - 4 + 2
    if blocks not in (plain, plain + 1):
        raise weights.error(
            f"the generator for {image_size} px has {blocks} encoder blocks, but {plain} "
            f"(w_hpf = 0) or {plain + 1} (w_hpf > 0) are expected"
        )
    high_pass = blocks > plain
    style_blocks = weights.count("style_encoder.shared.{}.conv1.weight", start=1)
    if style_blocks != levels - 2:
        raise weights.error(
            f"the generator is for {image_size} px, the style encoder for {4 << style_blocks} px"
        )
    generator_widths = [
        weights.size(f"generator.encode.{i}.conv2.weight") for i in range(blocks - 2)
    ]
    style_widths = [
        weights.size(f"style_encoder.shared.{i + 1}.conv2.weight") for i in range(style_blocks)
    ]
    config = NetworkConfig(
        image_size=image_size,
        domains=_domain_names(weights, domains),
        skips="masked" if high_pass else "none",
        high_pass_divisor=_high_pass_divisor(weights, w_hpf) if high_pass else 1.0,
        widths=(first, *generator_widths),
        style_size=weights.size("generator.decode.0.norm1.fc.weight", 1),
        latent_size=weights.size("mapping_network.shared.0.weight", 1),
        style_encoder_widths=(weights.size("style_encoder.shared.0.weight"), *style_widths),
        mapping_width=weights.size("mapping_network.shared.0.weight"),
        mapping_shared_layers=weights.count("mapping_network.shared.{}.weight", step=2),
        mapping_domain_layers=weights.count("mapping_network.unshared.0.{}.weight", step=2),
    )
    if w_hpf and not high_pass:
        raise weights.error(f"w_hpf is {w_hpf}, but the generator has the layers of w_hpf = 0")
    if problems := config.problems():
        raise weights.error("; ".join(problems))
    return config


def _domain_names(weights: _OfficialWeights, names: Sequence[str] | None) -> tuple[str, ...]:
    count = weights.count("mapping_network.unshared.{}.0.weight")
    if count == 0:
        raise weights.error("mapping_network.unshared.0.0.weight is missing")
    if names is None:
        return tuple(f"domain_{index}" for index in range(count))
    if len(names) != count or len(set(names)) != count or "" in names:
        raise UserError(
            f"the checkpoint has {count} domains, but the names given are: {', '.join(names)}",
            where="domains",
            fix=f"give {count} different names, in the order of training (sorted folder names)",
        )
    return tuple(names)


def _high_pass_divisor(weights: _OfficialWeights, w_hpf: float | None) -> float:
    """w_hpf as the stored filter tells it, else as given, else the official default of 1."""
    if _FILTER not in weights.tensors:
        return 1.0 if w_hpf is None else float(w_hpf)
    stored = weights.tensors[_FILTER].float()
    if stored.shape != (3, 3) or not 0 < stored[1, 1] < float("inf"):
        raise weights.error(f"{_FILTER} is not a 3 x 3 Laplacian")
    # fp32 keeps seven digits: they turn 0.30000000715 back into 0.3
    divisor = float(f"{8.0 / float(stored[1, 1]):.7g}")
    laplacian = torch.full((3, 3), -1.0)
    laplacian[1, 1] = 8.0
    if not torch.allclose(stored * divisor, laplacian, atol=1e-5):
        raise weights.error(f"{_FILTER} is not a 3 x 3 Laplacian")
    if w_hpf is not None and not math.isclose(w_hpf, divisor, rel_tol=1e-6):
        raise weights.error(f"w_hpf is {w_hpf}, but the checkpoint was trained with {divisor}")
    return divisor


def _translate(weights: _OfficialWeights, networks: Networks) -> dict[str, Tensor]:
    """The official tensors under our names, fp32; UserError names what is missing or surplus."""
    domains = len(networks.config.domains)
    ours = {name: tuple(tensor.shape) for name, tensor in networks.state_dict().items()}
    plan = {name: _official_names(name, domains) for name in ours}
    expected: dict[str, tuple[int, ...]] = {}
    for name, shape in ours.items():
        if name.startswith("mapping_network.heads."):
            piece = shape[1:]  # K O I here, O I for each domain there
        else:
            piece = (shape[0] // len(plan[name]), *shape[1:])
        expected |= dict.fromkeys(plan[name], piece)
    _require_shapes(weights, expected, high_pass=networks.config.skips == "masked")
    translated = {}
    for name, shape in ours.items():
        pieces = torch.stack([weights.tensors[official].float() for official in plan[name]])
        if not pieces.isfinite().all():
            raise weights.error(f"{plan[name][0]} holds values that are not finite")
        translated[name] = pieces.reshape(shape)
    return translated


def _official_names(name: str, domains: int) -> list[str]:
    """The official tensors that one of ours is made of: one, or one a domain."""
    official = name
    for pattern, replacement in _RENAMES:
        official = re.sub(pattern, replacement, official)
    if layer := re.fullmatch(r"mapping_network\.(shared|heads)\.(\d+)\.(\w+)", official):
        part = "shared" if layer[1] == "shared" else "unshared.{domain}"
        official = f"mapping_network.{part}.{2 * int(layer[2])}.{layer[3]}"  # ReLU has odd numbers
    if "{domain}" not in official:
        return [official]
    return [official.format(domain=domain) for domain in range(domains)]


def _require_shapes(
    weights: _OfficialWeights, expected: dict[str, tuple[int, ...]], *, high_pass: bool
) -> None:
    unused = {_FILTER} if high_pass else set()
    if high_pass:  # these blocks have shortcuts that official code stores and never applies
        unused |= {n for n in weights.tensors if re.match(r"generator\.decode\.\d+\.conv1x1", n)}
    found = {name: tuple(tensor.shape) for name, tensor in weights.tensors.items()}
    problems = []
    if missing := [name for name in expected if name not in found]:
        problems.append(f"{len(missing)} missing ({_listed(missing)})")
    if surplus := [name for name in found if name not in expected and name not in unused]:
        problems.append(f"{len(surplus)} unknown ({_listed(surplus)})")
    if wrong := [n for n in expected if n in found and found[n] != expected[n]]:
        name = wrong[0]
        problems.append(
            f"{len(wrong)} of another shape ({_listed(wrong)}; the first is {found[name]} "
            f"instead of {expected[name]})"
        )
    if problems:
        raise weights.error("the weights are not those of StarGAN v2: " + "; ".join(problems))


def _listed(names: list[str]) -> str:
    """The first few names, made safe for a terminal: they come from a stranger's file."""
    safe = [name.encode("unicode_escape").decode()[:80] for name in names[:3]]
    return ", ".join(safe) + (", …" if len(names) > 3 else "")


def _require_empty(out: Path) -> None:
    try:
        used = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(out)) from None
    if used:
        raise UserError(
            "exists already, and nothing is overwritten",
            where=str(out),
            fix="give a new or empty folder, or remove this one",
        )


def _notes(
    weights: _OfficialWeights, config: NetworkConfig, *, named: bool, w_hpf: float | None
) -> list[str]:
    notes = []
    if not named:
        notes.append(
            "A checkpoint does not store the names of its domains, so they are numbered here. "
            "Official code orders them by folder name: female, male for CelebA-HQ; cat, dog, wild "
            "for AFHQ. Import again with their names if you know them."
        )
    if "discriminator" in weights.parts:
        notes.append(
            "These are the weights in training (_nets.ckpt), not their moving average "
            "(_nets_ema.ckpt), which usually gives better pictures."
        )
    if config.skips == "masked":
        notes.append(
            "The generator has high-pass skips inside landmark masks. facemeld makes them with the "
            "official landmark network (wing.ckpt) or, without its file, from 66 landmarks; align "
            "sources as CelebA-HQ is (facemeld align --layout)."
        )
        if _FILTER not in weights.tensors and w_hpf is None:
            notes.append(
                "The checkpoint is of the time when w_hpf was not stored; 1, the official default, "
                "is assumed. Import again with w_hpf if it was trained with another."
            )
    return notes


def _model_card(checkpoint: Path, config: NetworkConfig, notes: list[str]) -> str:
    with checkpoint.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    skips = "none (w_hpf = 0)"
    if config.skips == "masked":
        skips = f"high-pass inside landmark masks, w_hpf = {config.high_pass_divisor:g}"
    notes_list = "\n".join(f"- {note}" for note in notes) or "- none"
    return f"""# StarGAN v2, imported from an official checkpoint

Weights in the layout of [clovaai/stargan-v2](https://github.com/clovaai/stargan-v2) (Choi et al.
2020, "StarGAN v2: Diverse image synthesis for multiple domains"), converted by facemeld. Generator,
style encoder and mapping network compute what the official code computes.

| | |
|---|---|
| file | `{checkpoint.name}` |
| SHA-256 of the file | `{sha256}` |
| picture size | {config.image_size} px |
| domains | {", ".join(config.domains)} |
| skips | {skips} |
| style size, latent size | {config.style_size}, {config.latent_size} |

## Licence

The weights that NAVER Corp. publishes are under Creative Commons Attribution-NonCommercial 4.0
(<https://creativecommons.org/licenses/by-nc/4.0/>): name their authors, no commercial use. The
conversion does not change that. Weights that somebody else trained carry the terms of whoever
trained them and of the pictures they learned from; the file itself names neither.

## Notes of the import

{notes_list}

## Data, cost, results and limits

The checkpoint does not say what it was trained on or how well it does; see where it comes from.
For its published weights the paper gives FID 13.73 (latent) and 23.84 (reference) on CelebA-HQ,
16.18 and 19.78 on AFHQ, at 256 px; they were not measured again here. The networks expect faces
cropped and aligned as in their training data.
"""
