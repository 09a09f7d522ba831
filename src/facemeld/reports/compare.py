"""Several runs in one report: what differs, what it cost, how it went, what it looks like."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from facemeld.images.write import encode_picture
from facemeld.networks.costs import network_costs
from facemeld.reports.page import Cell, Page, Picture
from facemeld.reports.plots import Panel, Series, line_panels
from facemeld.reports.runs import LOSSES, Log, Run, speed_quartiles
from facemeld.reports.samples import (
    Faces,
    Fused,
    fuse_all,
    load_networks,
    sheet_of_all,
    sheet_of_run,
)
from facemeld.training.runlog import duration

# options that runs must share for a fair comparison, and what follows where they do not
_SHOULD_AGREE = {
    "data": "what they learned from differs",
    "network.domains": "what they learned differs",
    "network.image_size": "costs and difficulty grow with it",
    "seed": "small differences may be chance",
    "recipe": "their losses do not mean the same",
    "batch_size": "as many pictures are not as many steps",
    "pictures": "schedules follow the length, so equal pictures are not equal stages",
    "precision": "speeds differ by that, too",
    "processes": "speeds differ by that, too",
}
_SPREAD = 0.2  # share of the median between the quartiles from which a speed counts as unsteady
_CLOCKS = ("pictures", "seconds")


def write_comparison(
    runs: Sequence[Run], faces: Faces, out: Path, weights_dir: str | Path | None = None
) -> list[Path]:
    """Writes report.md, report.html and their pictures; returns their paths, the two first.

    Args:
        runs: at least one, with different labels.
        faces: what the sample sheets show.
        out: folder; made if missing.
        weights_dir: where to look first for a landmark network, which masked skips need.

    Raises:
        UserError: weights that cannot be read, masked skips without a landmark network, or a
            folder that cannot be written to.
    """
    fused, origins = [], []
    for number, run in enumerate(runs, 1):
        print(f"{number}/{len(runs)} fusing with {run.label}", file=sys.stderr)
        networks, origin = load_networks(run)
        fused.append(fuse_all(networks, faces, weights_dir))
        origins.append(origin)
    page = Page(f"Comparison of {len(runs)} runs" if len(runs) > 1 else f"Run {runs[0].label}")
    _overview(page, runs, origins)
    _notes(page, runs, faces)
    _samples(page, runs, fused, faces)
    _scores(page, runs)
    _costs(page, runs)
    _speed(page, runs)
    _equal_cost(page, runs)
    _curves(page, runs)
    _options(page, runs)
    return page.write(out)


def _overview(page: Page, runs: Sequence[Run], origins: Sequence[str]) -> None:
    rows: list[list[Cell]] = []
    for number, (run, origin) in enumerate(zip(runs, origins), 1):
        network, config = run.network, run.config
        rows.append(
            [
                f"{number} {run.label}",
                network.generator,
                network.skips,
                network.style_encoder,
                f"{network.image_size} px",
                config.recipe if config else None,
                run.log.pictures[-1] if run.log else None,
                duration(run.log.seconds[-1]) if run.log else None,
                origin,
            ]
        )
    columns = ["run", "generator", "skips", "style encoder", "size", "recipe", "pictures seen"]
    page.table([*columns, "training time", "samples from"], rows)


def _notes(page: Page, runs: Sequence[Run], faces: Faces) -> None:
    """What a reader must know before comparing the numbers."""
    page.heading("Read this first")
    notes = fairness(runs)
    for run in runs:
        notes += [f"{run.label}: {note}." for note in run.notes]
        if missing := [d for d in faces.domains if d not in run.network.domains]:
            notes.append(f"{run.label} does not know {', '.join(missing)}: those cells are blank.")
    notes.append(
        "Generator and discriminator are opponents: a lower loss of either is no better picture. "
        "Judge by the samples and by scores of one protocol."
    )
    if len(runs) > 1:
        notes.append("Each run is one seed; a second seed shows how large chance is.")
    page.bullets(notes)


def fairness(runs: Sequence[Run]) -> list[str]:
    """Why a comparison of these runs is not quite fair, as sentences."""
    found = []
    trained = [run for run in runs if run.config is not None]
    for name, what in _SHOULD_AGREE.items():
        groups: dict[str, list[str]] = {}
        for run in trained:
            groups.setdefault(_text(run.options.get(name)), []).append(run.label)
        if len(groups) > 1:
            told = "; ".join(f"{value}: {', '.join(of)}" for value, of in groups.items())
            found.append(f"The runs differ in {name}: {what} ({told}).")
    for run in trained:
        if run.log is not None:
            lower, median, upper = speed_quartiles(run.log)
            if upper - lower > _SPREAD * median:
                found.append(
                    f"The speed of {run.label} varied between {lower:.3g} and {upper:.3g} pictures "
                    "a second: other work was going on, so its times say little."
                )
    return found


def _samples(page: Page, runs: Sequence[Run], fused: Sequence[Fused], faces: Faces) -> None:
    page.heading("Samples")
    page.text(
        "The same sources, references and latent codes for every run, made anew from its model "
        f"(seed {faces.seed}). Looks marked * come from latent codes, which mean something else to "
        "each model."
    )
    sizes = [run.network.image_size for run in runs]
    names = ", ".join(f"{number} {run.label}" for number, run in enumerate(runs, 1))
    everything = sheet_of_all(fused, faces, sizes)
    page.figure(_sheet("samples.jpg", everything, f"Pairs of source and look, by run: {names}"))
    page.figure(
        *(
            _sheet(
                f"samples-{number}.jpg",
                sheet_of_run(pictures, faces, run.network.image_size),
                f"{number} {run.label}: sources down, looks across",
            )
            for number, (run, pictures) in enumerate(zip(runs, fused), 1)
        )
    )


def _sheet(name: str, image: Image.Image, caption: str) -> Picture:
    return Picture(name, encode_picture(image, "JPEG", settings=None, quality=92), caption)


def _scores(page: Page, runs: Sequence[Run]) -> None:
    """A table for each protocol; scores of two protocols are not comparable."""
    protocols: dict[str, list[tuple[str, dict[str, float]]]] = {}
    for run in runs:
        for scores in run.scores:
            label = run.label if len(run.scores) == 1 else f"{run.label} ({scores.file})"
            protocols.setdefault(scores.protocol, []).append((label, scores.values))
    if not protocols:
        return
    page.heading("Scores")
    page.text("As facemeld evaluate wrote them into the folders of the runs and their models.")
    for protocol, found in protocols.items():
        names = dict.fromkeys(name for _, values in found for name in values)
        rows = [[name, *(values.get(name) for _, values in found)] for name in names]
        page.table(["score", *(label for label, _ in found)], rows, caption=protocol)


def _costs(page: Page, runs: Sequence[Run]) -> None:
    page.heading("Size")
    costs = [{cost.part: cost for cost in network_costs(run.network)} for run in runs]
    found = dict.fromkeys(part for by_part in costs for part in by_part)
    networks = list(dict.fromkeys(part.partition("/")[0] for part in found))
    parts = sorted(found, key=lambda part: networks.index(part.partition("/")[0]))
    for title, value in (
        ("Parameters", lambda cost: cost.parameters),
        ("GMAC: thousand million multiply-adds for one picture", lambda cost: f"{cost.gmac:.3f}"),
        ("Weights in MB (fp32)", lambda cost: f"{cost.weights_mb:.1f}"),
        (
            "Peak memory in MB: the most that the tensors of one picture's pass take at once, "
            "beside the weights (fp32, computed)",
            lambda cost: f"{cost.peak_mb:.1f}",
        ),
    ):
        rows = [[part, *(value(c[part]) if part in c else None for c in costs)] for part in parts]
        page.table(["part", *(run.label for run in runs)], rows, caption=title)


def _speed(page: Page, runs: Sequence[Run]) -> None:
    logged = [(run, run.log) for run in runs if run.log is not None]
    if not logged:
        return
    page.heading("Speed and memory")
    page.text(
        "From the logs: pictures a second between two lines. Training time leaves sheets, "
        "checkpoints and breaks out. Peak memory is that of training, of one process: on a GPU "
        "what its tensors took, else all of the process with its libraries; blank where a log does "
        "not tell it. The logs do not say which machine a run was on."
    )
    rows = []
    for run, log in logged:
        lower, median, upper = speed_quartiles(log)
        row = [run.label, median, lower, upper, len(log.speeds), log.seconds[-1]]
        rows.append([*row, log.peak_memory_mb])
    columns = ["run", "median", "lower quartile", "upper quartile", "lines", "seconds in all"]
    page.table([*columns, "peak memory in MB"], rows, caption="Pictures a second in training")


def _equal_cost(page: Page, runs: Sequence[Run]) -> None:
    """Losses and metrics where all runs have seen as many pictures, or trained as long."""
    logged = [(run.label, run.log) for run in runs if run.log is not None]
    if len(logged) < 2:
        return
    page.heading("At equal cost")
    page.text(
        "Read from the logs at the largest common amount, between two lines linearly; each line is "
        "the mean since the line before. Blank: not logged then."
    )
    labels = [label for label, _ in logged]
    names = dict.fromkeys(name for _, log in logged for name in log.names)
    for clock in _CLOCKS:
        moment = min(getattr(log, clock)[-1] for _, log in logged)
        rows = [
            [name, *(log.at(name, getattr(log, clock), moment) for _, log in logged)]
            for name in names
        ]
        rows = [row for row in rows if any(value is not None for value in row[1:])]
        if clock == "pictures":
            caption = f"At equal pictures: {moment:,} seen"
        else:
            caption = f"At equal training time: {moment:,.0f} s"
            seen = [_between(log.seconds, log.pictures, moment) for _, log in logged]
            rows.insert(0, ["pictures seen", *(None if s is None else round(s) for s in seen)])
        page.table(["number", *labels], rows, caption=caption)


def _between(clock: Sequence[float], values: Sequence[float], moment: float) -> float | None:
    lines = [{"value": float(value)} for value in values]
    return Log([], [], [], lines).at("value", clock, moment)


def _curves(page: Page, runs: Sequence[Run]) -> None:
    """A plot for each group of losses and for the metrics, over pictures and over time."""
    logged = [(run.label, run.log) for run in runs if run.log is not None]
    names = dict.fromkeys(name for _, log in logged for name in log.names)
    if not names:
        return
    groups: dict[str, list[str]] = {}
    for name in names:
        known = name.split("/")[0] in LOSSES
        groups.setdefault(name.rpartition("/")[0] if known else "metrics", []).append(name)
    page.heading("Curves")
    for group, members in groups.items():
        for clock, x_label in (("pictures", "pictures seen"), ("seconds", "training time, min")):
            panels = [_panel(name, clock, logged) for name in members]
            drawn = line_panels(panels, labels=[label for label, _ in logged], x_label=x_label)
            file = f"curves-{group.replace('/', '-')}-{clock}.png"
            page.figure(Picture(file, drawn, f"{group} over {x_label.partition(',')[0]}"))


def _panel(name: str, clock: str, logged: Sequence[tuple[str, Log]]) -> Panel:
    unit: Callable[[float], float] = (lambda s: s / 60) if clock == "seconds" else float
    series = []
    for label, log in logged:
        x, y = log.series(name, getattr(log, clock))
        series.append(Series(label, [unit(value) for value in x], y))
    return Panel(name, series)


def _options(page: Page, runs: Sequence[Run]) -> None:
    """Options that differ, and where each run is."""
    page.heading("Options that differ")
    if len(runs) > 1:
        options = [run.options for run in runs]
        names = dict.fromkeys(name for values in options for name in values)
        rows = [
            [name, *(_text(values[name]) if name in values else "" for values in options)]
            for name in names
            if len({_text(values[name]) for values in options if name in values}) > 1
        ]
        if rows:
            page.table(["option", *(run.label for run in runs)], rows)
        else:
            page.text("None.")
    page.table(["run", "folder"], [[run.label, str(run.folder)] for run in runs])


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "(none)"
    return "(none)" if value in (None, "") else str(value)
