"""What the open tabs hold is bounded, in number and in bytes."""

from __future__ import annotations

from PIL import Image

from facemeld.web.commands import Command
from facemeld.web.made import Made
from facemeld.web.portraits import Portrait
from facemeld.web.sessions import MOST_KEPT, MOST_SESSIONS, Session, Sessions
from facemeld.web.wishes import Wish

MEGABYTE = 1_000_000


def portrait(size: int) -> Portrait:
    return Portrait("me.png", bytes(size))


def made(source: Portrait) -> Made:
    return Made(
        image=Image.new("RGB", (100, 100)),
        settings={},
        wish=Wish(model="tiny"),
        source=source,
        references=(source,),
        command=Command("", ""),
    )


def test_what_results_share_counts_once() -> None:
    session, source = Session(), portrait(MEGABYTE)
    session.source = source
    for _ in range(3):
        session.keep(made(source))
    assert session.size == MEGABYTE + 3 * 30_000
    session.latest = session.kept[0]
    assert session.size == MEGABYTE + 3 * 30_000
    assert session.latest.small.size == (100, 100)  # is held from now on
    assert session.size == MEGABYTE + 4 * 30_000


def test_a_tab_that_holds_too_much_loses_its_oldest_results() -> None:
    sessions = Sessions(most_bytes=3 * MEGABYTE)
    session = sessions.of("a")
    for _ in range(5):
        session.keep(made(portrait(MEGABYTE)))
    newest = session.kept[:2]
    assert sessions.of("a").kept == newest
    assert session.size <= 3 * MEGABYTE


def test_the_tab_that_was_used_longest_ago_makes_room() -> None:
    sessions = Sessions(most_bytes=3 * MEGABYTE)
    for tab in ("a", "b", "c"):
        sessions.of(tab).source = portrait(MEGABYTE)
    first = sessions.of("a")
    sessions.of("d").source = portrait(MEGABYTE)
    assert sessions.of("a") is first and first.source is not None
    assert sessions.of("b").source is None


def test_tabs_and_results_are_counted() -> None:
    sessions = Sessions()
    for number in range(MOST_SESSIONS + 5):
        sessions.of(str(number))
    assert len(sessions) == MOST_SESSIONS
    session, source = Session(), portrait(10)
    for _ in range(MOST_KEPT + 5):
        session.keep(made(source))
    assert len(session.kept) == MOST_KEPT and session.count == MOST_KEPT + 5
