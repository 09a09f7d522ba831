"""Commands that judge models: evaluate."""

from __future__ import annotations

import json as json_format
import shlex
import sys
from pathlib import Path
from typing import Literal

from facemeld.cli.app import app
from facemeld.cli.progress import Progress
from facemeld.errors import UserError

_ONLY = {
    "fakes": ("light",),
    "outputs": ("clean", "starganv2"),
    "sources": ("clean", "starganv2"),
    "only": ("clean", "starganv2"),
    "precision": ("clean", "starganv2"),
}
"""Options that not every protocol has."""


@app.command
def evaluate(
    data: Path,
    reals: Path | None = None,
    model: str = "faces",
    protocol: Literal["light", "clean", "starganv2"] = "light",
    out: Path | None = None,
    fakes: int | None = None,
    outputs: int | None = None,
    sources: int | None = None,
    people: list[str] | None = None,
    only: Literal["distances"] | None = None,
    precision: Literal["fp32", "bf16"] | None = None,
    seed: int = 0,
    weights_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Score a model: light takes minutes, clean and starganv2 are protocols others use too.

    Args:
        data: domain folders of held-out pictures, or a folder that holds val/ and train/.
        reals: domain folders of real pictures to compare with; DATA/train if not given.
        model: bundled model or model folder.
        protocol: light (MobileNetV2, not FID), clean (FID and KID), starganv2 (the paper's).
        out: folder for evaluation.json, report.md and report.html; light prints its tables without
            one, and takes a .json file too. The same command goes on where it was stopped.
        fakes: light only: fakes for each domain and mode; 500 if not given.
        outputs: clean and starganv2: fakes for each source, pair and mode; 10 if not given.
        sources: clean and starganv2: at most so many sources a domain; all if not given.
        people: domains of people, whose head pose is compared; by their names if not given.
        only: clean and starganv2: distances leaves out the scores of fusion, and takes less time.
        precision: clean and starganv2: of the generator; fp32 if not given. bf16 is faster where
            the processor or the GPU has it, and changes numbers a little. What judges stays fp32.
        seed: of the choice of pictures and of the latent codes.
        weights_dir: folder to look in first for published weights.
        json: print the result as JSON.
    """
    given = dict(locals())
    for name, protocols in _ONLY.items():
        if given[name] is not None and protocol not in protocols:
            raise UserError(
                f"the {protocol} protocol has no --{name}",
                where="facemeld evaluate",
                fix=f"leave it out, or choose --protocol {' or '.join(protocols)}",
            )
    from facemeld.evaluation.plan import find_splits
    from facemeld.reports.plots import check_plotting

    options = {"seed": seed, "weights_dir": weights_dir}
    options |= {n: given[n] for n in _ONLY if given[n] is not None}
    options["people"] = None if people is None else tuple(people)
    whole = out is not None and (protocol != "light" or out.suffix != ".json")
    if whole:
        check_plotting()
        if out.exists() and not out.is_dir():
            raise UserError("not a folder", where=str(out), fix="name a folder with --out")
    if protocol == "light":
        held_out, real_folder = find_splits(data, reals)
        result = _light(model, held_out, real_folder, options)
    elif out is None:
        raise UserError(
            f"the {protocol} protocol takes long, and its results need a folder",
            where="--out",
            fix="name one: --out results/evaluation",
        )
    else:
        result = _full(protocol, model, data, reals, out, options)
    if result is None:  # this process does not lead
        return
    if whole:
        _write(result, _command(given), out, json)
    elif out is not None:
        _save_json(result, out)
        print(_as_json(result) if json else out)
    else:
        _print(result, json)


def _light(model: str, held_out: Path, reals: Path, options: dict) -> dict | None:
    from facemeld.evaluation.light_plan import make_light_plan
    from facemeld.evaluation.plan import hash_model
    from facemeld.networks.model_folder import find_model, read_network_config

    folder = find_model(model)
    config = read_network_config(folder)
    sha256 = hash_model(folder)
    plan = make_light_plan(config, held_out, reals, **options)
    if plan.left_out:
        print(f"Not measured: {plan.left_out}.", file=sys.stderr)
    import torch

    from facemeld.evaluation import light
    from facemeld.evaluation.ranks import joined_ranks
    from facemeld.evaluation.unfinished import Session, Unfinished
    from facemeld.networks.bundle import load_model

    pictures = sum(map(len, (*plan.held_out.files, *plan.reals.files)))
    print(f"measuring what {pictures} pictures look like", file=sys.stderr)
    unfinished = Unfinished.beside_the_cache(plan.fingerprint(sha256))
    with Progress("fakes") as progress, joined_ranks() as ranks:
        session = Session(unfinished, ranks.rank)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        networks = load_model(folder, device=device)
        scores = light.run_light_plan(plan, networks, progress, unfinished, ranks, session)
    if scores is None:
        return None
    result = light.report_of(
        scores, plan, model=folder, sha256=sha256, image_size=config.image_size
    )
    seconds, parts = session.spent
    return result | {
        "ranks": ranks.size,
        "seconds": round(seconds / ranks.size, 1),
        "seconds_by_part": {part: round(s, 1) for part, s in sorted(parts.items())},
    }


def _print(result: dict, as_json: bool) -> None:
    from facemeld.reports.evaluation import mean_table, score_table
    from facemeld.reports.page import text_table

    if as_json:
        print(_as_json(result))
        return
    print(f"Light protocol: {result['measure']}. Means over the target domains:\n")
    print(text_table(*mean_table(result["mean"])))
    for first in (("target", "mode"), ("source", "target", "mode")):
        rows = result["targets" if len(first) == 2 else "pairs"]
        print("\n" + text_table(*score_table(rows, first)))


def _as_json(result: dict) -> str:
    """The result without the pictures of its examples."""
    pairs = [{k: v for k, v in pair.items() if k != "examples"} for pair in result["pairs"]]
    return json_format.dumps(result | {"pairs": pairs}, indent=2, ensure_ascii=False)


def _save_json(content: dict, path: Path) -> None:
    from facemeld.files import write_whole

    text = _as_json(content) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _full(
    protocol: str, model: str, data: Path, reals: Path | None, out: Path, options: dict
) -> dict | None:
    from facemeld.evaluation.plan import make_plan

    plan = make_plan(protocol, model, data, reals, **options)
    from facemeld.evaluation.run import run_plan

    with Progress("fakes") as fakes, Progress("real pictures") as looked:

        def show(done: int, total: int) -> None:
            looked.close()  # two bars at once would overwrite each other
            fakes(done, total)

        return run_plan(plan, out, progress=show, reals_progress=looked)


def _write(result: dict, command: str, out: Path, as_json: bool) -> None:
    from facemeld.reports.evaluation import write_report

    if result["protocol"] == "light":
        _save_json(result, out / "evaluation.json")
    paths = [out / "evaluation.json", *write_report(result, command, out)[:2]]
    if as_json:
        print(paths[0].read_text(encoding="utf-8"), end="")
        return
    for path in paths:
        print(path)


def _command(options: dict) -> str:
    """The command that reproduces a result, with what differs from the defaults."""
    parts = ["facemeld", "evaluate"]
    defaults = {"seed": 0, "json": False}
    for name, value in options.items():
        if value is None or (name in defaults and value == defaults[name]):
            continue
        flag = f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [value]
        parts += [flag] if value is True else [flag, *map(str, values)]
    return shlex.join(parts)
