"""Trains and scores the architectures side by side: the experiment of docs/comparison.md.

    python benchmarks/compare_architectures.py --config recipes/faces-64.toml --data faces/train \
      --test-data faces/val --out runs/architectures --pictures 9600 [--at-once 2] [--seeds 0 1]

Every combination of COMBINATIONS learns by one recipe from as many pictures, in one process of one
thread; then all are scored by the light protocol at equal pictures and at equal measured time. OUT
gets a run folder for each, comparison.json with all numbers and no path of this machine,
comparison.md with both tables of them, and report/ (`facemeld compare`) with sheets of the bundled
faces. The same command goes on where it was stopped, and does nothing twice.

The time is that of the logs: training alone, without sheets, checkpoints and evaluations. It means
something only if all runs had the machine alike, so their processor time is told beside it. A
checkpoint every CHECKPOINTS-th of a run is kept for the scores at equal time: ten gigabytes in all.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from architecture_tables import tables

from facemeld.cli.train import laid_over, setting
from facemeld.config import NetworkConfig, TrainingConfig, from_dict, read_toml, to_dict, write_toml
from facemeld.data.folders import scan_domains
from facemeld.errors import UserError
from facemeld.evaluation.light_plan import make_light_plan
from facemeld.files import write_whole
from facemeld.networks.bundle import Networks, save_model, without_values
from facemeld.networks.costs import network_costs
from facemeld.reports.runs import Run, read_runs
from facemeld.training import checkpoint

COMBINATIONS = {
    "resnet-none": {"generator": "resnet", "skips": "none"},
    "resnet-additive": {"generator": "resnet", "skips": "additive"},
    "swin-encoder-none": {"generator": "swin-encoder", "skips": "none"},
    "swin-encoder-additive": {"generator": "swin-encoder", "skips": "additive"},
    "swin-unet-none": {"generator": "swin-unet", "skips": "none"},
    "swin-unet-additive": {"generator": "swin-unet", "skips": "additive"},
    "style-resnet": {"generator": "resnet", "skips": "additive", "style_encoder": "resnet"},
    "style-swin": {"generator": "resnet", "skips": "additive", "style_encoder": "swin"},
}
"""What each changes in the recipe's networks; the first six keep its style encoder."""
SHARED = {"processes": 1, "precision": "fp32", "decay_from": 1.0, "evaluate_every": 0}
"""Options that a comparison needs alike: no run is measured at the end of a schedule of its own."""
CHECKPOINTS = 12


@dataclass(frozen=True)
class Job:
    """One command, where what it says goes, and the file that gets a line of its seconds."""

    command: list[str]
    says: Path
    times: Path | None = None


@dataclass(frozen=True)
class Trained:
    """A run that has something to score."""

    name: str
    run: Run
    checkpoints: dict[int, float]
    """Seconds of training by pictures seen."""


def configurations(options: argparse.Namespace) -> dict[str, TrainingConfig]:
    """The run of each combination and seed, by the name of its folder.

    Raises:
        UserError: impossible options.
    """
    base = from_dict(TrainingConfig, read_toml(options.config), where=str(options.config))
    batch = base.batch_size
    every = max(options.pictures // CHECKPOINTS // batch, 1) * batch
    given = SHARED | {
        "data": str(options.data),
        "samples_from": str(options.test_data),
        "pictures": options.pictures,
        "checkpoint_every": every,
        "keep_checkpoints": 10**6,
        "log_every": every,
        "sample_every": options.pictures,
    }
    given |= dict(map(setting, options.set))
    found = {}
    for name in options.only or COMBINATIONS:
        network = dataclasses.replace(base.network, **COMBINATIONS[name])
        network = dataclasses.replace(network, **_shape(network))
        own = (text.partition(":") for text in options.set_for)
        changes = dict(setting(text) for of, _, text in own if of == name)
        values = laid_over(to_dict(dataclasses.replace(base, network=network)), given | changes)
        for seed in options.seeds:
            config = from_dict(TrainingConfig, values | {"seed": seed}, where=name)
            config.resolved()
            found[name if len(options.seeds) == 1 else f"{name}-{seed}"] = config
    return found


def _shape(network: NetworkConfig) -> dict:
    """What a kind needs besides its name, so that it is no larger than the recipe's.

    A Swin stage takes the place of two residual blocks; a residual style encoder has the
    generator's widths, the last of them down to 4 px.
    """
    changes: dict = {}
    if network.generator == "swin-unet":
        changes["decoder_blocks"] = min(network.decoder_blocks, 1)
    if network.style_encoder == "resnet" and network.widths:
        halvings = network.image_size.bit_length() - 3
        widths = (*network.widths, *[network.widths[-1]] * halvings)[: halvings + 1]
        changes["style_encoder_widths"] = widths
    return changes


def check_scoring(network: NetworkConfig, options: argparse.Namespace) -> None:
    """UserError now, not after the training, for what the evaluations would refuse."""
    network = dataclasses.replace(network, domains=scan_domains(options.data).domains)
    places = (options.test_data, options.data)
    make_light_plan(network, *places, fakes=options.fakes, weights_dir=options.weights_dir)


# -- running commands -------------------------------------------------------------------------


def run_all(jobs: dict[str, Job], at_once: int, threads: int) -> None:
    """Runs commands, so many at once.

    Raises:
        UserError: some failed; all others have ended.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    waiting, failed = list(jobs), []
    running: dict[int, tuple[str, subprocess.Popen, float]] = {}
    with _ended_together(running):
        while waiting or running:
            while waiting and len(running) < at_once:
                name = waiting.pop(0)
                print(f"{name} ({len(jobs) - len(waiting)} of {len(jobs)})", file=sys.stderr)
                process = _start(jobs[name], environment)
                running[process.pid] = (name, process, time.monotonic())
            pid, status, usage = os.wait3(0)
            name, process, began = running.pop(pid)
            process.returncode = os.waitstatus_to_exitcode(status)
            if (times := jobs[name].times) is not None:
                spent = (time.monotonic() - began, usage.ru_utime + usage.ru_stime)
                with times.open("a", encoding="utf-8") as file:
                    print(json.dumps(dict(zip(("wall", "processor"), spent))), file=file)
            if process.returncode:
                failed.append(name)
    if failed:
        raise UserError(
            f"these failed: {', '.join(failed)}",
            where=", ".join(str(jobs[name].says) for name in failed),
            fix="read the ends of these files; the same command goes on with what is missing",
        )


def _start(job: Job, environment: dict[str, str]) -> subprocess.Popen:
    job.says.parent.mkdir(parents=True, exist_ok=True)
    with job.says.open("ab") as says:
        return subprocess.Popen(job.command, env=environment, stdout=says, stderr=says)


@contextmanager
def _ended_together(running: dict[int, tuple[str, subprocess.Popen, float]]) -> Iterator[None]:
    """Whatever ends this script, the commands end before it; a training saves a checkpoint."""

    def leave(*_) -> None:
        for _, process, _ in running.values():
            process.terminate()
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:  # of Ctrl-C the commands hear, too
        for _, process, _ in running.values():
            process.wait()
        signal.signal(signal.SIGTERM, before)


def train_all(configs: dict[str, TrainingConfig], options: argparse.Namespace) -> None:
    """Trains what is not finished."""
    jobs = {}
    for name, config in configs.items():
        out = options.out / name
        if _finished(out, config):
            continue
        out.mkdir(parents=True, exist_ok=True)
        write_toml(config, out / "recipe.toml")
        command = ["train", "--config", str(out / "recipe.toml"), "--out", str(out)]
        jobs[name] = Job(_facemeld(command, options), out / "training.txt", out / "times.jsonl")
    run_all(jobs, options.at_once, options.threads)


def _finished(out: Path, config: TrainingConfig) -> bool:
    if not (out / "model" / "model.safetensors").is_file():
        return False
    log = read_runs([out])[0].log
    return log is not None and log.pictures[-1] >= config.pictures


def _facemeld(arguments: list[str], options: argparse.Namespace) -> list[str]:
    where = ["--weights-dir", str(options.weights_dir)] if options.weights_dir else []
    return [sys.executable, "-m", "facemeld", *arguments, *where]


# -- which checkpoints are compared -----------------------------------------------------------


def read_trained(names: list[str], out: Path) -> list[Trained]:
    """The runs, with the measured time of each of their checkpoints."""
    found = []
    for name, run in zip(names, read_runs([out / name for name in names])):
        paths = sorted((run.folder / "checkpoints").glob("pictures-*.safetensors"))
        seen = [int(path.stem.partition("-")[2]) for path in paths]
        times = dict(zip(run.log.pictures, run.log.seconds))
        found.append(Trained(name, run, {p: times[p] for p in seen if p in times}))
    return found


def at_equal_pictures(runs: list[Trained]) -> dict[str, int]:
    """The last checkpoint that all runs have. UserError if there is none."""
    common = set.intersection(*(set(run.checkpoints) for run in runs))
    if not common:
        raise UserError("the runs have no checkpoint in common", fix="give equal --pictures")
    return {run.name: max(common) for run in runs}


def at_equal_time(runs: list[Trained]) -> tuple[float, dict[str, int]]:
    """When the first of the runs was through, and of each its last checkpoint until then.

    A run that had none by then is left out.
    """
    moment = min(max(run.checkpoints.values()) for run in runs)
    found = {}
    for run in runs:
        if until := [p for p, seconds in run.checkpoints.items() if seconds <= moment]:
            found[run.name] = max(until)
    return moment, found


# -- scores ----------------------------------------------------------------------------------


def score_all(
    runs: list[Trained], wanted: set[tuple[str, int]], options: argparse.Namespace
) -> dict[tuple[str, int], dict]:
    """The light protocol's means by mode, of each run and checkpoint."""
    jobs, files = {}, {}
    for run in runs:
        for pictures in sorted(p for name, p in wanted if name == run.name):
            folder = run.run.folder
            file = folder / f"evaluation-{pictures:09d}-{options.fakes}.json"
            files[run.name, pictures] = file
            if file.is_file():
                continue
            model = folder / f"at-{pictures:09d}"
            _write_model(run, pictures, model)
            command = ["evaluate", "--model", str(model), "--data", str(options.test_data)]
            command += ["--reals", str(options.data), "--fakes", str(options.fakes)]
            command = _facemeld([*command, "--out", str(file)], options)
            jobs[f"{run.name} at {pictures:,}"] = Job(command, folder / "evaluation.txt")
    run_all(jobs, options.at_once, options.threads)
    return {key: json.loads(file.read_text("utf-8"))["mean"] for key, file in files.items()}


def _write_model(run: Trained, pictures: int, model: Path) -> None:
    path = run.run.folder / "checkpoints" / f"pictures-{pictures:012d}.safetensors"
    tensors, _ = checkpoint.load(path, part="ema")
    with without_values():
        networks = Networks(run.run.network)
    networks.load_state_dict(tensors, assign=True)
    save_model(networks, model, card=f"# {run.name}, {path.stem}\n\nMade by an experiment.\n")


def results_of(runs: list[Trained], options: argparse.Namespace) -> dict:
    """What the tables say, for comparison.json: no folders of this machine, no pictures."""
    equal = at_equal_pictures(runs)
    moment, timed = at_equal_time(runs)
    scores = score_all(runs, {*equal.items(), *timed.items()}, options)
    kept = ("pictures", "seeds", "at_once", "threads", "fakes", "set", "set_for")
    given = {name: getattr(options, name) for name in kept}
    found = {
        "options": {"config": options.config.name} | given,
        "domains": runs[0].run.network.domains,
        "seconds": moment,
        "runs": {run.name: _facts(run) for run in runs},
    }
    for name, at in (("equal_pictures", equal), ("equal_time", timed)):
        found[name] = {
            run.name: {
                "pictures": at[run.name],
                "seconds": run.checkpoints[at[run.name]],
                "scores": scores[run.name, at[run.name]],
            }
            for run in runs
            if run.name in at
        }
    return found


def _facts(run: Trained) -> dict:
    """What a run is, and what it took as a whole, start and end of its sessions included."""
    network = run.run.network
    costs = {cost.part: cost for cost in network_costs(network)}
    found = {name: getattr(network, name) for name in ("generator", "skips", "style_encoder")}
    found["seed"] = run.run.config.seed
    for part in ("generator", "style_encoder"):
        found[f"{part}_parameters"] = costs[part].parameters
        found[f"{part}_gmac"] = round(costs[part].gmac, 4)
    return found | read_times(run.run.folder) | {"peak_memory_mb": run.run.log.peak_memory_mb}


def read_times(folder: Path) -> dict[str, int | None]:
    """Wall and processor seconds of all sessions of a run that this script saw to their ends."""
    try:
        lines = (folder / "times.jsonl").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {"wall": None, "processor": None}
    sessions = [json.loads(line) for line in lines]
    return {name: round(sum(s[name] for s in sessions)) for name in ("wall", "processor")}


def write_results(found: dict, out: Path) -> Path:
    """comparison.json, and comparison.md made of it."""
    stored, text = json.dumps(found, indent=1) + "\n", tables(found)
    write_whole(out / "comparison.json", lambda partial: partial.write_text(stored, "utf-8"))
    write_whole(out / "comparison.md", lambda partial: partial.write_text(text, "utf-8"))
    return out / "comparison.md"


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--config", "--data", "--test-data", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--pictures", type=int, required=True, help="length of every run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="a run of each")
    parser.add_argument("--at-once", type=int, default=1, help="runs side by side")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--fakes", type=int, default=250, help="a domain and mode")
    parser.add_argument("--only", nargs="+", choices=COMBINATIONS, default=[])
    parser.add_argument("--set", action="append", default=[], help="any option, name=value")
    parser.add_argument(
        "--set-for", action="append", default=[], help="of one combination, like style-swin:name=5"
    )
    parser.add_argument("--weights-dir", type=Path)
    return parser.parse_args(arguments)


def main() -> None:
    options = read_options()
    try:
        configs = configurations(options)
        check_scoring(next(iter(configs.values())).network, options)
        train_all(configs, options)
        runs = read_trained(list(configs), options.out)
        print(write_results(results_of(runs, options), options.out))
        command = ["compare", *(str(run.run.folder) for run in runs)]
        command += ["--out", str(options.out / "report")]  # of the bundled faces: may be shown
        report = Job(_facemeld(command, options), options.out / "report.txt")
        run_all({"report": report}, 1, options.threads)
        print(options.out / "report" / "report.md")
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
