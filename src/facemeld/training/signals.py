"""Ctrl-C and SIGTERM: a run saves and leaves, with the exit code that shells expect."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """What a request to stop does while this context is open.

    At first, and from the second request on, it ends the program at once. In between, while
    ``patient`` is set, the first one is only noted, so that the loop can save what it has.
    Outside the main thread, where Python allows no handlers, requests keep their usual effect.
    """

    def __init__(self) -> None:
        self.patient = False
        self.asked = 0
        """The signal that was noted."""

    def __enter__(self) -> Interruption:
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def end_patience(self) -> None:
        """From here on a request ends the program at once, also one that was noted before."""
        self.patient = False
        if self.asked:
            leave(self.asked)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.patient and not self.asked:
            self.asked = number
        else:
            leave(number)


def leave(number: int) -> None:
    """Ends the program as this signal asks: exit code 130 for Ctrl-C, 143 for SIGTERM.

    Raises:
        KeyboardInterrupt, SystemExit: always one of them.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
