"""The report of a distillation: what the student costs, keeps and loses, beside its teacher."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from facemeld.images.write import encode_picture
from facemeld.reports.evaluation import mean_table
from facemeld.reports.page import Page, Picture

_COSTS = {
    "gmac": "generator, GMAC a picture",
    "decoder_gmac": "of these the decoder",
    "parameters": "generator, parameters",
    "decoder_milliseconds": "decoder, milliseconds a picture in PyTorch here",
}
_DISTANCES = {
    "l1": "L1 to the teacher's picture, %",
    "l1_of_source": "of the untouched source, %",
    "psnr": "PSNR to the teacher's picture, dB",
}
_KEPT = {
    "structure": "structure of the source kept, correlation",
    "style": "style followed, cosine",
    "rebuilt": "L1 of the rebuilt source, %",
}
_PERCENT = ("l1", "l1_of_source", "rebuilt")
_OF_PICTURES = ("floor", "unedited", "domain_accuracy_of_real")
"""Scores that say nothing about a model."""


def write_distillation(result: dict, picture: Image.Image, command: str, out: Path) -> list[Path]:
    """Writes ``out/report.md``, ``report.html`` and the sheet; returns the first two.

    Args:
        result: of ``evaluation.distilled``; see ``cli.distil``.
        picture: teacher and student side by side.
        command: what reproduces it.

    Raises:
        UserError: the folder cannot be written to.
    """
    return distillation_page(result, picture, command).write(out)[:2]


def distillation_page(result: dict, picture: Image.Image, command: str) -> Page:
    """The report, not yet written."""
    page = Page(f"A student of {Path(result['teacher']).name}")
    page.text(_told(result))
    page.bullets([f"Not measured: {reason}" for reason in result["left_out"]])
    page.heading("What it costs")
    costs = result["costs"]
    rows = []
    for name, title in _COSTS.items():
        teacher, student = costs["teacher"][name], costs["student"][name]
        rows.append([title, teacher, student, teacher / student])
    page.table(["", "teacher", "student", "times less"], rows)
    page.heading("How near its pictures are to the teacher's")
    page.table(
        *_distances(result["imitation"]),
        caption=f"{result['sources']} sources from {result['pictures']}.",
    )
    page.table(*_kept(result["imitation"]))
    if result["light"]:
        page.heading("Light evaluation")
        page.text(
            "Fréchet distances of MobileNetV2 features, which are not FID; both models with the "
            f"same sources, references and latent codes, {result['fakes']} fakes a domain and mode."
        )
        page.table(*_light(result["light"]))
    page.heading("Side by side")
    content = encode_picture(picture, "JPEG", settings=None)
    page.figure(Picture("side-by-side.jpg", content, "Columns marked * are from a latent code."))
    page.heading("The same again")
    page.code(command)
    return page


def _told(result: dict) -> str:
    """The result in two sentences."""
    costs, imitation = result["costs"], result["imitation"]
    ratio = costs["teacher"]["gmac"] / costs["student"]["gmac"]
    near, far = (100 * imitation["reference"][name] for name in ("l1", "l1_of_source"))
    return (
        f"The student's generator takes {ratio:.1f} times fewer multiply-adds. Under references "
        f"its pictures are {near:.1f} % from the teacher's on the scale of brightness, where the "
        f"untouched sources are {far:.1f} % from them."
    )


def _distances(imitation: dict) -> tuple[list[str], list[list]]:
    rows = [
        [title, *(_scaled(name, scores[name]) for scores in imitation.values())]
        for name, title in _DISTANCES.items()
    ]
    return ["", *imitation], rows


def _kept(imitation: dict) -> tuple[list[str], list[list]]:
    rows = []
    for name, title in _KEPT.items():
        for mode, scores in imitation.items():
            if f"{name}_teacher" in scores:
                values = [_scaled(name, scores[f"{name}_{who}"]) for who in ("teacher", "student")]
                rows.append([f"{title}, {mode}", *values])
    return ["", "teacher", "student"], rows


def _light(light: dict) -> tuple[list[str], list[list]]:
    """Modes and models as columns, in the words of the report of an evaluation."""
    means = {
        f"{who}, {mode}": {n: v for n, v in scores.items() if n not in _OF_PICTURES}
        for mode in light["teacher"]
        for who in ("teacher", "student")
        for scores in (light[who][mode],)
    }
    return mean_table(means)


def _scaled(name: str, value: float) -> float:
    return 100 * value if name in _PERCENT else value
