"""How the page's functions are called: with the tab's session, and errors as sentences."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

import gradio as gr

from facemeld.errors import UserError
from facemeld.web.jobs import Jobs, Stopped
from facemeld.web.sessions import Session, Sessions
from facemeld.web.words import say, tell

T = TypeVar("T")
DEVICE = "device"
"""The queue of all events that compute: one at a time."""
SECONDS_SHOWN = 8
LIVE = {"trigger_mode": "always_last", "show_progress": "hidden"}
"""Of events that follow a control while it moves."""

QUICK = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Of events that only show what is there."""
QUEUED = {
    "concurrency_id": DEVICE,
    "concurrency_limit": 1,
    "show_progress": "hidden",
    "api_visibility": "private",
}
"""Of events that compute."""


def with_session(
    sessions: Sessions, function: Callable, *, jobs: Jobs | None = None, selects: bool = False
) -> Callable:
    """``function(session, language, …)`` as Gradio calls it, errors told in the page's language.

    Args:
        sessions: of the page.
        function: plain, or a generator of what the page shows in turn.
        jobs: if given, the next argument is the ``Job`` that opens the device for it.
        selects: the next argument is what was chosen.
    """

    def given(request: gr.Request, language: str, *chosen) -> tuple:
        job = () if jobs is None else (jobs.asked_by(request),)
        return (sessions.of(request.session_hash), language, *job, *chosen)

    def run(request: gr.Request, language: str, *values):
        try:
            return function(*given(request, language), *values)
        except Exception as error:
            raise told(error, language) from None

    def run_chosen(request: gr.Request, chosen: gr.EventData, language: str, *values):
        try:
            return function(*given(request, language, chosen), *values)
        except Exception as error:
            raise told(error, language) from None

    def run_long(request: gr.Request, language: str, *values):
        try:
            yield from function(*given(request, language), *values)
        except Exception as error:
            raise told(error, language) from None

    if selects:
        return run_chosen
    return run_long if inspect.isgeneratorfunction(function) else run


def told(error: Exception, language: str) -> gr.Error:
    """Any exception as what Gradio shows for some seconds."""
    if isinstance(error, gr.Error):
        return error
    title = say("attention", language)
    text = sentence(error, language)
    return gr.Error(text, duration=SECONDS_SHOWN, title=title, print_exception=False)


def sentence(error: Exception, language: str) -> str:
    """Any exception as a sentence; what nobody expected is printed, too."""
    if isinstance(error, Stopped):
        return say("stopped", language)
    if isinstance(error, UserError):
        return tell(error, language)
    if isinstance(error, gr.Error):
        return error.message
    traceback.print_exception(error, file=sys.stderr)
    return say("broken", language)


def warn(text: str, language: str) -> None:
    """Shows a sentence for some seconds."""
    gr.Warning(text, duration=SECONDS_SHOWN, title=say("attention", language))


def refuse(key: str, language: str, **values: object) -> gr.Error:
    """A sentence, to be raised, for whoever asked for something that cannot be done yet."""
    text, title = say(key, language, **values), say("attention", language)
    return gr.Error(text, duration=SECONDS_SHOWN, title=title, print_exception=False)


def needs(session: Session, language: str) -> None:
    """A sentence for whoever has not chosen a source yet."""
    if session.source is None:
        raise refuse("need_source", language)


def picked(results: Sequence[T], number: int, language: str) -> T:
    """A result that was chosen in a gallery; a sentence if it had to make room for others."""
    if not 0 <= number < len(results):
        raise refuse("forgotten", language)
    return results[number]
