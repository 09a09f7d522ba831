"""What the controls offer for a model, and what the dice throws; without a browser."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from facemeld.web.engine import Engine, Offered
from facemeld.web.fuse_events import FROM_MODEL, FuseEvents
from facemeld.web.fuse_tab import build_fuse_tab
from facemeld.web.jobs import Jobs
from facemeld.web.sessions import Session, Sessions
from facemeld.web.words import Translator


@pytest.fixture(scope="module")
def events(projected_model: Path, resnet_model: Path) -> FuseEvents:
    """``skips`` has skips and guesses domains, ``plain`` does neither."""
    models = {"skips": Offered(projected_model, "a"), "plain": Offered(resnet_model, "b")}
    engine = Engine(models)
    with gr.Blocks():
        tab = build_fuse_tab(engine, Translator())
        return FuseEvents(engine, Jobs(), Sessions(), tab, gr.Radio())


def choices(events: FuseEvents, model: str, domain: str | None) -> dict[str, dict]:
    return dict(zip(FROM_MODEL, events.choices(Session(), "en", model, domain)))


def test_outlines_are_offered_only_where_there_are_skips(events: FuseEvents) -> None:
    shown = choices(events, "skips", "")["content_strength"]
    assert shown["visible"] and "value" not in shown
    hidden = choices(events, "plain", "")["content_strength"]
    assert not hidden["visible"] and hidden["value"] == 1.0


def test_a_guess_is_offered_only_by_models_that_guess(events: FuseEvents) -> None:
    guessing = choices(events, "skips", "")["domain"]
    assert [value for _, value in guessing["choices"]] == ["", "cat", "dog"]
    assert guessing["value"] == ""
    naming = choices(events, "plain", "")["domain"]
    assert [value for _, value in naming["choices"]] == ["cat", "dog"] and naming["value"] == "cat"


def test_a_domain_that_the_model_lacks_is_not_kept(events: FuseEvents) -> None:
    assert choices(events, "skips", "dog")["domain"]["value"] == "dog"
    assert choices(events, "skips", "anime")["domain"]["value"] == ""


def test_the_dice_throws_a_random_look_that_can_be_made(events: FuseEvents) -> None:
    thrown = [events.throw(Session(), "en", "skips", "") for _ in range(20)]
    assert {latent for latent, _, _ in thrown} == {True}
    assert len({seed for _, seed, _ in thrown}) > 10
    assert {domain for _, _, domain in thrown} == {"cat", "dog"}
    assert events.throw(Session(), "en", "skips", "dog")[2] == "dog"


def test_a_random_look_has_a_domain_as_soon_as_it_is_ticked(events: FuseEvents) -> None:
    assert events.choose_random(Session(), "en", True, "skips", "") in ("cat", "dog")
    assert events.choose_random(Session(), "en", True, "skips", "dog") == "dog"
    assert events.choose_random(Session(), "en", False, "skips", "") == ""
