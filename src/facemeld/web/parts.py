"""Pieces of the page that Gradio does not have, and uploads that only images/ decodes."""

from __future__ import annotations

import base64
import html
from abc import ABCMeta
from pathlib import Path

import gradio as gr
from gradio.component_meta import ComponentMeta
from PIL import Image

from facemeld.images.write import encode_picture
from facemeld.web.words import Translator

_PREVIEW_QUALITY = 90
_PREVIEW_SIDE = 1024  # pixels


def _sent(self, payload) -> tuple[str, Path] | None:
    """The sender's name for the file, and where it is; Gradio would decode it itself."""
    if payload is None or not payload.path:
        return None
    return payload.orig_name or "picture.png", Path(payload.path)


# A place for one picture. Made without Gradio's own step, which writes a .pyi file beside this one.
Upload = ABCMeta.__new__(
    ComponentMeta,
    "Upload",
    (gr.Image,),
    {"__module__": __name__, "is_template": True, "preprocess": _sent},
)


def upload(**options) -> Upload:
    """An ``Upload`` from a file, the clipboard or a camera."""
    return Upload(
        type="filepath",
        sources=["upload", "webcam", "clipboard"],
        webcam_options=gr.WebcamOptions(mirror=True),
        buttons=[],
        **options,
    )


def heading(words: Translator, key: str) -> None:
    """The title of a card."""
    title = gr.HTML(html_template="<h2>${value}</h2>", elem_classes="title", padding=False)
    words(title, value=key)


def status(name: str) -> gr.HTML:
    """A line that tells how something went; screen readers read it out when it changes."""
    return gr.HTML(
        elem_id=name,
        elem_classes="status",
        padding=False,
        js_on_load="element.setAttribute('role', 'status');",
    )


def preview(image: Image.Image) -> str:
    """An image as an address that holds it: nothing is written for a look at it."""
    if max(image.size) > _PREVIEW_SIDE:
        image = image.copy()
        image.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
    content = encode_picture(image, "WEBP", settings=None, quality=_PREVIEW_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(content).decode()


def thumbnail(image: Image.Image, text: str) -> str:
    """A small picture with a caption, as HTML."""
    text = html.escape(text)
    return (
        f'<figure class="thumb"><img src="{preview(image)}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def guided(image: Image.Image, marks: list[tuple[float, float]], text: str) -> str:
    """A picture with marks at places in shares of its side, as HTML."""
    dots = "".join(f'<circle cx="{100 * x:.1f}" cy="{100 * y:.1f}" r="2.2"/>' for x, y in marks)
    return (
        f'<div class="guided"><img src="{preview(image)}" alt="{html.escape(text)}">'
        f'<svg viewBox="0 0 100 100" aria-hidden="true">{dots}</svg></div>'
    )


def film(content: bytes, text: str) -> str:
    """An MP4 video that plays for ever, as HTML that holds it."""
    address = "data:video/mp4;base64," + base64.b64encode(content).decode()
    return (
        f'<video class="film" src="{address}" aria-label="{html.escape(text)}" '
        "controls autoplay loop muted playsinline></video>"
    )


def comparison(before: Image.Image, after: Image.Image, texts: dict[str, str]) -> dict:
    """The value of a ``before_after`` part."""
    return {"before": preview(before), "after": preview(after), **texts}


def before_after(**options) -> gr.HTML:
    """Two pictures in one place, with a slider between them that the keyboard moves, too."""
    return gr.HTML(
        html_template=_BEFORE_AFTER, js_on_load=_BEFORE_AFTER_JS, apply_default_css=False, **options
    )


_BEFORE_AFTER = """${value && value.after ? `
<div class="compare">
  <img class="after" src="${value.after}" alt="${value.after_text}">
  <img class="before" src="${value.before}" alt="${value.before_text}">
  <span class="tag left">${value.before_text}</span>
  <span class="tag right">${value.after_text}</span>
  <i class="line" aria-hidden="true"></i>
  <input type="range" min="0" max="100" value="35" step="1" aria-label="${value.slide_text}">
</div>` : `<div class="compare empty"><p>${value ? value.empty_text : ''}</p></div>`}"""

_BEFORE_AFTER_JS = """
const at = (share) => element.style.setProperty('--at', share + '%');
element.addEventListener('input', (event) => {
  if (event.target.type !== 'range') return;
  element.dataset.at = event.target.value;
  at(event.target.value);
});
watch('value', () => {
  const slider = element.querySelector('input[type=range]');
  if (slider && element.dataset.at) slider.value = element.dataset.at;
});
"""


def painter(**options) -> gr.HTML:
    """A picture to paint on, with a pointer or the keyboard; each stroke submits a ``mask``, a PNG
    that is white where something was painted."""
    return gr.HTML(
        html_template=_PAINTER, js_on_load=_PAINTER_JS, apply_default_css=False, **options
    )


_PAINTER = """${value && value.picture ? `
<div class="painter">
  <img src="${value.picture}" alt="${value.text}" draggable="false">
  <canvas width="256" height="256" tabindex="0" role="application" aria-label="${value.keys_text}">
  </canvas>
  <i class="brush" aria-hidden="true"></i>
</div>
<div class="painter-tools">
  <label>${value.brush_text} <input type="range" min="6" max="60" value="24"></label>
  <button type="button">${value.clear_text}</button>
</div>` : `<div class="painter empty"><p>${value ? value.empty_text : ''}</p></div>`}"""

_PAINTER_JS = """
let down = false, last = null, at = [128, 128];
const ways = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
const canvas = () => element.querySelector('canvas');
const size = () => Number(element.querySelector('.painter-tools input').value);
const place = (event) => {
  const box = canvas().getBoundingClientRect();
  const scale = canvas().width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
};
const stroke = (from, to) => {
  const pen = canvas().getContext('2d');
  pen.strokeStyle = '#fff'; pen.lineCap = 'round'; pen.lineWidth = size();
  pen.beginPath(); pen.moveTo(...from); pen.lineTo(to[0] + 0.01, to[1]); pen.stroke();
};
const send = (clear) => {
  const copy = document.createElement('canvas');
  copy.width = copy.height = 256;
  const pen = copy.getContext('2d');
  pen.fillRect(0, 0, 256, 256);
  if (!clear) pen.drawImage(canvas(), 0, 0);
  trigger('submit', {mask: clear ? '' : copy.toDataURL('image/png')});
};
const show = () => {
  const [x, y, side] = [...at, size()].map((length) => length / 2.56 + '%');
  Object.assign(element.querySelector('.brush').style, {left: x, top: y, width: side});
};
element.addEventListener('focusin', (event) => { if (event.target === canvas()) show(); });
element.addEventListener('keydown', (event) => {
  const way = ways[event.key];
  if (event.target !== canvas() || !(way || event.key === ' ')) return;
  event.preventDefault();
  if (way) {
    const step = event.shiftKey ? 2 : 10;
    at = at.map((place, axis) => Math.min(256, Math.max(0, place + step * way[axis])));
    show();
  } else { stroke(at, at); send(false); }
});
element.addEventListener('pointerdown', (event) => {
  if (event.target !== canvas()) return;
  event.preventDefault();
  canvas().setPointerCapture(event.pointerId);
  down = true; last = place(event); stroke(last, last);
});
element.addEventListener('pointermove', (event) => {
  if (!down) return;
  const now = place(event); stroke(last, now); last = now;
});
element.addEventListener('pointerup', () => { if (down) { down = false; send(false); } });
element.addEventListener('click', (event) => {
  if (event.target.tagName !== 'BUTTON') return;
  canvas().getContext('2d').clearRect(0, 0, 256, 256);
  send(true);
});
"""
