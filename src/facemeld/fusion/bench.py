"""What a fused picture costs on this machine: a new source, and a control that is moved."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facemeld.fusion.pipeline import FusionPipeline

_PEAK_SIDE = 1024
_PEAK_TRIALS = 5


@dataclass(frozen=True)
class FusionCost:
    """What one picture costs, from pixels to pixels, without reading and writing files."""

    pictures_per_second: float
    """Of new sources under a known look."""
    milliseconds_per_picture: float
    """The same, the other way round; the median."""
    gflop_per_picture: float
    """10^9 multiplications and additions of the generator as PyTorch computes it."""
    fraction_of_peak: float
    """Those operations a second, as a share of the fastest fp32 matrix product."""
    peak_memory_mb: float | None
    """Of this process with all its libraries."""
    milliseconds_slider: float
    """A control moved for the same pictures; the median."""
    milliseconds_first: float
    """Loading the model and fusing the first picture, when the program itself is loaded."""


def measure_fusion(
    model: str | Path,
    *,
    backend: str = "auto",
    precision: str = "fp32",
    compile: bool = False,
    seconds: float = 10.0,
    on_note: Callable[[str], None] = lambda text: None,
) -> tuple[FusionCost, dict]:
    """Fuses made-up pictures for a while; gives the cost, and what was measured.

    Args:
        model: bundled name or model folder.
        backend, precision, compile: see ``FusionPipeline.from_pretrained``.
        seconds: about how long; half for new sources, half for the control.
        on_note: is told what ``auto`` measured.
    """
    began = time.perf_counter()
    pipe = FusionPipeline.from_pretrained(
        model, backend=backend, precision=precision, compile=compile, on_note=on_note
    )
    random = np.random.default_rng(0)

    def picture() -> Image.Image:
        return Image.fromarray(random.integers(0, 256, (pipe.image_size,) * 2 + (3,), np.uint8))

    reference, known = picture(), picture()
    domain = pipe.domains[0]

    def fuse(source: Image.Image, strength: float) -> None:
        pipe(source, reference, strength=strength, domain=domain, source_domain=domain)

    fuse(known, 1.0)
    first = time.perf_counter() - began
    fuse(known, 0.5)  # for its own style
    sources = _median(lambda: fuse(picture(), 1.0), seconds / 2)
    slider = _median(lambda: fuse(known, random.random()), seconds / 2)
    memory = _peak_memory_mb()
    gflop = _generator_gflop(pipe)
    cost = FusionCost(
        pictures_per_second=1 / sources,
        milliseconds_per_picture=1000 * sources,
        gflop_per_picture=gflop,
        fraction_of_peak=1e9 * gflop / sources / _matmul_peak(),
        peak_memory_mb=memory,
        milliseconds_slider=1000 * slider,
        milliseconds_first=1000 * first,
    )
    facts = {"model": pipe.name, "image_size": pipe.image_size, "backend": pipe.backend.name}
    return cost, facts


def _median(run: Callable[[], None], seconds: float) -> float:
    """Seconds of one run, after one that does not count."""
    run()
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def _generator_gflop(pipe: FusionPipeline) -> float:
    from facemeld.networks.costs import network_costs

    (generator,) = (c for c in network_costs(pipe.backend.config) if c.part == "generator")
    return 2 * generator.gmac


def _matmul_peak() -> float:
    """Operations a second of the fastest of several fp32 matrix products."""
    matrix = np.ones((_PEAK_SIDE, _PEAK_SIDE), np.float32)
    times = []
    for _ in range(1 + _PEAK_TRIALS):
        began = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - began)
    return 2 * _PEAK_SIDE**3 / min(times[1:])


def _peak_memory_mb() -> float | None:
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
