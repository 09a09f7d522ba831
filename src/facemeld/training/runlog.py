"""What a run tells: log.jsonl, TensorBoard, a progress bar, and one line on plain outputs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TextIO

import torch
from torch import Tensor

from facemeld.training.processes import Team


class Means:
    """Means of the numbers of some iterations, over all processes.

    Values that are not finite belong to steps that were left out, and are not averaged in.
    """

    def __init__(self) -> None:
        self.sums: dict[tuple[str, ...], Tensor] = {}  # 2 N: sums, and how many values

    def add(self, numbers: dict[str, Tensor]) -> None:
        """Collects one iteration's numbers; nothing is copied off the device yet."""
        values = torch.stack([value.float() for value in numbers.values()])
        finite = torch.isfinite(values)
        rows = torch.stack([torch.where(finite, values, 0.0), finite.float()])
        names = tuple(numbers)
        self.sums[names] = self.sums[names] + rows if names in self.sums else rows

    def take(self, team: Team) -> dict[str, float]:
        """The means since the last call, by name; called by all processes alike."""
        names = [name for group in self.sums for name in group]
        both = torch.cat(list(self.sums.values()), dim=1)
        self.sums = {}
        team.add_up(both)
        found: dict[str, list[float]] = {}
        for name, total, count in zip(names, *both.tolist()):
            sums = found.setdefault(name, [0.0, 0.0])
            sums[0] += total
            sums[1] += count
        return {name: total / count for name, (total, count) in found.items() if count}


class RunLog:
    """Writes a line of numbers where people and programs read them.

    Args:
        folder: the run folder; log.jsonl and TensorBoard events go there.
        total: pictures at the end of the run.
        start: pictures seen at the start of this session.
        device: of the training, whose memory is told.
    """

    def __init__(
        self, folder: Path, *, total: int, start: int, device: torch.device = torch.device("cpu")
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.total, self.device = total, device
        self.events = SummaryWriter(folder)
        self.file = _open_lines(folder / "log.jsonl")
        self.speed = Speed(start)
        self.bar = _progress_bar(total) if sys.stderr.isatty() else None
        if self.bar:
            self.task = self.bar.add_task("training", total=total, completed=start, speed="")
            self.bar.start()

    def report(self, pictures: int, means: dict[str, float], left_out: int = 0) -> None:
        """Writes the means since the last report.

        Args:
            pictures: seen so far.
            means: by name.
            left_out: iterations with a step that was left out, since the start of the run.
        """
        rate, left = self.speed.measure(pictures, self.total)
        line = {"pictures": pictures, "pictures_per_second": round(rate, 2)}
        if (memory := peak_memory_mb(self.device)) is not None:
            line["peak_memory_mb"] = round(memory)
        line |= {name: round(value, 5) for name, value in means.items()}
        if left_out:
            line["left_out"] = left_out
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        for name, value in means.items():
            self.events.add_scalar(name, value, pictures)
        self.events.add_scalar("pictures_per_second", rate, pictures)
        text = f"{rate:.1f} pictures/s, {duration(left)} left"
        if left_out:
            text += f", {left_out} iterations with steps left out (not finite)"
        if self.bar:
            self.bar.update(self.task, completed=pictures, speed=text)
        else:
            print(f"{pictures}/{self.total} pictures, {text}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self.bar:
            self.bar.console.print(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar:
            self.bar.stop()
        self.file.close()
        self.events.close()


class Speed:
    """Pictures a second since the last measurement, pauses left out."""

    def __init__(self, pictures: int, now=time.monotonic) -> None:
        self.now = now
        self.pictures = pictures
        self.since = now()
        self.paused = 0.0

    def pause(self, seconds: float) -> None:
        """Takes time out that was spent on sheets and checkpoints."""
        self.paused += seconds

    def measure(self, pictures: int, total: int) -> tuple[float, float]:
        """Pictures a second, and seconds left at that rate."""
        elapsed = max(self.now() - self.since - self.paused, 1e-9)
        rate = (pictures - self.pictures) / elapsed
        self.pictures, self.since, self.paused = pictures, self.now(), 0.0
        return rate, (total - pictures) / rate if rate > 0 else float("inf")


def peak_memory_mb(device: torch.device) -> float | None:
    """The most memory of this process so far, in 10^6 bytes; None where the system does not tell.

    On a GPU what tensors took, else everything with all libraries.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _open_lines(path: Path) -> TextIO:
    """Opens a file to add lines; half a line, of a session that was killed, is cut off."""
    file = path.open("a+", encoding="utf-8")
    if file.seekable() and path.is_file():
        file.seek(0)
        content = file.read()
        if not content.endswith("\n"):
            file.truncate(len(content[: content.rfind("\n") + 1].encode()))
    return file


def duration(seconds: float) -> str:
    """1 h 05 min, 3 min 20 s, 12 s."""
    if seconds == float("inf"):
        return "unknown time"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def _progress_bar(total: int):
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        console=Console(stderr=True),
    )
