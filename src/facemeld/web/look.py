"""How the page looks: Gradio's theme in the studio's colours, and one style sheet."""

from __future__ import annotations

from importlib import resources

import gradio as gr

_TEAL = gr.themes.Color(
    name="teal",
    c50="#eef8f7", c100="#d6eeec", c200="#aedcd9", c300="#7cc4c1", c400="#43a5a3", c500="#138788",
    c600="#0d6e70", c700="#0e595b", c800="#10484a", c900="#113c3e", c950="#042324",
)  # fmt: skip
_STONE = gr.themes.Color(
    name="stone",
    c50="#fafaf8", c100="#f4f3f0", c200="#e8e6e1", c300="#d6d3cc", c400="#a5a19a", c500="#76726b",
    c600="#56534e", c700="#403e3a", c800="#292826", c900="#1c1b1a", c950="#121211",
)  # fmt: skip
# Fonts of the system, Chinese ones included: nothing is fetched.
_FONT = ["system-ui", "-apple-system", "Segoe UI", "Noto Sans TC", "PingFang TC"]
_FONT += ["Microsoft JhengHei", "Noto Sans CJK TC", "sans-serif"]


def theme() -> gr.themes.Base:
    """Calm and light; dark where the browser asks for it."""
    return gr.themes.Base(
        primary_hue=_TEAL,
        secondary_hue=_TEAL,
        neutral_hue=_STONE,
        radius_size=gr.themes.sizes.radius_lg,
        text_size=gr.themes.sizes.text_md,
        font=_FONT,
        font_mono=["ui-monospace", "SFMono-Regular", "Consolas", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color_subdued="*neutral_500",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_title_text_weight="500",
        block_info_text_size="*text_sm",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_secondary_background_fill="*neutral_100",
        button_secondary_background_fill_hover="*neutral_200",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_800",
        input_border_width="1px",
        slider_color="*primary_500",
        layout_gap="16px",
    )


def style_sheet() -> str:
    """The studio's own rules."""
    return resources.files("facemeld.web").joinpath("studio.css").read_text(encoding="utf-8")
