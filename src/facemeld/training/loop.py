"""One training run, from pictures in folders to a finished model folder.

``train`` prepares the run folder and the processes; ``_Run`` is the loop. The same configuration
and seed give the same result, and a resumed run goes on exactly where its checkpoint was taken:
all randomness is a function of the seed and the iteration. A step that is left out because its
gradient is not finite (see ``guard``) still counts as pictures seen: the next one draws others.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from facemeld.config import LossWeights, TrainingConfig, check
from facemeld.data.folders import DomainFolders
from facemeld.data.prefetch import BatchesAhead
from facemeld.data.sampling import Batch, BatchSampler
from facemeld.errors import UserError
from facemeld.fusion.skip_masks import load_masker
from facemeld.networks.bundle import Networks, build_discriminator, save_model
from facemeld.networks.features import FeatureStatistics
from facemeld.networks.points import PointReader, load_point_reader
from facemeld.training import checkpoint
from facemeld.training.card import training_card
from facemeld.training.decoded import decoded_pictures
from facemeld.training.distil import DistilRecipe, Teacher, take_teacher
from facemeld.training.ema import MovingAverage, decay_of
from facemeld.training.execution import compile_networks, recompute_activations, side_by_side
from facemeld.training.fast import FastRecipe
from facemeld.training.frozen import Known, fit_frozen, frozen_features, known_pictures
from facemeld.training.guard import StepGuard, not_finite
from facemeld.training.guide import check_guide, load_guide
from facemeld.training.landmarks import Landmarks
from facemeld.training.lean import LeanRecipe
from facemeld.training.light_scores import LightScores, check_light_scores
from facemeld.training.matching import match_latents, styles_of
from facemeld.training.needs import (
    check_masks,
    processes_of,
    published_features,
    training_folders,
)
from facemeld.training.optimizers import optimizer_of, set_learning_rates, trainable
from facemeld.training.processes import SharedFlag, Team, launch, torchrun_team
from facemeld.training.run_folder import open_run
from facemeld.training.runlog import Means, RunLog
from facemeld.training.samples import SampleSheet
from facemeld.training.signals import Interruption, leave
from facemeld.training.starganv2 import StarGANv2Recipe
from facemeld.training.start import check_start, start_from_model
from facemeld.training.warm_start import find_swin_weights, start_from_imagenet

Recipe = StarGANv2Recipe | FastRecipe | LeanRecipe | DistilRecipe

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
            refuses a folder that has checkpoints, anything else is the path of a checkpoint to
            branch off from; later ones in ``out`` are moved aside.
        weights_dir: where to look first for the weights of frozen networks.

    Under torchrun every process calls this with the same arguments and becomes one rank.

    Raises:
        UserError: impossible options, unusable data, a run folder of another configuration, a
            disk that cannot be written, a process that was lost, or numbers that stay non-finite.
        KeyboardInterrupt, SystemExit: after Ctrl-C, or SIGTERM (143), once a checkpoint is saved.
    """
    out = Path(out)
    if not config.data:
        raise UserError("no training pictures", where="data", fix="name their folder")
    check(config.problems(), "training options")
    folders = training_folders(config)
    network = dataclasses.replace(config.network, domains=folders.domains)
    config = dataclasses.replace(config, network=network)
    config = dataclasses.replace(config, processes=processes_of(config, out)).resolved()
    features = published_features(config, weights_dir)
    if config.swin_weights:
        find_swin_weights(config.swin_weights)
    if config.init and not checkpoint.any_in(out / "checkpoints"):
        check_start(config)
    if config.guide:
        check_guide(config)
    if config.network.skips == "masked":
        check_masks(config, folders, load_masker(weights_dir))
    if config.evaluate_every:
        check_light_scores(config, folders, weights_dir)
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)):
        resume = "auto"  # torchrun started the job again: go on from what it had
    try:
        with Interruption(), torchrun_team() as team:
            device = team.device
            config = team.from_leader(lambda: open_run(config, out, resume, device=device))
            work = (config, folders, out, resume, features, weights_dir)
            if team.size > 1:
                _run(team, *work)
            else:
                launch(config.processes, _run, *work)
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
    weights_dir: str | Path | None,
) -> None:
    with Interruption() as interruption:
        run = team.together(lambda: _Run(team, config, folders, out, features, weights_dir))
        run.go(resume, interruption)


class _Run:
    """The state of one process of a run."""

    def __init__(
        self,
        team: Team,
        config: TrainingConfig,
        folders: DomainFolders,
        out: Path,
        features: Path | None,
        weights_dir: str | Path | None,
    ) -> None:
        masked = config.network.skips == "masked"
        self.masker = load_masker(weights_dir) if masked else None
        self.team, self.config, self.out = team, config, out
        self.device = team.device
        self.store = decoded_pictures(config, folders, out, team, self._say)
        lean = config.recipe == "lean"
        self.sampler = BatchSampler(
            self.store,
            sources=config.batch_size // 2 if lean else config.batch_size,
            latent_size=config.network.latent_size,
            seed=config.seed,
            crop_probability=config.crop_probability,
            reference_share=config.reference_share,
            favoured=[self.store.domains.index(name) for name in config.favoured_targets],
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
        self.teacher: Teacher | None = None
        if config.recipe == "distil":
            self.teacher = take_teacher(config, self.networks, self.device)
        self.guide = load_guide(config, self.device) if config.guide else None
        self.frozen: FeatureStatistics | None = None
        if features is not None or self.teacher is not None:
            self.frozen = frozen_features(self.networks, features, self.device)
        self.reader: PointReader | None = None
        if config.asks_for("landmarks"):
            self.reader = load_point_reader().to(self.device)
        self.ema = MovingAverage(self.networks, decay=decay_of(config))
        if config.recompute_activations:
            recompute_activations(self.networks, self.discriminator)
        if config.compile:
            compile_networks(self.networks, self.discriminator)
        self.modules = dict(self.networks.named_children()) | {"discriminator": self.discriminator}
        self.optimizers = {
            n: optimizer_of(m, n, config) for n, m in self.modules.items() if trainable(m)
        }
        self.parts = {
            "networks": self.networks,
            "ema": self.ema.average,
            "discriminator": self.discriminator,
            **{f"optimizer_{name}": o for name, o in self.optimizers.items()},
        }
        self.iteration = 0
        self.guard = StepGuard(self.device)
        self.light_scores: LightScores | None = None
        if config.evaluate_every and team.leads:
            self.light_scores = LightScores(
                config, self.store, weights_dir, self.device, self.masker
            )

    @property
    def pictures(self) -> int:
        """The clock: pictures seen."""
        return self.iteration * self.config.batch_size

    def go(self, resume: str, interruption: Interruption) -> None:
        """The loop."""
        config, team = self.config, self.team
        self._restore(resume)
        started = self._start_from_model()
        sheet = team.together(
            lambda: SampleSheet(config, self.store, self.masker) if team.leads else None
        )
        recipe = self._recipe(started)
        log = None
        if team.leads:
            log = RunLog(self.out, total=config.pictures, start=self.pictures, device=self.device)
        means, stop, stopped = Means(), SharedFlag(team), 0
        batches = BatchesAhead(self.sampler.batch, self.iteration)
        interruption.patient = True
        try:
            while self.pictures < config.pictures and not stopped:
                for numbers in self.iterate(recipe, batches.take(self.iteration)):
                    means.add(numbers)
                stopped = stop.poll(interruption.asked)
                bad_in_a_row = self.guard.end_iteration()
                if bad_in_a_row >= config.max_bad_steps:
                    raise not_finite(bad_in_a_row, self.out / "checkpoints")
                averages = means.take(team) if self._every(config.log_every) else None
                if log is None:
                    continue
                if averages is not None:
                    if not stopped:
                        averages |= self._evaluate(log, interruption)
                    log.report(self.pictures, averages, self.guard.facts()["left_out"])
                began = time.monotonic()
                # while steps are left out, the last checkpoint from before stays the newest
                good = not bad_in_a_row or self.pictures >= config.pictures
                if stopped or (good and self._every(config.checkpoint_every)):
                    self._save()
                if self._every(config.sample_every):
                    sheet.write(self.ema.average, self.out / "samples", self.pictures)
                log.speed.pause(time.monotonic() - began)
            stop.finish()
            if log and not stopped:
                if self.config.matching_steps:
                    interruption.end_patience()  # all is saved
                    self._match_latents(recipe.statistics, log)
                interruption.patient = True
                self._finish(sheet)
        finally:
            interruption.patient = False
            batches.close()
            if log:
                log.close()
        if stopped:
            self._say(f"saved at {self.pictures} pictures; the same command goes on from there")
            leave(stopped)

    def iterate(self, recipe: Recipe, batch: Batch) -> list[dict[str, Tensor]]:
        """One iteration; returns the losses of each part of the batch."""
        set_learning_rates(self.optimizers, self.config, self.pictures)
        parts = batch.split(self.config.accumulate)
        numbers: list[dict[str, Tensor]] = [{} for _ in parts]
        steps = [
            recipe.step(part, self._weights(), self.iteration, own)
            for part, own in zip(parts, numbers)
        ]
        with self._autocast():
            for phase, trained in side_by_side(steps, self.discriminator):
                self._train(phase, trained)
        self.ema.update(self.iteration)
        self.iteration += 1
        return numbers

    def _train(self, phase: Iterable[Tensor], trained: tuple[str, ...]) -> None:
        """Back-propagates one phase's losses, a part of the batch each, into the networks that it
        trains, and steps only those."""
        parameters = [p for name in trained for p in trainable(self.modules[name])]
        for parameter in parameters:
            parameter.grad = None
        loss = torch.zeros((), device=self.device)
        for part in phase:
            part = part / self.config.accumulate
            with torch.autocast(self.device.type, enabled=False):  # back as it went forth
                part.backward(inputs=parameters)
            loss += part.detach()
        loss = self.team.average_gradients(parameters, loss)
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.config.gradient_clip and "generator" in trained:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.config.gradient_clip, norm)
        self.guard.step([self.optimizers[name] for name in trained], loss, norm)
        torch.clear_autocast_cache()  # its bf16 copies are of the weights before this step

    def _evaluate(self, log: RunLog, interruption: Interruption) -> dict[str, float]:
        """The moving average's light scores, if it is time for them; given up when asked to stop,
        so that a checkpoint is written within seconds."""
        if self.light_scores is None or not self._every(self.config.evaluate_every):
            return {}
        began = time.monotonic()
        scores = self.light_scores.of(self.ema.average, lambda: interruption.asked)
        log.speed.pause(time.monotonic() - began)
        if scores is None:
            log.say("asked to stop: this evaluation is left out")
            return {}
        return {f"evaluation/{name}": value for name, value in scores.items()}

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

    def _autocast(self) -> torch.autocast:
        enabled = self.config.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _recipe(self, discriminator_started: bool) -> Recipe:
        """The recipe that the options name, ready for its first step."""
        config, networks, discriminator = self.config, self.networks, self.discriminator
        if self.frozen is not None and self.teacher is None:
            known = self._known_pictures()
        if config.recipe == "starganv2":
            return StarGANv2Recipe(config, networks, discriminator, self.masker)
        if config.recipe == "fast":
            return FastRecipe(config, networks, discriminator)
        if self.iteration == 0 and not discriminator_started:
            total = sum(map(len, self.store.pictures))
            some = np.linspace(0, total - 1, SCALE_PICTURES).astype(int)
            with torch.no_grad():
                features = self.frozen.features(self.sampler.pictures_of_rows(some))
            discriminator.set_scale(features)
        if self.teacher is not None:
            features = self.frozen.features
            return DistilRecipe(
                config, networks, self.teacher.generator, discriminator, features, self.masker
            )
        landmarks = None
        if self.reader is not None:
            landmarks = Landmarks(
                self.reader, known.points, known.entropies, self.labels, len(self.store.pictures)
            )
        recipe = (config, networks, discriminator, self.frozen, self.sampler, known.statistics)
        return LeanRecipe(*recipe, landmarks, self.guide)

    def _known_pictures(self) -> Known:
        """What the frozen features say of the training pictures, and what follows from it."""
        known = known_pictures(self.frozen, self.reader, self.sampler, self.team, self._say)
        fit_frozen(
            self.frozen,
            self.networks,
            known,
            self.labels,
            first=self.iteration == 0,
            keep_scale=bool(self.config.init),
        )
        return known

    @property
    def labels(self) -> Tensor:
        """Domains of all training pictures, row by row."""
        counts = torch.tensor([len(domain) for domain in self.store.pictures])
        return torch.arange(len(counts)).repeat_interleave(counts)

    def _save(self) -> None:
        facts = {"pictures": self.pictures, "iteration": self.iteration}
        facts["guard"] = self.guard.facts()
        if self.teacher is not None:
            facts["teacher"] = self.teacher.sha256
        if self.guide is not None:
            facts["guide"] = self.guide.sha256
        checkpoint.save(
            self.out / "checkpoints",
            checkpoint.flatten(self.parts),
            facts,
            keep=self.config.keep_checkpoints,
        )

    def _restore(self, resume: str) -> None:
        """Takes up the state of a checkpoint: every process reads the one that the leader chose."""
        folder, team = self.out / "checkpoints", self.team
        path = team.from_leader(lambda: checkpoint.choose(folder, resume, self._say))
        if path is None:
            return
        facts = team.together(lambda: checkpoint.restore_from(path, self.parts))
        if facts["pictures"] != facts["iteration"] * self.config.batch_size:
            raise UserError("the checkpoint is of another batch size", where=str(path))
        if self.teacher is not None:
            self.teacher.check_same(facts.get("teacher"))
        if self.guide is not None:
            self.guide.check_same(facts.get("guide"))
        if resume != "auto":
            team.from_leader(lambda: checkpoint.branch_off(folder, path, self._say))
        self.iteration = facts["iteration"]
        self.guard = StepGuard(self.device, **facts.get("guard", {}))

    def _start_from_model(self) -> bool:
        """Fine-tuning: at the start of a run, and not of later sessions. See ``start``."""
        if not self.config.init or self.iteration:
            return False
        started = start_from_model(self.config, self.networks, self.discriminator, self._say)
        self.ema.average.load_state_dict(self.networks.state_dict())
        return started

    def _say(self, text: str) -> None:
        """A line for the person, from one process only."""
        if self.team.leads:
            print(text, file=sys.stderr, flush=True)

    def _match_latents(self, statistics: Tensor, log: RunLog) -> None:
        """Matches the finished model's latent codes to its styles."""
        config, finished = self.config, self.ema.average
        log.say(f"matching latent codes to the styles, {config.matching_steps} steps")
        styles = styles_of(finished, self.sampler, statistics)
        before, after = match_latents(
            finished, styles, steps=config.matching_steps, seed=config.seed
        )
        log.say(f"their energy distance was {before:.4f} and is {after:.4f}")

    def _finish(self, sheet: SampleSheet) -> None:
        """Writes the finished model folder with its card and a sample sheet."""
        model = self.out / "model"
        small = self.config.network.discriminator == "projected"
        save_model(
            self.ema.average,
            model,
            card=training_card(self.config, self.store),
            discriminator=self.discriminator if small else None,
        )
        sheet.write(self.ema.average, model, name="samples.jpg")
