"""How the page's functions are called: with the tab's session, and errors as sentences."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable

import gradio as gr

from facemeld.errors import UserError
from facemeld.web.engine import Stopped
from facemeld.web.sessions import Session, Sessions
from facemeld.web.words import say, tell

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


def with_session(sessions: Sessions, function: Callable, *, selects: bool = False) -> Callable:
    """``function(session, language, …)`` as Gradio calls it, errors told in the page's language.

    Args:
        sessions: of the page.
        function: plain, or a generator of what the page shows in turn.
        selects: it is told what was chosen, as the third argument.
    """

    def run(request: gr.Request, language: str, *values):
        try:
            return function(sessions.of(request.session_hash), language, *values)
        except Exception as error:
            raise told(error, language) from None

    def run_chosen(request: gr.Request, chosen: gr.EventData, language: str, *values):
        return run(request, language, chosen, *values)

    def run_long(request: gr.Request, language: str, *values):
        try:
            yield from function(sessions.of(request.session_hash), language, *values)
        except Exception as error:
            raise told(error, language) from None

    if selects:
        return run_chosen
    return run_long if inspect.isgeneratorfunction(function) else run


def told(error: Exception, language: str) -> gr.Error:
    """Any exception as the sentence that the page shows."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, Stopped):
        sentence = say("stopped", language)
    elif isinstance(error, UserError):
        sentence = tell(error, language)
    else:
        traceback.print_exception(error, file=sys.stderr)
        sentence = say("broken", language)
    return _error(sentence, language)


def warn(sentence: str, language: str) -> None:
    """Shows a sentence for some seconds."""
    gr.Warning(sentence, duration=SECONDS_SHOWN, title=say("attention", language))


def _error(sentence: str, language: str) -> gr.Error:
    title = say("attention", language)
    return gr.Error(sentence, duration=SECONDS_SHOWN, title=title, print_exception=False)


def refuse(key: str, language: str, **values: object) -> gr.Error:
    """A sentence, to be raised, for whoever asked for something that cannot be done yet."""
    return _error(say(key, language, **values), language)


def needs(session: Session, language: str) -> None:
    """A sentence for whoever has not chosen a source yet."""
    if session.source is None:
        raise refuse("need_source", language)
