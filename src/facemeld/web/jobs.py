"""One job at a time, each with a limit, until whoever asked for it stops it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from facemeld.errors import UserError
from facemeld.web.guard import ARRIVED

if TYPE_CHECKING:
    import gradio as gr

TIME_LIMIT = 120.0
"""Seconds that one job may take."""
_MOST_STOPS = 1000

Check = Callable[[], None]
"""Raises if the job is to end; called between its pieces."""
Job = Callable[..., AbstractContextManager[Check]]
"""Opens the device for what one request asked for; see ``Jobs.begin``."""


class Stopped(Exception):
    """The person asked for the end of the job."""


class Jobs:
    """The device, and who no longer wants it.

    Args:
        time_limit: seconds that a job may take.
    """

    def __init__(self, time_limit: float = TIME_LIMIT) -> None:
        self.time_limit = time_limit
        self._busy = threading.Lock()
        self._stops: OrderedDict[str, float] = OrderedDict()
        self._noting = threading.Lock()

    def stop(self, asker: str, when: float) -> None:
        """Ends what this asker asked for before: what runs at its next piece, what waits before it
        begins.

        Args:
            asker: the session of a tab or a client.
            when: on the clock of ``time.monotonic``.
        """
        with self._noting:
            self._stops[asker] = when
            self._stops.move_to_end(asker)
            while len(self._stops) > _MOST_STOPS:
                self._stops.popitem(last=False)

    @contextmanager
    def begin(
        self, asker: str, asked: float, abandoned: Callable[[], bool] = lambda: False
    ) -> Iterator[Check]:
        """The device for one job; others wait.

        Args:
            asker: who may stop it.
            asked: when it was asked for, on the clock of ``time.monotonic``.
            abandoned: whether nobody waits for it any more.

        Raises:
            UserError: the job, or the wait for it, takes too long.
            Stopped: it is no longer wanted.
        """
        if not self._busy.acquire(timeout=self.time_limit):
            raise UserError("the machine is busy", fix="try again in a minute")
        limit = time.monotonic() + self.time_limit

        def check() -> None:
            if abandoned() or self._stops.get(asker, 0.0) > asked:
                raise Stopped
            if time.monotonic() > limit:
                raise UserError(
                    f"this took longer than the limit of {self.time_limit:g} seconds",
                    fix="ask for less at once",
                )

        try:
            check()
            yield check
        finally:
            self._busy.release()

    def asked_by(self, request: gr.Request) -> Job:
        """``begin`` for what this request asks for."""
        return partial(self.begin, request.session_hash, arrival(request))


def arrival(request: gr.Request) -> float:
    """When the guard let a request in, however long it waited since."""
    return request.request.scope[ARRIVED]
