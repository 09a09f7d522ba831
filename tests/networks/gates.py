"""Gates that every generator must pass before it is worth training: the measures themselves.

The task is small but uses every part: under a first style the generator must give its sources
back, under a second one the sources with their colours exchanged. ``tests/networks/test_gates.py``
runs it at 16 px, ``benchmarks/generator_gates.py`` at 32 px, both for every kind of generator with
every kind of skips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import facemeld
from facemeld.config import SwinConfig
from facemeld.data.catalogue import find_weights
from facemeld.images.read import centre_square, read_picture
from facemeld.images.tensors import to_tensor
from facemeld.networks.generator import Generator
from facemeld.networks.swin import swin_parameters

PICTURES = 8
_WIDTHS = {16: (32, 64), 32: (32, 64, 96), 64: (32, 64, 96, 128)}


# what every generator has to reach
PSNR, STYLE_CONTRAST, SPECTRUM_ERROR, LOCALITY, HALF_DIFFERENCE = 28.0, 0.5, 0.1, 0.5, 0.05


@dataclass
class Gates:
    """What was measured on one generator after its short training."""

    psnr: float
    """dB, of the sources given back."""
    style_contrast: float
    """Difference between the outputs of two styles, as a share of that of their targets."""
    spectrum_error: float
    """Largest relative error of the radial power spectrum over all bands."""
    locality: float
    """Share of the squared change in the neighbourhood of an edited patch: the patch and half of
    its width around it, at most a quarter of the picture."""
    repeatable: bool
    """Two evaluations are equal to the bit."""
    half_difference: float
    """Deviation of the output with fp16 weights and bf16 arithmetic, in the output's own."""

    def missed(self) -> list[str]:
        """The gates that this generator does not pass, as sentences; NaN passes none."""
        found = []
        if not self.psnr >= PSNR:
            found.append(f"gives sources back at {self.psnr:.1f} dB, not {PSNR}")
        if not self.style_contrast >= STYLE_CONTRAST:
            found.append(f"two styles differ by {self.style_contrast:.0%} of their targets only")
        if not self.spectrum_error <= SPECTRUM_ERROR:
            found.append(f"a band of the spectrum is {self.spectrum_error:.0%} off")
        if not self.locality >= LOCALITY:
            found.append(f"{self.locality:.0%} of a local edit stays local")
        if not self.repeatable:
            found.append("two evaluations differ")
        if not self.half_difference <= HALF_DIFFERENCE:
            found.append(f"half precision deviates by {self.half_difference:.1%}")
        return found


def gate_generator(kind: str, skips: str, side: int) -> Generator:
    """The small generator that goes through the gates at a size."""
    generator = Generator(
        kind=kind,
        image_size=side,
        widths=_WIDTHS[side],
        style_size=16,
        encoder_blocks=1,
        decoder_blocks=1,
        skips=skips,
        skip_resolutions=(16, 32),
        styled_output=True,
        unit_styles=True,
        swin=SwinConfig(window_size=min(8, side // 4), convolutional_levels=1),
        feature_size=4 * side,
    )
    if kind == "projected":
        published = torch.load(find_weights("efficientnet-lite0"), weights_only=True)
        generator.encoder.features.load_published(published)
    return generator


def real_faces(size: int) -> Tensor:
    """Eight of the bundled faces. -> 8 3 H W"""
    folder = Path(facemeld.__file__).parent / "assets" / "faces"
    files = sorted(p for p in folder.iterdir() if p.suffix in (".png", ".jpg"))
    files = [files[i * len(files) // PICTURES] for i in range(PICTURES)]
    return to_tensor([centre_square(read_picture(file), size) for file in files])


def overfit(generator: Generator, pictures: Tensor, steps: int, learning_rate: float) -> Tensor:
    """Trains on the pictures under two styles; returns the styles, 2 S."""
    side = pictures.shape[-1]
    generator.to(memory_format=torch.channels_last).train()
    styles = torch.randn(2, generator.style_size)
    sources = pictures.repeat(2, 1, 1, 1)
    targets = torch.cat([pictures, pictures.roll(1, dims=1)])
    masks = torch.ones(len(sources), 2, side, side) if generator.skips == "masked" else None
    swin = {id(p) for group in swin_parameters(generator) for p in group}
    groups = [
        {"params": [p for p in generator.parameters() if (id(p) in swin) == chosen], "share": share}
        for chosen, share in ((False, 1.0), (True, 0.5))
    ]
    groups = [group for group in groups if group["params"]]
    optimizer = torch.optim.Adam(groups, lr=learning_rate, betas=(0.0, 0.99), fused=True)
    for step in range(steps):
        for group in optimizer.param_groups:
            rise, fall = min(1, (step + 1) / 20), math.cos(math.pi / 2 * step / steps)
            group["lr"] = learning_rate * group["share"] * rise * fall
        difference = generator(sources, styles.repeat_interleave(len(pictures), 0), masks) - targets
        loss = difference.abs().mean() + difference.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    generator.eval()
    return styles


@torch.no_grad()
def measure(generator: Generator, pictures: Tensor, styles: Tensor) -> Gates:
    """All gates of a generator that ``overfit`` has trained."""
    side = pictures.shape[-1]
    masks = torch.ones(len(pictures), 2, side, side) if generator.skips == "masked" else None

    def translate(sources: Tensor, style: int) -> Tensor:
        return generator(sources, styles[style].expand(len(sources), -1), masks)

    own, exchanged = translate(pictures, 0), translate(pictures, 1)
    wanted = (pictures - pictures.roll(1, dims=1)).abs().mean()
    edited = pictures.clone()
    patch = min(8, side // 4)
    inside = slice((side - patch) // 2, (side + patch) // 2)
    edited[..., inside, inside] *= -1
    change = (translate(edited, 0) - own).square().sum(dim=1)
    near = slice(inside.start - patch // 2, inside.stop + patch // 2)
    repeatable = torch.equal(own, translate(pictures, 0))

    weights = {name: t.clone() for name, t in generator.state_dict().items()}
    generator.load_state_dict({name: t.half().float() for name, t in weights.items()})
    with torch.autocast("cpu", torch.bfloat16):
        half = translate(pictures, 0).float()
    generator.load_state_dict(weights)
    return Gates(
        psnr=10 * math.log10(4 / (own - pictures).square().mean().item()),
        style_contrast=((own - exchanged).abs().mean() / wanted).item(),
        spectrum_error=_spectrum_error(own, pictures),
        locality=(change[:, near, near].sum() / change.sum()).item(),
        repeatable=repeatable,
        half_difference=((half - own).std() / own.std()).item(),
    )


def _spectrum_error(fakes: Tensor, reals: Tensor) -> float:
    bands = reals.shape[-1] // 4
    fake, real = _radial_power(fakes, bands), _radial_power(reals, bands)
    return ((fake - real).abs() / real).max().item()


def _radial_power(pictures: Tensor, bands: int) -> Tensor:
    """Mean power in rings of spatial frequency up to Nyquist's, the mean left out. -> bands"""
    side = pictures.shape[-1]
    window = torch.hann_window(side, periodic=False)
    power = torch.fft.fft2(pictures * window[:, None] * window).abs().square().mean(dim=(0, 1))
    frequency = torch.fft.fftfreq(side) * side
    radius = torch.hypot(frequency[:, None], frequency)
    ring = (radius / (side / 2) * bands).long()
    inside = (ring < bands) & (radius >= 1)
    return torch.stack([power[inside & (ring == band)].mean() for band in range(bands)])
