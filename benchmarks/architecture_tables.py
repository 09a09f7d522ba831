"""The tables of comparison.json, which compare_architectures.py writes, as Markdown.

python benchmarks/architecture_tables.py comparison.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from facemeld.reports.page import markdown_table
from facemeld.training.runlog import duration

COLUMNS = ("distance", "covered", "layout_kept", "likeness", "retrieval", "structure")


def tables(found: dict) -> str:
    """What ``compare_architectures.results_of`` found, as Markdown."""
    options, timed = found["options"], found["equal_time"]
    means = [s["scores"]["reference"] for s in (*found["equal_pictures"].values(), *timed.values())]
    floor, unedited = (sum(m[name] for m in means) / len(means) for name in ("floor", "unedited"))
    chance = (0.25 * 0.75 / (options["fakes"] * len(found["domains"]))) ** 0.5
    left_out = [name for name in found["runs"] if name not in timed]
    without = f" Without any: {', '.join(left_out)}." if left_out else ""
    changes = ", ".join([options["config"], *options["set"], *options["set_for"]])
    return f"""# {len(found["runs"])} runs compared

{options["pictures"]:,} pictures a run, {options["at_once"]} at once of {options["threads"]} threads
each: {changes}.

Scores of the light protocol with {options["fakes"]} fakes a domain and mode; two numbers are with
references / with latent codes. Distance: floor {floor:.1f}, unedited sources {unedited:.1f}.
Retrieval: .25 by chance, give or take {chance:.3f}. How much a seed matters, only several tell.

## What the runs are, and what they took

{cost_table(found["runs"])}

Where processor time is another share of wall time in one run than in the next, other work was going
on, and a comparison at equal time says little.

## At equal pictures

{score_table(found["equal_pictures"])}

## At equal time

The first run was through after {duration(found["seconds"])} of training, measured by its log; of
each run its last checkpoint until then.{without}

{score_table(timed)}
"""


def cost_table(runs: dict[str, dict]) -> str:
    rows = []
    for name, facts in runs.items():
        row = [name, *(facts[of] for of in ("generator", "skips", "style_encoder", "seed"))]
        for part in ("generator", "style_encoder"):
            row += [f"{facts[f'{part}_parameters'] / 1e6:.2f} M", f"{facts[f'{part}_gmac']:.3f}"]
        rows.append([*row, facts["wall"], facts["processor"], facts["peak_memory_mb"]])
    columns = ["run", "generator", "skips", "style encoder", "seed"]
    columns += ["generator's parameters", "GMAC", "style encoder's parameters", "GMAC"]
    return markdown_table([*columns, "wall s", "processor s", "peak memory MB"], rows)


def score_table(at: dict[str, dict]) -> str:
    """Each run at its checkpoint."""
    rows = []
    for name, found in at.items():
        seen = [f"{found['pictures']:,}", round(found["seconds"])]
        rows.append([name, *seen, *(_both(found["scores"], column) for column in COLUMNS)])
    columns = ["run", "pictures", "seconds", *(name.replace("_", " ") for name in COLUMNS)]
    return markdown_table(columns, rows)


def _both(means: dict, name: str) -> str:
    values = [means[mode].get(name) for mode in ("reference", "latent")]
    form = {"covered": "{:.0%}", "distance": "{:.1f}"}.get(name, "{:.2f}")
    return " / ".join("–" if value is None else form.format(value) for value in values)


if __name__ == "__main__":
    print(tables(json.loads(Path(sys.argv[1]).read_text("utf-8"))), end="")
