"""When a video is at which of its stops, and on the way from one to the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from facemeld.errors import UserError, did_you_mean

MOST_FRAMES = 36_000
"""20 minutes at 30 frames a second; more is taken for a mistake."""
MOST_FPS = 240
EASINGS = ("smooth", "linear")


class Step(NamedTuple):
    """Where a frame is: 0 is at the stop, towards 1 is on the way to the next."""

    stop: int
    share: float


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How a video goes from stop to stop."""

    fps: float = 25.0
    """Frames a second."""
    seconds: float = 1.5
    """From one stop to the next."""
    hold: float = 0.5
    """Seconds at each stop."""
    easing: str = "smooth"
    """smooth starts and ends slowly (3 t^2 - 2 t^3), linear goes evenly."""
    loop: bool = False
    """Go back to the first stop; the last frame leads over to the first."""

    @property
    def on_the_way(self) -> int:
        """Frames from one stop to the next, the first stop's own included."""
        return max(1, round(self.seconds * self.fps))

    @property
    def held(self) -> int:
        """Further frames at a stop."""
        return round(self.hold * self.fps)

    def frames(self, stops: int) -> int:
        """How many frames there are."""
        ways = stops if self.loop else stops - 1
        return ways * self.on_the_way + stops * self.held + (not self.loop)

    def steps(self, stops: int) -> Iterator[Step]:
        """One for each frame. Without a loop, the first and the last are at stops."""
        for stop in range(stops):
            for _ in range(self.held):
                yield Step(stop, 0.0)
            if stop == stops - 1 and not self.loop:
                yield Step(stop, 0.0)
                return
            for frame in range(self.on_the_way):
                yield Step(stop, self._eased(frame / self.on_the_way))

    def check(self, stops: int) -> None:
        """UserError if a value is out of range, or the video would be too long.

        Args:
            stops: how many there are.
        """
        for name, low, high in (("fps", 0.1, MOST_FPS), ("seconds", 0, 3600), ("hold", 0, 3600)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UserError(f"{name} is {value}, but must be from {low} to {high}", where=name)
        if self.easing not in EASINGS:
            raise UserError(
                f"there is no easing '{self.easing}'",
                where="easing",
                fix=did_you_mean(self.easing, EASINGS),
            )
        if stops < 2:
            raise UserError(
                "a video needs two stops to go between",
                where="sources and references",
                fix="give several references, or several sources",
            )
        if self.frames(stops) > MOST_FRAMES:
            raise UserError(
                f"the video would have {self.frames(stops)} frames, more than {MOST_FRAMES}",
                where="seconds, hold, fps",
                fix="ask for fewer seconds, or fewer frames a second",
            )

    def _eased(self, t: float) -> float:
        return t if self.easing == "linear" else t * t * (3 - 2 * t)
