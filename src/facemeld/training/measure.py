"""What a training step costs on this machine: speed, operations, memory.

The steps measured are a run's own, with data, optimisers and moving average, on pictures made up
for the purpose or given.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from facemeld.config import TrainingConfig
from facemeld.data.cache import cached_pictures
from facemeld.data.folders import DomainFolders, scan_domains
from facemeld.data.prefetch import BatchesAhead
from facemeld.data.sampling import BatchSampler
from facemeld.training.loop import _Run
from facemeld.training.needs import processes_of, published_features, training_folders
from facemeld.training.precision import fastest_precision
from facemeld.training.processes import Team, device_of, launch
from facemeld.training.runlog import peak_memory_mb

WARM_UP = 2
LEAN_CYCLE = 8
PEAK_TRIALS = 6


@dataclass(frozen=True)
class Cost:
    """What one picture costs."""

    pictures_per_second: float
    milliseconds_per_picture: float
    gflop_per_picture: float | None
    """10^9 multiplications and additions of matrix products and convolutions, both ways."""
    fraction_of_peak: float | None
    """Those operations a second, as a share of the fastest matrix product in this precision."""
    peak_memory_mb: float | None
    """On a GPU what tensors took at most; else of this process with all its libraries."""


def measure_training(
    config: TrainingConfig,
    *,
    seconds: float = 20.0,
    iterations: int | None = None,
    weights_dir: str | Path | None = None,
) -> tuple[Cost, TrainingConfig]:
    """Trains for a while on ``config.data`` and tells the cost, and the options as resolved.

    Args:
        config: the run; its warm-up of pure reconstruction is left out.
        seconds: about how long to measure. At least one cycle is measured, after which all that
            comes every few iterations (R1, reconstruction) has come round.
        iterations: measure as many instead.
        weights_dir: where to look first for the weights of frozen networks.

    Raises:
        UserError: impossible options or unusable data.
    """
    config, folders = _ready(config)
    features = published_features(config, weights_dir)
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory() as out:
        how = (Path(out), features, weights_dir, seconds, iterations, costs)
        launch(config.processes, _measure, config, folders, *how)
    return costs[0], config


def _ready(config: TrainingConfig) -> tuple[TrainingConfig, DomainFolders]:
    folders = training_folders(config)
    network = dataclasses.replace(config.network, domains=folders.domains)
    config = dataclasses.replace(config, network=network, warmup_pictures=0, outermost_pictures=0)
    config = dataclasses.replace(config, processes=processes_of(config)).resolved()
    if config.precision == "auto":
        config = dataclasses.replace(config, precision=fastest_precision(device_of()))
    return config, folders


def prepared_run(config: TrainingConfig, out: Path, weights_dir: str | Path | None = None) -> _Run:
    """A run of one process on ``config.data``, ready to iterate; in ``out`` it caches pictures."""
    config, folders = _ready(dataclasses.replace(config, processes=1))
    team = Team(device=device_of())
    return _Run(team, config, folders, out, published_features(config, weights_dir), weights_dir)


def _measure(
    team: Team,
    config: TrainingConfig,
    folders: DomainFolders,
    out: Path,
    features: Path | None,
    weights_dir: str | Path | None,
    seconds: float,
    iterations: int | None,
    costs: list[Cost],
) -> None:
    """The work of one process; the leader's cost is appended to ``costs``."""
    run = team.together(lambda: _Run(team, config, folders, out, features, weights_dir))
    recipe = run._recipe(discriminator_started=False)

    batches = BatchesAhead(run.sampler.batch, 0)  # as in training

    def go(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            run.iterate(recipe, batches.take(run.iteration))
        _wait(run.device)
        return time.perf_counter() - began

    go(WARM_UP)
    cycle = iterations or _cycle(config)
    run.iteration = cycle  # a multiple of what comes every few iterations
    elapsed, done = 0.0, 0
    while not done or (iterations is None and team.from_leader(lambda: elapsed < seconds)):
        elapsed += go(cycle)
        done += cycle
    memory = peak_memory_mb(run.device)  # what comes now is not part of training
    if config.compile:  # compiled code calls kernels that cannot be counted
        eager = dataclasses.replace(config, compile=False)
        run = _Run(team, eager, folders, out, features, weights_dir)
        recipe = run._recipe(discriminator_started=False)
    run.iteration = cycle
    with Operations() as operations:
        go(cycle)
    batches.close()
    pictures = config.batch_size * done
    gflop = operations.total * team.size / (config.batch_size * cycle) / 1e9
    team.together(lambda: None)  # all processes measure the peak together, as they trained
    peak = matmul_peak(run.device, config.precision) * team.size
    costs.append(
        Cost(
            pictures_per_second=pictures / elapsed,
            milliseconds_per_picture=1e3 * elapsed / pictures,
            gflop_per_picture=gflop,
            fraction_of_peak=gflop * pictures / elapsed / peak,
            peak_memory_mb=memory,
        )
    )


class Operations(TorchDispatchMode):
    """While active, counts multiplications and additions of matrix products and convolutions.

    PyTorch's FlopCounterMode, whose formulas these are, also follows modules, and its hooks for
    that forbid the inner derivative of R1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if formula := flop_registry.get(function._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def _cycle(config: TrainingConfig) -> int:
    return LEAN_CYCLE if config.recipe == "lean" else config.penalty_interval


def measure_data(
    data: Path, folder: Path, *, image_size: int, batch_size: int, seconds: float
) -> tuple[Cost, dict]:
    """Decodes the pictures of ``data`` into a cache in ``folder``, and takes batches from it.

    Returns:
        The cost of a picture in a batch, and how many pictures a second were decoded.
    """
    folders = scan_domains(data)
    began = time.perf_counter()
    cached_pictures(folders, image_size, folder / "cache")
    decoding = time.perf_counter() - began
    began = time.perf_counter()
    store = cached_pictures(folders, image_size, folder / "cache")
    opening = time.perf_counter() - began
    sampler = BatchSampler(
        store, sources=batch_size, latent_size=16, seed=0, crop_probability=0.5, device=device_of()
    )
    batches = BatchesAhead(sampler.batch, 0)
    step = WARM_UP
    for index in range(step):
        batches.take(index)
    began = time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        batches.take(step)
        step += 1
    _wait(device_of())
    batches.close()
    pictures = 3 * batch_size * (step - WARM_UP)  # a source has two references
    cost = Cost(
        pictures_per_second=pictures / elapsed,
        milliseconds_per_picture=1e3 * elapsed / pictures,
        gflop_per_picture=None,
        fraction_of_peak=None,
        peak_memory_mb=peak_memory_mb(device_of()),
    )
    total = sum(map(len, folders.files))
    return cost, {
        "image_size": image_size,
        "batch_size": batch_size,
        "decoded_pictures_per_second": total / decoding,
        "seconds_to_open_the_cache": opening,
    }


def matmul_peak(device: torch.device, precision: str) -> float:
    """The fastest of a few large matrix products, in 10^9 operations a second."""
    side = 1536 if device.type == "cpu" else 8192
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.ones(2, side, side, dtype=kind, device=device)
    times = []
    for _ in range(PEAK_TRIALS):
        began = time.perf_counter()
        torch.mm(a, b)
        _wait(device)
        times.append(time.perf_counter() - began)
    return 2 * side**3 / min(times) / 1e9


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def write_made_up_pictures(
    folder: Path, *, size: int, domains: int = 2, count: int = 16, suffix: str = ".png"
) -> None:
    """Soft random patterns in ``folder/domain_K/N.png``, for measuring only."""
    random = np.random.default_rng(0)
    for domain in range(domains):
        place = folder / f"domain_{domain}"
        place.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = random.integers(0, 256, (max(size // 8, 2),) * 2 + (3,), dtype=np.uint8)
            image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
            image.save(place / f"{index}{suffix}", quality=90)
