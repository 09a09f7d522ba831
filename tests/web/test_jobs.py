"""One job at a time, until its time is up or somebody stops it; what was done by then stays."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from facemeld.errors import UserError
from facemeld.web.jobs import Jobs, Stopped
from facemeld.web.tabs import in_turn


def test_a_job_that_takes_too_long_ends_at_its_next_piece() -> None:
    jobs = Jobs(time_limit=0.05)
    with pytest.raises(UserError, match="longer than the limit of 0.05 seconds"):
        with jobs.begin("me", time.monotonic()) as check:
            check()
            time.sleep(0.1)
            check()
    with jobs.begin("me", time.monotonic()):
        pass  # the device is free again


def test_one_at_a_time_and_whoever_waits_too_long_is_told() -> None:
    jobs, begun, over = Jobs(time_limit=0.2), threading.Event(), threading.Event()

    def work() -> None:
        with jobs.begin("other", time.monotonic()):
            begun.set()
            over.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(10)
    try:
        with pytest.raises(UserError, match="the machine is busy"):
            with jobs.begin("me", time.monotonic()):
                raise AssertionError("two jobs at once")
    finally:
        over.set()
        thread.join()
    with jobs.begin("me", time.monotonic()):
        pass


def test_stop_reaches_what_runs_and_what_waits_but_nothing_later_and_nobody_else() -> None:
    jobs, asked = Jobs(), time.monotonic()
    with pytest.raises(Stopped):
        with jobs.begin("me", asked) as check:
            check()
            jobs.stop("me", time.monotonic())
            check()
    with pytest.raises(Stopped), jobs.begin("me", asked):
        raise AssertionError("it waited when it was stopped")
    for asker, when in (("me", time.monotonic()), ("other", asked)):
        with jobs.begin(asker, when) as check:
            check()


def test_a_job_that_nobody_waits_for_ends() -> None:
    gone = threading.Event()
    with pytest.raises(Stopped):
        with Jobs().begin("me", time.monotonic(), gone.is_set) as check:
            check()
            gone.set()
            check()


def _told(jobs: Jobs, works: list) -> tuple[list[str], list]:
    made: list = []
    asked = time.monotonic()
    return list(in_turn("en", lambda: jobs.begin("me", asked), works, made)), made


def test_what_was_done_before_a_stop_stays() -> None:
    jobs = Jobs()

    def last() -> SimpleNamespace:
        jobs.stop("me", time.monotonic())
        return SimpleNamespace(number=1)

    told, made = _told(jobs, [lambda: SimpleNamespace(number=0), last, pytest.fail])
    assert [each.number for each in made] == [0, 1]
    assert told[0].startswith("Working: 0 of 3") and told[-1] == "Stopped."


def test_what_was_done_before_an_error_stays_and_the_error_is_told() -> None:
    def wrong() -> None:
        raise UserError("<this> is wrong", fix="mend it")

    told, made = _told(Jobs(), [lambda: 7, wrong, pytest.fail])
    assert made == [7] and told[-1] == "&lt;this&gt; is wrong: mend it."
    told, made = _told(Jobs(), [lambda: 7, lambda: None, lambda: 8])
    assert made == [7, 8] and told[-1] == "Done: 2."
