"""The result of an evaluation, put together from what was found of each pair and domain."""

from __future__ import annotations

import numpy as np
import torch

import facemeld
from facemeld.evaluation.plan import FORMAT, Plan
from facemeld.evaluation.scorer import MODES

_NOT_SCORES = ("source", "target", "mode", "examples", "fakes", "reals")


def result_of(
    plan: Plan,
    *,
    pairs: list[dict],
    domains: list[dict],
    targets: list[dict],
    spent: tuple[float, dict[str, float]],
    ranks: int,
    image_size: int,
    device: torch.device,
    backend: str,
) -> dict:
    """JSON-able, the pairs with their examples.

    Args:
        plan: what was measured.
        pairs: scores of every pair and mode.
        domains: of the held-out pictures of each domain.
        targets: light distances of every target and mode.
        spent: seconds of all processes, and by part.
        ranks: number of processes.
        image_size: of the model, in pixels.
        device: that it was measured on.
        backend: of the networks.
    """
    seconds, parts = spent
    return {
        "format": FORMAT,
        "facemeld": facemeld.__version__,
        "protocol": plan.protocol,
        "only": plan.only,
        "whole": plan.whole,
        "model": {"folder": str(plan.model), "sha256": plan.hashes["model"]},
        "image_size": image_size,
        "held_out": str(plan.held_out.root),
        "reals": str(plan.reals.root),
        "pictures_sha256": {n: h for n, h in plan.hashes.items() if n != "model"},
        "networks_sha256": plan.judges,
        "outputs": plan.outputs,
        "sources": plan.sources,
        "seed": plan.seed,
        "people": list(plan.people),
        "device": _device_name(device),
        "torch": torch.__version__,
        "backend": backend,
        "precision": plan.precision,
        "ranks": ranks,
        "seconds": round(seconds / ranks, 1),
        "seconds_by_part": {part: round(s, 1) for part, s in sorted(parts.items())},
        "fakes": sum(pair["fakes"] for pair in pairs),
        "mean": {mode: _means(pairs, targets, mode) for mode in MODES},
        "domains": domains,
        "targets": targets,
        "pairs": pairs,
    }


def _means(pairs: list[dict], targets: list[dict], mode: str) -> dict[str, float]:
    """Mean of each score over the pairs that have it, of the light distances over the targets."""
    found: dict[str, float] = {}
    for rows in (pairs, targets):
        mine = [row for row in rows if row["mode"] == mode]
        for name in dict.fromkeys(name for row in mine for name in row):
            values = [row[name] for row in mine if row.get(name) is not None]
            if name not in _NOT_SCORES and values:
                found[name] = float(np.mean(values))
    if covered := [row["covered"] for row in targets if row["mode"] == mode]:
        found["least_covered"] = min(covered)
    return found


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
