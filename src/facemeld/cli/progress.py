"""How far long work is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time

_EVERY = 5.0  # seconds between plain lines


class Progress:
    """Reports on standard error; used in a ``with`` statement, and called with what is done.

    Args:
        unit: of what is counted, in the plural: "pictures", "MB".
        divide: what is counted is divided by this before it is shown, 1e6 for MB.
    """

    def __init__(self, unit: str, divide: float = 1.0) -> None:
        self.unit, self.divide = unit, divide
        self.started = self.told = time.monotonic()
        self.already: float | None = None
        self.bar = _bar() if sys.stderr.isatty() else None
        self.task = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the terminal as it is."""
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, done: float, total: float | None) -> None:
        """Shows that so much is done, of so much if that is known."""
        if self.already is None:  # what an earlier run has done says nothing about this one's speed
            self.already = done
        text = self._text(done, total)
        if self.bar is not None:
            if self.task is None:
                self.task = self.bar.add_task("", total=total, text=text)
                self.bar.start()
            self.bar.update(self.task, completed=done, total=total, text=text)
        elif (now := time.monotonic()) - self.told >= _EVERY or done == total:
            self.told = now
            print(text, file=sys.stderr, flush=True)

    def _text(self, done: float, total: float | None) -> str:
        rate = (done - self.already) / max(time.monotonic() - self.started, 1e-9)
        whole = "" if total is None else f"/{total / self.divide:.0f}"
        text = f"{done / self.divide:.0f}{whole} {self.unit}, {rate / self.divide:.1f} a second"
        if total is not None and rate > 0 and done < total:
            text += f", {duration((total - done) / rate)} left"
        return text


def duration(seconds: float) -> str:
    """1 h 05 min, 3 min 20 s, 12 s."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def _bar():
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(), TextColumn("{task.fields[text]}", markup=False))
    return Progress(*columns, console=Console(stderr=True), transient=False)
