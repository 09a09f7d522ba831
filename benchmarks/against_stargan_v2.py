"""Times training iterations of facemeld's recipes against the official code's, in turn.

    git clone https://github.com/clovaai/stargan-v2
    python benchmarks/against_stargan_v2.py --peer stargan-v2

Both have the paper's widths for the picture size, equally many domains, and the same batch size and
number of threads, and run in one process, one iteration each in turn, so that whatever else the
machine does slows both (on a busy one, take one thread and the processor's clock). An iteration of
either side is complete: both discriminator and both generator phases (the fast recipe: its one
branch), Adam, moving average, losses as numbers. For each recipe the median and the spread (10th to
90th percentile) of the ratio of neighbouring iterations are printed. The fast recipe comes with its
R1 penalty as often as it is due: the cost of an iteration with it and one without are measured
apart and put together by their shares.

The peer's loop body is driven here by its own loss functions, Adam and moving average, as in
core/solver.py; of its imports, munch but for its attribute access, the landmark network, data and
metrics are replaced by empty modules. Its code is CC BY-NC 4.0 and stays where you put it.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from dynamics_stargan_v2 import Namespace, load_peer, optimisers
from torch import nn

from facemeld.config import NetworkConfig, TrainingConfig
from facemeld.training.measure import Operations, prepared_run, write_made_up_pictures

DOMAINS = 2
PAPER_STYLE, PAPER_LATENT = 64, 16


class OfficialTraining:
    """The peer's networks, and its loop body as ``iterate``."""

    def __init__(self, checkout: Path, size: int, device: torch.device) -> None:
        model, self.solver = load_peer(checkout)
        self.networks = Namespace(
            generator=model.Generator(size, PAPER_STYLE, w_hpf=0),
            mapping_network=model.MappingNetwork(PAPER_LATENT, PAPER_STYLE, DOMAINS),
            style_encoder=model.StyleEncoder(size, PAPER_STYLE, DOMAINS),
            discriminator=model.Discriminator(size, DOMAINS),
        )
        for network in self.networks.values():
            network.to(device)
            for layer in network.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
        averaged = ("generator", "mapping_network", "style_encoder")
        self.averages = {name: copy.deepcopy(self.networks[name]) for name in averaged}
        self.steps = optimisers(self.networks)
        self.options = Namespace(lambda_reg=1, lambda_sty=1, lambda_ds=1, lambda_cyc=1, w_hpf=0)

    def iterate(self, batch) -> None:
        """One iteration of the official training loop."""
        solver = self.solver
        given = (self.networks, self.options, batch.sources.contiguous())
        given += (batch.source_domains, batch.targets)
        codes = {
            "z_trg": (batch.latents[::2], batch.latents[1::2]),
            "x_ref": (batch.references[::2].contiguous(), batch.references[1::2].contiguous()),
        }
        for name, pair in codes.items():
            loss, _ = solver.compute_d_loss(*given, **{name: pair[0]})
            self._learn(loss, ("discriminator",))
        for name, pair in codes.items():
            loss, _ = solver.compute_g_loss(*given, **{f"{name}s": list(pair)})
            both = ("generator", "mapping_network", "style_encoder")
            self._learn(loss, both if name == "z_trg" else ("generator",))
        for name, average in self.averages.items():
            solver.moving_average(self.networks[name], average, beta=0.999)

    def _learn(self, loss, trained: tuple[str, ...]) -> None:
        for optimiser in self.steps.values():
            optimiser.zero_grad()
        loss.backward()
        for name in trained:
            self.steps[name].step()


class OurTraining:
    """A run of facemeld; ``iterate`` with or without the R1 penalty due."""

    def __init__(self, config: TrainingConfig, out: Path) -> None:
        self.run = prepared_run(config, out)
        self.recipe = self.run._recipe(discriminator_started=False)

    def iterate(self, penalised: bool, latent: bool) -> None:
        interval = self.run.config.penalty_interval
        self.run.iteration = interval * 100 + (0 if penalised else 1)
        batch = dataclasses.replace(self.batch(), from_latents=latent)
        for numbers in self.run.iterate(self.recipe, batch):
            [float(value) for value in numbers.values()]

    def batch(self):
        return self.run.sampler.batch(self.run.iteration)


def seconds(work: Callable[[], object], device: torch.device, clock: str) -> float:
    """How long one call takes, by the wall clock or by the processor's."""
    now = time.perf_counter if clock == "wall" else time.process_time
    began = now()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return now() - began


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[round(share * (len(values) - 1))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", type=Path, required=True, help="checkout of clovaai/stargan-v2")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--count", action="store_true", help="count operations, do not time")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    official = OfficialTraining(options.peer, options.image_size, device)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        write_made_up_pictures(pictures, size=options.image_size, domains=DOMAINS)
        ours = {
            (recipe, precision): OurTraining(
                TrainingConfig(
                    network=NetworkConfig(image_size=options.image_size),
                    recipe=recipe,
                    data=str(pictures),
                    batch_size=options.batch_size,
                    precision=precision,
                    compile=options.compile,
                ),
                Path(folder),
            )
            for recipe in ("starganv2", "fast")
            for precision in options.precision
        }
    if options.count:
        print_operations(official, ours, options.batch_size)
    else:
        print_times(official, ours, options, device)


def cases(ours: dict[tuple, OurTraining]) -> list[tuple]:
    """Recipe, precision, and whether R1 is due, which it always is in the paper's recipe."""
    return [(*key, due) for key in ours for due in (True, False)[: 1 + (key[0] == "fast")]]


def print_operations(
    official: OfficialTraining, ours: dict[tuple, OurTraining], pictures: int
) -> None:
    """10^9 multiplications and additions of a picture, both ways, on either side."""

    def count(work: Callable[[], object]) -> float:
        with Operations() as operations:
            work()
        return operations.total / pictures / 1e9

    batch = next(iter(ours.values())).batch()
    base = count(lambda: official.iterate(batch))
    print(f"| side | GFLOP a picture | share |\n|---|---|---|\n| official | {base:.0f} | 1 |")
    for recipe, precision, due in cases(ours):
        side = ours[recipe, precision]
        modes = (True, False) if recipe == "fast" else (True,)
        found = statistics.mean(count(partial(side.iterate, due, mode)) for mode in modes)
        name = f"{recipe}, {precision}, R1 {'due' if due else 'not due'}"
        print(f"| {name} | {found:.0f} | {found / base:.2f} |")


def print_times(
    official: OfficialTraining,
    ours: dict[tuple, OurTraining],
    options: argparse.Namespace,
    device: torch.device,
) -> None:
    """Seconds of an iteration on either side, in turn, and their ratios."""
    batch = next(iter(ours.values())).batch()
    taken: dict[tuple, list[float]] = {case: [] for case in cases(ours)}
    base: list[float] = []
    for turn in range(options.rounds + 1):
        theirs = seconds(lambda: official.iterate(batch), device, options.clock)
        for case in cases(ours):
            side = ours[case[:2]]
            work = partial(side.iterate, case[2], turn % 2 == 0)
            own = seconds(work, device, options.clock)
            if turn:  # the first round warms up
                taken[case].append(own / theirs)
        if turn:
            base.append(theirs)
        print(f"round {turn} of {options.rounds}", file=sys.stderr, flush=True)
    print(
        f"{options.image_size} px, batch {options.batch_size}, {options.rounds} rounds, {device}, "
        f"{options.threads} threads, {options.clock} clock"
    )
    print("| side | seconds an iteration | times the official pictures a second (10-90 %) |")
    print("|---|---|---|")
    middle = statistics.median(base)
    spread = f"{percentile(base, 0.1):.2f}-{percentile(base, 0.9):.2f}"
    print(f"| official, fp32 | {middle:.2f} ({spread}) | 1 |")
    for (recipe, precision), side in ours.items():
        share = 1 / side.run.config.penalty_interval
        due = taken[recipe, precision, True]
        rest = taken.get((recipe, precision, False), due)
        whole = [share * a + (1 - share) * b for a, b in zip(due, rest)]
        ratios = [1 / w for w in whole]
        spread = f"{percentile(ratios, 0.1):.2f}-{percentile(ratios, 0.9):.2f}"
        own = statistics.median(whole) * middle
        print(f"| {recipe}, {precision} | {own:.2f} | {statistics.median(ratios):.2f} ({spread}) |")


if __name__ == "__main__":
    main()
