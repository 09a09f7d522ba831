"""One training run, from pictures in folders to a finished model folder.

``train`` prepares the run folder and the processes; ``_Run`` is the loop. The same configuration
and seed give the same result, and a resumed run goes on exactly where its checkpoint was taken:
all randomness is a function of the seed and the iteration.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from facemeld.config import LossWeights, TrainingConfig, check
from facemeld.data.catalogue import find_weights
from facemeld.data.folders import DomainFolders, scan_domains
from facemeld.data.sampling import BatchSampler
from facemeld.data.store import load_pictures
from facemeld.errors import UserError
from facemeld.networks.bundle import Networks, build_discriminator, save_model
from facemeld.networks.features import FeatureStatistics
from facemeld.networks.swin import swin_parameters
from facemeld.training import checkpoint
from facemeld.training.card import training_card
from facemeld.training.ema import MovingAverage
from facemeld.training.lean import LeanRecipe
from facemeld.training.processes import Team, launch
from facemeld.training.run_folder import open_run
from facemeld.training.runlog import RunLog
from facemeld.training.samples import SampleSheet
from facemeld.training.starganv2 import StarGANv2Recipe
from facemeld.training.warm_start import find_swin_weights, start_from_imagenet

STATISTICS_BATCH = 64
SCALE_PICTURES = 256


def train(
    config: TrainingConfig,
    out: str | Path,
    *,
    resume: str = "auto",
    weights_dir: str | Path | None = None,
) -> Path:
    """Trains a model and returns its folder, ``out/model``.

    Args:
        config: the run; its domains come from the data folder.
        out: the run folder: created, or continued where it stopped.
        resume: ``auto`` goes on from the newest valid checkpoint if there is one, ``never``
            refuses a folder that has checkpoints, anything else is the path of a checkpoint.
        weights_dir: where to look first for the weights of the frozen feature network.

    Raises:
        UserError: impossible options, unusable data, a run folder of another configuration, or a
            disk that cannot be written.
        KeyboardInterrupt: after Ctrl-C, once a checkpoint is saved.
    """
    out = Path(out)
    if not config.data:
        raise UserError("no training pictures", where="data", fix="name their folder")
    check(config.problems(), "training options")
    folders = scan_domains(config.data, only=config.domains)
    network = dataclasses.replace(config.network, domains=folders.domains)
    config = dataclasses.replace(config, network=network)
    config = dataclasses.replace(config, processes=_processes(config)).resolved()
    features = None
    if config.recipe == "lean" or config.network.style_encoder == "projected":
        features = find_weights("efficientnet-lite0", weights_dir)
    if config.swin_weights:
        find_swin_weights(config.swin_weights)
    config = open_run(config, out, resume, device=_device())
    try:
        launch(config.processes, _run, config, folders, out, resume, features)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the run had to stop: {getattr(error, 'strerror', None) or error}",
            where=str(getattr(error, "filename", None) or out),
            fix="free some space or repair the folder, then --resume auto",
        ) from error
    return out / "model"


def _run(
    team: Team,
    config: TrainingConfig,
    folders: DomainFolders,
    out: Path,
    resume: str,
    features: Path | None,
) -> None:
    _Run(team, config, folders, out, features).go(resume)


class _Run:
    """The state of one process of a run."""

    def __init__(
        self,
        team: Team,
        config: TrainingConfig,
        folders: DomainFolders,
        out: Path,
        features: Path | None,
    ) -> None:
        self.team, self.config, self.out = team, config, out
        self.device = _device()
        self._say(f"reading {sum(map(len, folders.files))} pictures")
        self.store = load_pictures(
            folders, config.network.image_size, on_unreadable=config.on_unreadable
        )
        lean = config.recipe == "lean"
        self.sampler = BatchSampler(
            self.store,
            sources=config.batch_size // 2 if lean else config.batch_size,
            latent_size=config.network.latent_size,
            seed=config.seed,
            crop_probability=config.crop_probability,
            reference_share=config.reference_share,
            rank=team.rank,
            ranks=team.size,
            device=self.device,
        )
        torch.manual_seed(config.seed)
        self.networks = Networks(config.network)
        if config.swin_weights:
            for line in start_from_imagenet(self.networks, config.swin_weights):
                self._say(f"ImageNet weights in {line}")
        self.discriminator = build_discriminator(config.network)
        for module in (self.networks, self.discriminator):
            module.to(self.device, memory_format=torch.channels_last).train()
        self.frozen: FeatureStatistics | None = None
        if features is not None:
            self.frozen = self._frozen_features(features)
        self.ema = MovingAverage(self.networks, decay=config.ema, rampup=config.ema_rampup)
        self.modules = dict(self.networks.named_children()) | {"discriminator": self.discriminator}
        self.optimizers = {name: self._optimizer(name) for name in self.modules}
        self.parts = {
            "networks": self.networks,
            "ema": self.ema.average,
            "discriminator": self.discriminator,
            **{f"optimizer_{name}": o for name, o in self.optimizers.items()},
        }
        self.iteration = 0
        self.interrupted = False  # set by Ctrl-C at any moment, in this process alone
        self.stopped = False

    @property
    def pictures(self) -> int:
        """The clock: pictures seen."""
        return self.iteration * self.config.batch_size

    def go(self, resume: str) -> None:
        """The loop."""
        config, team = self.config, self.team
        self._restore(resume)
        sheet = SampleSheet(config, self.store) if team.leads else None
        recipe = self._recipe()
        log = RunLog(self.out, total=config.pictures, start=self.pictures) if team.leads else None
        restore_interrupts = self._catch_interrupts()
        try:
            while self.pictures < config.pictures and not self.stopped:
                batch = self.sampler.batch(self.iteration)
                self._schedule_learning_rates()
                numbers: dict[str, Tensor] = {}
                phases = recipe.step(batch, self._weights(), self.iteration, numbers)
                with self._autocast():
                    for loss, trained in phases:
                        self._train(loss, trained)
                self.ema.update(self.iteration)
                self.iteration += 1
                self.stopped = team.any(self.interrupted)
                if log is None:
                    continue
                log.add(numbers)
                if self._every(config.log_every):
                    log.report(self.pictures)
                began = time.monotonic()
                if self._every(config.checkpoint_every) or self.stopped:
                    self._save()
                if self._every(config.sample_every):
                    sheet.write(self.ema.average, self.out / "samples", self.pictures)
                log.speed.pause(time.monotonic() - began)
            if log and not self.stopped:
                self._finish(sheet)
        finally:
            restore_interrupts()
            if log:
                log.close()
        if self.stopped:
            raise KeyboardInterrupt

    def _train(self, loss: Tensor, trained: tuple[str, ...]) -> None:
        """Back-propagates one phase's loss into the networks it trains, and steps only those."""
        parameters = [p for name in trained for p in _trainable(self.modules[name])]
        for parameter in parameters:
            parameter.grad = None
        loss.backward(inputs=parameters)
        self.team.average_gradients(parameters)
        if self.config.gradient_clip and "generator" in trained:
            torch.nn.utils.clip_grad_norm_(parameters, self.config.gradient_clip)
        for name in trained:
            self.optimizers[name].step()
        torch.clear_autocast_cache()  # its bf16 copies are of the weights before this step

    def _every(self, interval: int) -> bool:
        """Whether the last iteration passed a multiple of ``interval`` pictures, or the end."""
        before = self.pictures - self.config.batch_size
        ended = self.pictures >= self.config.pictures
        return self.pictures // interval > before // interval or ended

    def _weights(self) -> LossWeights:
        """Loss weights at this moment."""
        config = self.config
        late = config.late_weights and self.pictures >= config.late_from * config.pictures
        weights = config.late_weights if late else config.weights
        left = max(0.0, 1 - self.pictures / (config.diversity_until * config.pictures))
        return dataclasses.replace(weights, diversity=weights.diversity * left)

    def _schedule_learning_rates(self) -> None:
        """Constant, then linear to zero from the share ``decay_from`` of the run on."""
        left = 1 - self.pictures / self.config.pictures
        factor = min(1.0, left / (1 - self.config.decay_from)) if self.config.decay_from < 1 else 1
        swin = self.config.swin_learning_rate
        if self.pictures < self.config.swin_warmup_pictures:
            swin *= (self.pictures + self.config.batch_size) / self.config.swin_warmup_pictures
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                share = swin if group["swin"] else 1.0
                group["lr"] = factor * share * self._learning_rate(name)

    def _learning_rate(self, name: str) -> float:
        mapping = name == "mapping_network"
        return self.config.mapping_learning_rate if mapping else self.config.learning_rate

    def _optimizer(self, name: str) -> torch.optim.Optimizer:
        module = self.modules[name]
        decayed, free = swin_parameters(module)
        swin = {id(p) for p in (*decayed, *free)}
        others = [p for p in _trainable(module) if id(p) not in swin]
        groups = [
            {"params": others, "swin": False},
            {"params": decayed, "swin": True},
            {"params": free, "swin": True, "weight_decay": 0.0},
        ]
        return torch.optim.Adam(
            [group for group in groups if group["params"]],
            lr=self._learning_rate(name),
            betas=(self.config.beta1, self.config.beta2),
            weight_decay=self.config.weight_decay,
            fused=True,
        )

    def _autocast(self) -> torch.autocast:
        enabled = self.config.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _recipe(self) -> StarGANv2Recipe | LeanRecipe:
        if self.frozen is None:
            return StarGANv2Recipe(self.config, self.networks, self.discriminator)
        statistics = self._statistics()
        if self.frozen is not self.networks.style_encoder:
            self.frozen.fit_scale(statistics)
        elif self.iteration == 0:
            counts = torch.tensor([len(domain) for domain in self.store.pictures])
            labels = torch.arange(len(counts)).repeat_interleave(counts)
            self.frozen.fit(statistics, labels)
        if self.config.recipe == "starganv2":
            return StarGANv2Recipe(self.config, self.networks, self.discriminator)
        if self.iteration == 0:
            some = np.linspace(0, len(statistics) - 1, SCALE_PICTURES).astype(int)
            with torch.no_grad():
                features = self.frozen.features(self.sampler.pictures_of_rows(some))
            self.discriminator.set_scale(features)
        return LeanRecipe(
            self.config, self.networks, self.discriminator, self.frozen, self.sampler, statistics
        )

    def _frozen_features(self, weights: Path) -> FeatureStatistics:
        """The frozen feature network: the projected style encoder's own, else one beside it."""
        frozen = self.networks.style_encoder
        if not isinstance(frozen, FeatureStatistics):
            frozen = FeatureStatistics(feature_size=self.config.network.feature_size)
            frozen.to(self.device, memory_format=torch.channels_last)
        frozen.features.load_published(torch.load(weights, weights_only=True))
        return frozen

    @torch.no_grad()
    def _statistics(self) -> Tensor:
        """Feature statistics of every training picture, N F, shared out over the processes."""
        frozen, team = self.frozen, self.team
        self._say("taking the feature statistics of every picture, once")
        total = sum(len(domain) for domain in self.store.pictures)
        share = -(-total // team.size)
        # the last share is filled up with the last picture, so that all are of one length
        mine = np.minimum(np.arange(team.rank * share, (team.rank + 1) * share), total - 1)
        parts = []
        for rows in np.array_split(mine, -(-share // STATISTICS_BATCH)):
            pictures = self.sampler.pictures_of_rows(rows)
            parts.append(frozen.statistics(frozen.features(pictures), pictures).cpu())
        return team.gather_rows(torch.cat(parts))[:total]

    def _save(self) -> None:
        facts = {"pictures": self.pictures, "iteration": self.iteration}
        checkpoint.save(
            self.out / "checkpoints",
            checkpoint.flatten(self.parts),
            facts,
            keep=self.config.keep_checkpoints,
        )

    def _restore(self, resume: str) -> None:
        if resume == "never":
            return
        if resume == "auto":
            found = checkpoint.newest_valid(self.out / "checkpoints", self._say)
            if found is None:
                return
        else:
            found = checkpoint.load(Path(resume))
        tensors, facts = found
        try:
            checkpoint.restore(self.parts, tensors)
        except (KeyError, RuntimeError, ValueError) as error:
            raise UserError(
                "the checkpoint is of another configuration",
                where=resume if resume != "auto" else str(self.out / "checkpoints"),
                fix=f"train into another folder ({str(error).splitlines()[0]})",
            ) from None
        self.iteration = facts["iteration"]

    def _say(self, text: str) -> None:
        """A line for the person, from one process only."""
        if self.team.leads:
            print(text, file=sys.stderr, flush=True)

    def _finish(self, sheet: SampleSheet) -> None:
        """Writes the finished model folder with its card and a sample sheet."""
        model = self.out / "model"
        save_model(self.ema.average, model, card=training_card(self.config, self.store))
        sheet.write(self.ema.average, model, name="samples.jpg")

    def _catch_interrupts(self):
        """Lets Ctrl-C end the run after the iteration at hand; a second one ends it at once."""
        if threading.current_thread() is not threading.main_thread() or not self.team.leads:
            return lambda: None

        def stop(number, frame) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, previous)

        previous = signal.signal(signal.SIGINT, stop)
        return lambda: signal.signal(signal.SIGINT, previous)


def _trainable(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _processes(config: TrainingConfig) -> int:
    """The number asked for, or the best one: a process a core for the lean recipe on a CPU."""
    if config.processes:
        return config.processes
    if config.recipe != "lean" or _device().type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    sources = config.batch_size // 2
    return max(n for n in range(1, sources + 1) if n <= (cores or 1) and sources % n == 0)
