"""The page: a header with the language switch, and a tab for each thing that it does."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from facemeld.web.api import Api
from facemeld.web.engine import Engine
from facemeld.web.events import QUEUED, QUICK, with_session
from facemeld.web.explore_tab import ExploreTab
from facemeld.web.fuse_events import FuseEvents
from facemeld.web.fuse_tab import build_fuse_tab
from facemeld.web.jobs import Jobs
from facemeld.web.keep import Keep
from facemeld.web.model_tabs import AboutTab, CompareTab
from facemeld.web.sessions import MOST_SESSIONS, Session, Sessions
from facemeld.web.words import LANGUAGES, Translator, preferred

CLEARED_EVERY = 300  # seconds
CLEARED_AFTER = 3600
MOST_WAITING = 32

_LOGO = """<svg viewBox="0 0 40 40" width="34" height="34" aria-hidden="true">
<defs><linearGradient id="m" x1="0" y1="0" x2="1" y2="1">
<stop offset="0" stop-color="#0f8b8d"/>
<stop offset="1" stop-color="#e4734f"/></linearGradient></defs>
<circle cx="15" cy="20" r="12" fill="none" stroke="url(#m)" stroke-width="3.4"/>
<circle cx="25" cy="20" r="12" fill="none" stroke="url(#m)" stroke-width="3.4" opacity=".85"/></svg>
<h1>facemeld</h1>"""
# What Gradio tells for some seconds is read out by screen readers only if it is an alert.
_READY = """(language) => {
  document.documentElement.dataset.ready = language;
  new MutationObserver(() => {
    for (const toast of document.querySelectorAll('[data-testid=toast-body]:not([role=alert])'))
      toast.setAttribute('role', 'alert');
  }).observe(document.body, {childList: true, subtree: true});
}"""
_SET_LANGUAGE = "(l) => { document.documentElement.lang = l === 'zh' ? 'zh-Hant' : 'en'; }"


def build_page(engine: Engine, jobs: Jobs, sessions: Sessions) -> gr.Blocks:
    """All components and listeners.

    Args:
        engine: makes the pictures.
        jobs: open the device.
        sessions: of the open tabs.
    """
    words = Translator()
    with gr.Blocks(
        title="facemeld", analytics_enabled=False, delete_cache=(CLEARED_EVERY, CLEARED_AFTER)
    ) as page:
        language = _header(words)
        with gr.Tabs(elem_id="tabs") as tabs:
            with words(gr.Tab("", id="fuse"), label="tab_fuse"):
                tab = build_fuse_tab(engine, words)
            events = FuseEvents(engine, jobs, sessions, tab, language)
            with words(gr.Tab("", id="explore"), label="tab_explore") as explore_tab:
                explore_place = gr.Column(elem_classes="card")
            with words(gr.Tab("", id="compare"), label="tab_compare"):
                compare_place = gr.Column(elem_classes="card")
            with words(gr.Tab("", id="about"), label="tab_about") as about_tab:
                about = AboutTab(engine, words)
        keep = Keep(sessions, words, language)
        with explore_place:
            explore = ExploreTab(events, keep, words)
        with compare_place:
            compare = CompareTab(events, keep, words)
        explore.connect(tabs)
        compare.connect()
        about.connect(about_tab)
        events.connect(keep)
        explore_tab.select(
            with_session(sessions, explore.choices), [language], explore.choice_outputs, **QUICK
        )
        Api(engine, jobs, page.upload_file_set)
        _translate(page, words, language, events, explore)

        def forget(request: gr.Request) -> None:
            sessions.drop(request.session_hash)

        page.unload(forget)
    # Gradio keeps a copy of all components for each caller; its own limit is 10,000.
    page.state_session_capacity = 2 * MOST_SESSIONS
    page.queue(max_size=MOST_WAITING, default_concurrency_limit=1, api_open=False)
    return page


def _header(words: Translator) -> gr.Radio:
    with gr.Row(elem_id="header"):
        gr.HTML(_LOGO, elem_id="logo", padding=False)
        words(gr.HTML(elem_id="tagline", padding=False), value="tagline")
        language = words(
            gr.Radio(
                list(LANGUAGES), value="en", elem_id="language", container=False, show_label=False
            ),
            label="language",
        )
    words(gr.HTML(elem_id="notice", padding=False), value="notice")
    return language


def _translate(
    page: gr.Blocks,
    words: Translator,
    language: gr.Radio,
    events: FuseEvents,
    explore: ExploreTab,
) -> None:
    outputs = [*words.components, *events.choice_outputs, *events.picture_outputs]
    outputs += [*explore.choice_outputs, *events.result_outputs]

    def texts(session: Session, spoken: str, model: str, domain: str) -> Sequence:
        latest = session.latest
        result = events.compared(latest, spoken) if latest else events.nothing_yet(spoken)
        return [
            *words.updates(spoken),
            *events.choices(session, spoken, model, domain),
            *events.pictures(session, spoken, painter=session.painted is None),
            *explore.choices(session, spoken),
            result,
            "",
        ]

    events.on(language.input, texts, events.domain_inputs, outputs)
    language.change(None, [language], None, js=_SET_LANGUAGE, api_visibility="private")

    def first(request: gr.Request, model: str, domain: str) -> list:
        spoken = preferred(request.headers.get("accept-language", ""))
        return [spoken, *texts(events.sessions.of(request.session_hash), spoken, model, domain)]

    loaded = page.load(first, events.domain_inputs, [language, *outputs], **QUEUED)
    ready = loaded.then(None, [language], None, js=_READY, api_visibility="private")

    def load_model(session: Session, spoken: str, model: str) -> None:
        """While the person looks for pictures."""
        events.engine.pipe(model)

    events.on(ready.then, load_model, [events.tab.model], [])
