"""Runs and models as folders: what a report reads of them, without torch.

A run is a folder with config.toml, log.jsonl, checkpoints/ and, once finished, model/; a model
folder alone is accepted, too. What is damaged is left out and noted.
"""

from __future__ import annotations

import bisect
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facemeld.config import NetworkConfig, TrainingConfig, from_dict, read_toml, to_dict
from facemeld.errors import UserError
from facemeld.networks.model_folder import bundled_models, find_model, read_network_config

LOSSES = ("generator", "discriminator")  # first parts of the names of losses in a log
_SCORE_FILES = ("evaluation*.json", "scores*.json")
_LARGEST_SCORE_FILE = 10_000_000  # bytes


@dataclass(frozen=True)
class Log:
    """The numbers of a log.jsonl, one entry a line; of lines that a crash undid, the later ones."""

    pictures: list[int]
    """Pictures seen."""
    seconds: list[float]
    """Training time so far, from the speeds: without sheets, checkpoints and breaks."""
    speeds: list[float]
    """Pictures a second since the line before."""
    lines: list[dict[str, float]] = field(repr=False)
    """Losses and metrics."""
    peak_memory_mb: float | None = None
    """The most that the leading process took, in 10^6 bytes; None in logs that do not tell."""

    @property
    def names(self) -> list[str]:
        """Names of losses and metrics, in the order of their first lines."""
        return list(dict.fromkeys(name for line in self.lines for name in line))

    def series(self, name: str, clock: Sequence[float]) -> tuple[list[float], list[float]]:
        """One number over a clock of this log (``pictures`` or ``seconds``)."""
        points = [(x, line[name]) for x, line in zip(clock, self.lines) if name in line]
        return [x for x, _ in points], [y for _, y in points]

    def at(self, name: str, clock: Sequence[float], moment: float) -> float | None:
        """One number at a moment of that clock, between two lines linearly; None outside."""
        x, y = self.series(name, clock)
        if not x or not x[0] <= moment <= x[-1]:
            return None
        right = bisect.bisect_left(x, moment)
        if x[right] == moment:
            return y[right]
        share = (moment - x[right - 1]) / (x[right] - x[right - 1])
        return y[right - 1] + share * (y[right] - y[right - 1])


@dataclass(frozen=True)
class Scores:
    """The means of one evaluation."""

    file: str
    protocol: str
    values: dict[str, float]


@dataclass(frozen=True)
class Run:
    """One run, or one model without a run."""

    label: str
    folder: Path
    network: NetworkConfig
    model: Path | None
    """Model folder to take; None where a checkpoint is newer or there is no model yet."""
    config: TrainingConfig | None
    """None of a model without a run."""
    log: Log | None
    scores: tuple[Scores, ...]
    notes: tuple[str, ...]

    @property
    def options(self) -> dict[str, object]:
        """Every option by its dotted name; those of the networks only without a run."""
        if self.config is not None:
            return _flat(to_dict(self.config))
        return _flat({"network": to_dict(self.network)})


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Reads each folder; the runs get different labels.

    Raises:
        UserError: a folder that is neither run nor model, a damaged configuration, or a run that
            has neither a model nor a checkpoint yet.
    """
    if not folders:
        raise UserError("no run to report on", where="RUN", fix="name one or more run folders")
    named = zip(folders, labels([Path(folder) for folder in folders]))
    return [_read_run(folder, label) for folder, label in named]


def labels(folders: list[Path]) -> list[str]:
    """Folder names, with as many parents as it takes to tell them apart, then numbers."""
    parts = [folder.resolve().parts for folder in folders]
    parts = [p[:-1] if p[-1] == "model" and len(p) > 2 else p for p in parts]
    deepest = max(len(p) for p in parts)
    for depth in range(1, deepest + 1):
        labels = ["/".join(p[-depth:]) for p in parts]
        if len(set(labels)) == len(labels):
            return labels
    names = [p[-1] for p in parts]
    return [f"{name} ({names[:i].count(name) + 1})" for i, name in enumerate(names)]


def _read_run(name: str | Path, label: str) -> Run:
    folder, notes = Path(name), []
    described = folder / "config.toml"
    if not described.is_file():
        is_model = str(name) in bundled_models() or (folder / "config.json").is_file()
        if folder.is_dir() and not is_model:
            raise UserError(
                "neither a run folder (it has no config.toml) nor a model folder (no config.json)",
                where=str(folder),
                fix="name what `facemeld train --out` was given",
            )
        folder = find_model(name)
        return Run(
            label=label,
            folder=folder,
            network=read_network_config(folder),
            model=folder,
            config=None,
            log=None,
            scores=_read_scores([folder], notes),
            notes=("a model without its run: no options of training, no log", *notes),
        )
    config = from_dict(TrainingConfig, read_toml(described), where=str(described)).resolved()
    model = _newest_model(folder)
    log = _read_log(folder / "log.jsonl", config.log_every, notes)
    if log is not None and log.pictures[-1] < config.pictures:
        notes.append(f"not finished: {log.pictures[-1]:,} of {config.pictures:,} pictures")
    return Run(
        label=label,
        folder=folder,
        network=config.network if model is None else read_network_config(model),
        model=model,
        config=config,
        log=log,
        scores=_read_scores([folder, folder / "model"], notes),
        notes=tuple(notes),
    )


def _newest_model(run: Path) -> Path | None:
    """The finished model, unless the run went on after it; UserError if there is neither."""
    model = run / "model"
    weights = model / "model.safetensors"
    checkpoints = sorted((run / "checkpoints").glob("pictures-*.safetensors"))
    if not weights.is_file():
        if checkpoints:
            return None
        raise UserError(
            "the run has neither a model nor a checkpoint yet",
            where=str(run),
            fix="train it further, or leave it out",
        )
    newer = checkpoints and checkpoints[-1].stat().st_mtime > weights.stat().st_mtime
    return None if newer else model


def _read_log(path: Path, log_every: int, notes: list[str]) -> Log | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        notes.append(f"no log: {error.strerror}")
        return None
    lines, damaged, undone = [], 0, 0
    for raw in filter(str.strip, text.splitlines()):
        line = _log_line(raw)
        if line is None:
            damaged += 1
            continue
        while lines and lines[-1]["pictures"] >= line["pictures"]:
            lines.pop()
            undone += 1
        lines.append(line)
    if damaged:
        notes.append(f"{damaged} damaged lines of the log are left out")
    if undone:
        notes.append(f"{undone} lines of the log are left out: the run repeated them after a break")
    if not lines:
        notes.append("the log is empty")
        return None
    return _log_of(lines, log_every, notes)


def _log_line(text: str) -> dict[str, float] | None:
    try:
        line = json.loads(text)
        numbers = {k: v for k, v in line.items() if type(v) in (int, float)}
    except (ValueError, AttributeError, RecursionError):
        return None
    pictures, speed = numbers.get("pictures", 0), numbers.get("pictures_per_second", 0)
    sound = type(pictures) is int and pictures > 0 and 0 < speed < math.inf
    return numbers if sound else None


def _log_of(lines: list[dict[str, float]], log_every: int, notes: list[str]) -> Log:
    """The log with its clock of seconds, which starts at the first line of this folder."""
    pictures = [int(line.pop("pictures")) for line in lines]
    speeds = [line.pop("pictures_per_second") for line in lines]
    memory = [line.pop("peak_memory_mb") for line in lines if "peak_memory_mb" in line]
    before = 0
    if pictures[0] > 2 * log_every:
        before = pictures[0] - log_every
        notes.append(f"the log begins at {pictures[0]:,} pictures; the time before is not counted")
    seconds, passed = [], 0.0
    for seen, speed in zip(pictures, speeds):
        passed += (seen - before) / speed
        seconds.append(passed)
        before = seen
    return Log(pictures, seconds, speeds, lines, max(memory, default=None))


def speed_quartiles(log: Log) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of the pictures a second."""
    if len(log.speeds) == 1:
        return (log.speeds[0],) * 3
    lower, median, upper = statistics.quantiles(log.speeds, n=4, method="inclusive")
    return lower, median, upper


def _read_scores(folders: list[Path], notes: list[str]) -> tuple[Scores, ...]:
    found = []
    for folder in folders:
        for path in sorted({p for pattern in _SCORE_FILES for p in folder.glob(pattern)}):
            try:
                if path.stat().st_size > _LARGEST_SCORE_FILE:
                    raise ValueError("far too large")
                content = json.loads(path.read_text(encoding="utf-8"))
                values = _flat(content.get("mean", content))
            except (OSError, ValueError, AttributeError, RecursionError) as error:
                notes.append(f"{path.name} cannot be read: {error}")
                continue
            numbers = {n: float(v) for n, v in values.items() if type(v) in (int, float)}
            if numbers:
                found.append(Scores(path.name, str(content.get("protocol", "unknown")), numbers))
    return tuple(found)


def _flat(values: dict, prefix: str = "") -> dict[str, object]:
    """Nested tables as one, with dotted names."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
