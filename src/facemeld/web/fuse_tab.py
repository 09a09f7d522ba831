"""The Fuse tab as components: the source left, the result beside it, references right; below the
source what is about shapes, below the references what is about looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from facemeld.config import LEVELS
from facemeld.data.folders import bundled_faces
from facemeld.fusion.regions import REGIONS
from facemeld.web.engine import Engine
from facemeld.web.parts import Upload, before_after, heading, painter, status, upload
from facemeld.web.sessions import MOST_REFERENCES
from facemeld.web.tabs import buttons
from facemeld.web.words import Translator, say

SIZES = (256, 512, 1024)


@dataclass
class Slot:
    """One reference."""

    row: gr.Row
    picture: gr.HTML
    weight: gr.Slider
    remove: gr.Button


@dataclass
class FuseTab:
    """The components that events are about."""

    model: gr.Dropdown = None
    source: Upload = None
    source_seen: gr.HTML = None
    source_examples: gr.Gallery = None
    reference: Upload = None
    reference_examples: gr.Gallery = None
    slots: list[Slot] = field(default_factory=list)
    result: gr.HTML = None
    status: gr.HTML = None
    fuse: gr.Button = None
    stop: gr.Button = None
    painter: gr.HTML = None
    dice: gr.Button = None
    controls: dict[str, gr.components.Component] = field(default_factory=dict)
    """By the name of the Wish's field; levels and weights have several."""
    who: gr.Radio = None
    face: gr.Dropdown = None
    guided: gr.HTML = None
    corrections: dict[str, gr.Slider] = field(default_factory=dict)
    reset: gr.Button = None

    @property
    def inputs(self) -> list[gr.components.Component]:
        """All controls, in the order of ``FuseEvents.wish``'s values."""
        return [self.model, *self.controls.values(), *(slot.weight for slot in self.slots)]


def build_fuse_tab(engine: Engine, words: Translator) -> FuseTab:
    """Puts the components on the page; call inside ``gr.Tab``."""
    tab = FuseTab()
    with gr.Row(elem_id="stage", equal_height=False):
        with gr.Column(scale=3, min_width=270, elem_id="source-side"):
            with gr.Column(elem_classes="card"):
                _source_card(tab, words)
            _correction_panel(tab, words)
            _shape_panel(tab, words)
        with gr.Column(scale=5, min_width=320, elem_id="result-side"):
            with gr.Column(elem_classes="card"):
                _result_card(tab, words, list(engine.models))
        with gr.Column(scale=4, min_width=290, elem_id="reference-side"):
            with gr.Column(elem_classes="card"):
                _reference_card(tab, words)
            _look_panel(tab, words)
            _places_panel(tab, words)
            _levels_panel(tab, words)
            _latent_panel(tab, words)
    return tab


# -- pictures ---------------------------------------------------------------------------------


def _examples(words: Translator, label: str, name: str) -> gr.Gallery:
    faces: list[Path] = bundled_faces()
    return words(
        gr.Gallery(
            [(str(path), path.stem.replace("_", " ")) for path in faces],
            columns=6,
            allow_preview=False,
            object_fit="cover",
            buttons=[],
            interactive=False,
            elem_classes="examples",
            elem_id=name,
            container=False,
        ),
        label=label,
    )


def _source_card(tab: FuseTab, words: Translator) -> None:
    heading(words, "heading_source")
    tab.source = words(
        upload(height=210, elem_id="source-upload", elem_classes="upload"),
        label="upload_source",
        placeholder="drop",
    )
    tab.source_seen = gr.HTML(elem_id="source-seen", padding=False)
    words(gr.HTML(elem_classes="hint", padding=False), value="examples")
    tab.source_examples = _examples(words, "examples_source", "source-examples")


def _result_card(tab: FuseTab, words: Translator, models: list[str]) -> None:
    heading(words, "heading_result")
    tab.result = before_after(
        value={"empty_text": say("empty_result", "en")}, elem_id="result", padding=False
    )
    tab.status = status("status")
    tab.fuse, tab.stop = buttons(words, "fuse", "fuse")
    tab.controls["strength"] = _share(words, "strength", 1.0, info="strength_info")
    with gr.Row():
        tab.model = words(
            gr.Dropdown(
                models, value=models[0], visible=len(models) > 1, elem_id="model", min_width=130
            ),
            label="model",
        )
        tab.controls["size"] = words(
            gr.Dropdown(
                [(str(side), side) for side in (0, *SIZES)],
                value=SIZES[0],
                elem_id="size",
                min_width=130,
            ),
            label="size",
        )


def _reference_card(tab: FuseTab, words: Translator) -> None:
    heading(words, "heading_references")
    for index in range(MOST_REFERENCES):
        with gr.Row(visible=False, elem_classes="slot") as row:
            picture = gr.HTML(padding=False, min_width=72, elem_classes="slot-picture")
            weight = gr.Slider(
                0,
                1,
                1,
                step=0.01,
                elem_id=f"weight-{index + 1}",
                min_width=120,
                buttons=[],
            )
            # Its text is for screen readers; the style sheet shows a cross.
            remove = gr.Button(size="sm", scale=0, min_width=36, elem_classes="remove")
        tab.slots.append(Slot(row, picture, weight, remove))
    tab.reference = words(
        upload(height=150, elem_id="reference-upload", elem_classes="upload"),
        label="upload_reference",
        placeholder="drop",
    )
    words(gr.HTML(elem_classes="hint", padding=False), value="examples")
    tab.reference_examples = _examples(words, "examples_reference", "reference-examples")
    tab.controls["domain"] = words(
        gr.Dropdown([("–", "")], value="", elem_id="domain"), label="domain", info="domain_info"
    )


# -- controls ---------------------------------------------------------------------------------


def _panel(words: Translator, title: str) -> gr.Accordion:
    accordion = gr.Accordion("", open=False, elem_id=f"panel-{title}", elem_classes="panel")
    return words(accordion, label=title)


def _share(
    words: Translator, label: str, value: float, most: float = 1.0, info: str | None = None
) -> gr.Slider:
    slider = gr.Slider(0, most, value, step=0.01, buttons=[], elem_id=label)
    return words(slider, label=label, **({"info": info} if info else {}))


def _reference_choice(words: Translator, label: str) -> gr.Dropdown:
    """One of the references; its choices follow them (see ``picture_events``)."""
    return words(gr.Dropdown([("–", 0)], value=0, elem_id=label), label=label)


def _look_panel(tab: FuseTab, words: Translator) -> None:
    with _panel(words, "controls_look"):
        tab.controls["colour_match"] = _share(words, "colour_match", 0.0)
        tab.controls["content_strength"] = _share(words, "content_strength", 1.0, 2.0)
        tab.controls["interpolation"] = words(
            gr.Radio(["linear", "spherical"], value="linear", elem_id="interpolation"),
            label="interpolation",
        )


def _levels_panel(tab: FuseTab, words: Translator) -> None:
    with _panel(words, "controls_levels"):
        words(gr.HTML(elem_classes="hint", padding=False), value="levels_info")
        for level in LEVELS:
            tab.controls[level] = _reference_choice(words, level)


def _places_panel(tab: FuseTab, words: Translator) -> None:
    with _panel(words, "controls_places"):
        with gr.Row():
            tab.controls["place"] = words(
                gr.Dropdown(list(REGIONS), value="left", elem_id="place", min_width=120),
                label="place",
            )
            tab.controls["place_from"] = _reference_choice(words, "place_from")
        words(gr.HTML(elem_classes="subtitle", padding=False), value="paint")
        tab.painter = painter(
            value={"empty_text": say("paint_empty", "en")}, elem_id="painter", padding=False
        )
        tab.controls["painted_from"] = _reference_choice(words, "painted_from")
        tab.controls["feather"] = words(
            gr.Slider(0, 0.5, 0.05, step=0.01, buttons=[], elem_id="feather"), label="feather"
        )


def _latent_panel(tab: FuseTab, words: Translator) -> None:
    with _panel(words, "controls_latent"):
        tab.controls["latent"] = words(gr.Checkbox(elem_id="latent"), label="latent")
        with gr.Row(elem_classes="seed"):
            tab.controls["seed"] = words(
                gr.Number(0, precision=0, minimum=0, elem_id="seed", min_width=100), label="seed"
            )
            tab.dice = words(gr.Button(elem_id="dice", min_width=100), value="dice")
        tab.controls["truncation"] = _share(words, "truncation", 1.0, info="truncation_info")
        tab.controls["variation"] = words(
            gr.Number(0, precision=0, minimum=0, maximum=1000, elem_id="variation"),
            label="variation",
            info="variation_info",
        )
        tab.controls["variation_angle"] = words(
            gr.Slider(0, 90, 20, step=1, buttons=[], elem_id="variation_angle"),
            label="variation_angle",
        )


def _shape_panel(tab: FuseTab, words: Translator) -> None:
    with _panel(words, "controls_shape"):
        tab.controls["paste_back"] = words(gr.Checkbox(elem_id="paste_back"), label="paste_back")
        tab.controls["second_source"] = _reference_choice(words, "second_source")
        tab.controls["source_mix"] = _share(words, "source_mix", 0.5)


def _correction_panel(tab: FuseTab, words: Translator) -> None:
    with _panel(words, "adjust"):
        words(gr.HTML(elem_classes="hint", padding=False), value="adjust_help")
        tab.who = words(gr.Radio([], elem_id="adjust-who"), label="adjust_who")
        tab.guided = gr.HTML(elem_id="adjust-picture", padding=False)
        tab.face = words(gr.Dropdown([], elem_id="adjust-face"), label="adjust_face")
        for name, low, high, usual, step in (
            ("across", -0.5, 0.5, 0.0, 0.01),
            ("down", -0.5, 0.5, 0.0, 0.01),
            ("zoom", 0.5, 2.0, 1.0, 0.01),
            ("turn", -45, 45, 0, 1),
        ):
            slider = gr.Slider(low, high, usual, step=step, buttons=[], elem_id=f"adjust-{name}")
            tab.corrections[name] = words(slider, label=name)
        tab.reset = words(gr.Button(elem_id="adjust-reset", size="sm"), value="reset")
