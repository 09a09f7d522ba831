"""What a run tells: log.jsonl, TensorBoard, a progress bar, and one line on plain outputs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from torch import Tensor


class RunLog:
    """Averages the numbers of the iterations since the last line and reports them.

    Args:
        folder: the run folder; log.jsonl and TensorBoard events go there.
        total: pictures at the end of the run.
        start: pictures seen at the start of this session.
    """

    def __init__(self, folder: Path, *, total: int, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.total = total
        self.events = SummaryWriter(folder)
        self.file = (folder / "log.jsonl").open("a", encoding="utf-8")
        self.sums: dict[str, tuple[Tensor, int]] = {}
        self.speed = Speed(start)
        self.bar = _progress_bar(total) if sys.stderr.isatty() else None
        if self.bar:
            self.task = self.bar.add_task("training", total=total, completed=start, speed="")
            self.bar.start()

    def add(self, numbers: dict[str, Tensor]) -> None:
        """Collects one iteration's numbers; nothing is copied off the device yet."""
        for name, value in numbers.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + value.float(), count + 1)

    def report(self, pictures: int) -> None:
        """Writes the means since the last report."""
        means = {name: float(total) / count for name, (total, count) in self.sums.items()}
        self.sums = {}
        rate, left = self.speed.measure(pictures, self.total)
        line = {"pictures": pictures, "pictures_per_second": round(rate, 2)}
        line |= {name: round(value, 5) for name, value in means.items()}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        for name, value in means.items():
            self.events.add_scalar(name, value, pictures)
        self.events.add_scalar("pictures_per_second", rate, pictures)
        text = f"{rate:.1f} pictures/s, {duration(left)} left"
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
