"""The report of an evaluation: tables of pairs, plots, best and worst examples, the command."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from facemeld.images.sheet import sheet
from facemeld.images.write import encode_picture
from facemeld.reports.matrices import Matrix, matrix_panels
from facemeld.reports.page import Page, Picture

SCORES = {
    "distance": ("light Fréchet", "Fréchet distance of MobileNetV2 features; not FID"),
    "floor": ("floor", "the same between two halves of the real pictures"),
    "unedited": ("unedited", "the same of the untouched sources"),
    "covered": ("covered, %", "share of the way from unedited to floor"),
    "least_covered": ("least covered, %", "the worst target domain"),
    "fid": ("FID", "Fréchet distance of Inception features"),
    "kid": ("KID x 1000", "kernel distance of Inception features"),
    "kid_deviation": ("KID deviation x 1000", "of it, over random subsets"),
    "density": ("density", "how deep the results lie among the real pictures"),
    "coverage": ("coverage", "share of real pictures with a result nearby"),
    "diversity": ("diversity (LPIPS)", "between the results of one source"),
    "domain_accuracy": (
        "domain accuracy, %",
        "share that a classifier, trained on real pictures only, takes for the target",
    ),
    "domain_accuracy_of_real": ("of real ones, %", "domain accuracy of held-out real pictures"),
    "structure": ("structure", "correlation of luminance gradients with the source"),
    "layout_kept": (
        "layout kept",
        "how much nearer to the source's layout than to that of others: 1 is the source itself",
    ),
    "nearer_to_own": (
        "nearer to own, %",
        "share nearer to their own reference than to a random other one; chance is 50",
    ),
    "retrieval": ("retrieval, %", "share nearer to it than to three others; chance is 25"),
    "likeness": ("likeness", "how much nearer to it than to all others: 1 is the reference itself"),
    "pose_degrees": ("pose, degrees", "between the heads of source and result"),
    "landmark_shift": ("landmarks", "mean shift, in shares of the source's eye distance"),
    "smoothness": ("smoothness", "of paths between two styles: 1 is even, 1/8 a jump"),
}
"""Heading and meaning of the columns in their order; see docs/evaluation.md."""
_NOT_DRAWN = ("kid_deviation",)
LOWER_IS_BETTER = ("distance", "fid", "kid", "pose_degrees", "landmark_shift")
_PERCENT = ("covered", "least_covered", "domain_accuracy", "nearer_to_own", "retrieval")
_PERCENT += ("domain_accuracy_of_real",)
_FACTOR = {"kid": 1000.0, "kid_deviation": 1000.0} | dict.fromkeys(_PERCENT, 100.0)
_RANKED = {
    "structure": "structure kept of the source",
    "layout_kept": "layout kept of the source",
    "pose_degrees": "head pose, degrees off the source's",
    "likeness": "likeness to the reference",
    "domain_probability": "probability of the target domain",
}
_EXAMPLES = 8
_LARGEST_EXAMPLE = 128
_ABOUT = {
    "clean": "Protocol clean: FID and KID on the Inception network of 2015-12-05, antialiased "
    "resizing, against the training pictures of the target.",
    "starganv2": "Protocol starganv2: as the paper's code, with torchvision's Inception network. "
    "These FIDs do not compare with those of other tools.",
    "light": "Protocol light: Fréchet distances of MobileNetV2 features. These are not FID.",
}


def write_report(result: dict, command: str, out: Path) -> list[Path]:
    """Writes ``out/report.html``, ``report.md`` and the pictures of the latter.

    Args:
        result: of ``evaluation.run.run_plan``, or of the light protocol in the same form.
        command: what reproduces it.

    Raises:
        UserError: the folder cannot be written to.
    """
    return evaluation_page(result, command).write(out)


def evaluation_page(result: dict, command: str) -> Page:
    """The report, not yet written."""
    page = Page(f"Evaluation of {Path(result['model']['folder']).name}")
    page.text(_ABOUT[result["protocol"]])
    if result.get("only"):
        page.text("Only distances: fusion itself was not scored.")
    if not result.get("whole", True):
        most = f"at most {result['sources']} sources" if result["sources"] else "all sources"
        page.text(
            f"Reduced: {result['outputs']} outputs a source, {most} of each domain. Distances of "
            "few fakes come out too large; compare them only with runs of the same size."
        )
    page.bullets(_facts(result))
    page.heading("Means")
    page.table(*mean_table(result["mean"]))
    if targets := result["targets"]:
        page.heading("Every target domain")
        page.table(*score_table(targets, ("target", "mode", "reals")))
    for mode in result["mean"]:
        pairs = [p for p in result["pairs"] if p["mode"] == mode]
        page.heading(f"Every pair, {mode} mode")
        counts = tuple(n for n in ("fakes", "reals") if n in pairs[0])
        page.table(*score_table(pairs, ("source", "target", *counts)))
        page.figure(_plot(pairs, mode))
    if result.get("domains"):
        page.heading("Held-out pictures of each domain")
        page.table(
            ["domain", "pictures", "reconstruction (LPIPS)", "domain accuracy, %"],
            [
                [
                    d["domain"],
                    d["held_out"],
                    d["reconstruction"],
                    100 * d["domain_accuracy_of_real"],
                ]
                for d in result["domains"]
            ],
            caption="Under their own styles; the accuracy is what real pictures reach.",
        )
    _examples(page, result)
    if parts := result.get("seconds_by_part"):
        page.heading("Where the time went")
        page.table(["part", "seconds"], [[p, s] for p, s in parts.items()])
    page.heading("The same again")
    page.code(command)
    return page


def _facts(result: dict) -> list[str]:
    facts = [f"Model: {result['model']['folder']} (SHA-256 {result['model']['sha256']})"]
    facts.append(f"Pictures: {result['held_out']} against {result['reals']}")
    names = ("image_size", "outputs", "seed", "fakes", "device", "ranks", "seconds", "facemeld")
    shown = {n.replace("_", " "): result[n] for n in names if result.get(n) is not None}
    facts.append(", ".join(f"{name} {value}" for name, value in shown.items()))
    if result.get("left_out"):
        facts.append(f"Not measured: {result['left_out']}")
    facts += [f"{name}: SHA-256 {h}" for name, h in result.get("networks_sha256", {}).items()]
    return facts


def mean_table(means: dict[str, dict]) -> tuple[list[str], list[list]]:
    """Columns and cells: a row for each score that some mode has, with what it means."""
    rows = []
    for name, (title, meaning) in SCORES.items():
        values = [_scaled(name, scores.get(name)) for scores in means.values()]
        if any(value is not None for value in values):
            lower = "; lower is better" if name in LOWER_IS_BETTER else ""
            rows.append([title, *values, meaning + lower])
    return ["score", *means, "what it is"], rows


def score_table(rows: Sequence[dict], first: tuple[str, ...]) -> tuple[list[str], list[list]]:
    """Columns and cells: ``first`` as they are, then every score that some row has."""
    scores = [n for n in SCORES if any(row.get(n) is not None for row in rows)]
    columns = [*first, *(SCORES[n][0] for n in scores)]
    cells = [[*(row[n] for n in first), *(_scaled(n, row.get(n)) for n in scores)] for row in rows]
    return columns, cells


def _scaled(name: str, value: float | None) -> float | None:
    return None if value is None else value * _FACTOR.get(name, 1.0)


def _plot(pairs: list[dict], mode: str) -> Picture:
    names = list(dict.fromkeys([p["source"] for p in pairs] + [p["target"] for p in pairs]))
    names.sort()
    matrices = []
    for score, (title, _) in SCORES.items():
        values = {
            (p["source"], p["target"]): _scaled(score, p[score])
            for p in pairs
            if p.get(score) is not None and score not in _NOT_DRAWN
        }
        if values:
            matrices.append(Matrix(title, values, score in LOWER_IS_BETTER))
    drawn = matrix_panels(matrices, names, row_label="source", column_label="target")
    caption = f"Every score of every pair, {mode} mode; the darker, the better."
    return Picture(f"pairs-{mode}.png", drawn, caption)


def _examples(page: Page, result: dict) -> None:
    for score, title in _RANKED.items():
        for mode in result["mean"]:
            pictures = [
                _strip(result["pairs"], score, mode, end)
                for end in ("best", "worst")
                if any(score in p.get("examples", {}) for p in result["pairs"] if p["mode"] == mode)
            ]
            if pictures:
                page.heading(f"Best and worst by {title}, {mode} mode")
                page.figure(*pictures)


def _strip(pairs: list[dict], score: str, mode: str, end: str) -> Picture:
    """One column an example: source, reference, result. At most one example of each pair."""
    found = [
        (p["examples"][score][end], f"{p['source']} to {p['target']}")
        for p in pairs
        if p["mode"] == mode and score in p.get("examples", {})
    ]
    highest = (end == "best") != (score in LOWER_IS_BETTER)
    found.sort(key=lambda example: example[0]["value"], reverse=highest)
    found = found[:_EXAMPLES]
    columns = [[_decoded(text) for text in example["pictures"]] for example, _ in found]
    side = min(_LARGEST_EXAMPLE, max(64, columns[0][0].width))
    rows = [list(row) for row in zip(*columns, strict=True)]
    labels = ["source", "reference", "result"] if len(rows) == 3 else ["source", "result"]
    page = sheet(rows, row_labels=labels, cell=side)
    told = "; ".join(f"{pair} {example['value']:.2f}" for example, pair in found)
    caption = f"{end.capitalize()}: {told}"
    return Picture(
        f"{end}-{score}-{mode}.jpg", encode_picture(page, "JPEG", settings=None), caption
    )


def _decoded(text: str) -> Image.Image:
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=["WEBP"]) as image:
        return image.convert("RGB")
