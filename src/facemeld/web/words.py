"""Everything that the page says, in English and Traditional Chinese."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import resources

import gradio as gr

from facemeld.errors import UserError

LANGUAGES = (("English", "en"), ("繁體中文", "zh"))

_TEXTS = tomllib.loads(
    resources.files("facemeld.web").joinpath("words.toml").read_text(encoding="utf-8")
)


def say(key: str, language: str, **values: object) -> str:
    """A text in a language."""
    return _TEXTS[key][language].format(**values)


def tell(error: UserError, language: str) -> str:
    """An error as one sentence."""
    if language == "zh":
        for part, text in _TEXTS["errors"].items():
            if part in error.what:
                return text
    what = error.what[:1].upper() + error.what[1:]
    return say("error_other", language, what=f"{what}: {error.fix}" if error.fix else what)


def preferred(accepted: str) -> str:
    """The page's language for an Accept-Language header."""
    for part in accepted.lower().split(","):
        tag = part.split(";")[0].strip()
        if tag.startswith("zh"):
            return "zh"
        if tag.startswith("en"):
            return "en"
    return "en"


class Translator:
    """Knows which text stands where, so that all can change at once."""

    def __init__(self) -> None:
        self._places: list[tuple[gr.blocks.Block, dict[str, str]]] = []

    def __call__(self, component, **keys: str):
        """The component with these texts: ``label="strength"``, ``value="fuse"``, …"""
        for attribute, key in keys.items():
            setattr(component, attribute, say(key, "en"))
        self._places.append((component, keys))
        return component

    @property
    def components(self) -> list:
        """All that have texts."""
        return [component for component, _ in self._places]

    def updates(self, language: str) -> Sequence[dict]:
        """For each component, its texts in a language."""
        return [
            gr.update(**{name: say(key, language) for name, key in keys.items()})
            for _, keys in self._places
        ]
