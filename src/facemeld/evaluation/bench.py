"""How fast fakes are made and judged, and where the time goes."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from facemeld.evaluation.compiled import WORTH, backend_for, generator_of
from facemeld.evaluation.distances import FeatureSet
from facemeld.evaluation.fusion_scores import DomainClassifier
from facemeld.evaluation.judges import Judges, load_judges
from facemeld.evaluation.layouts import layouts_of, rows_of_others
from facemeld.evaluation.pairs import PairScorer
from facemeld.evaluation.pictures import as_levels
from facemeld.evaluation.run import fitting_batch
from facemeld.evaluation.scorer import MODES, Critics
from facemeld.networks.bundle import load_model
from facemeld.networks.model_folder import find_model

_REALS = 200


def bench(
    model: str | Path = "faces",
    *,
    protocol: str = "clean",
    sources: int = 32,
    outputs: int = 10,
    batch: int | None = None,
    weights_dir: str | Path | None = None,
    backend: str | None = None,
    only: str | None = None,
    precision: str = "fp32",
) -> dict[str, object]:
    """One pair of domains of random pictures, both modes, with the published networks.

    Args:
        model: bundled name or model folder, of at least two domains.
        protocol: ``clean`` or ``starganv2``.
        sources: held-out pictures of each domain; at least 10.
        outputs: fakes a source and mode.
        batch: sources at a time; by default as in an evaluation.
        weights_dir: where to look first for the judging networks.
        backend: ``torch`` or ``openvino``; by default as in an evaluation of many pictures.
        only: ``distances`` leaves out the fusion scores.
        precision: of the generator, ``fp32`` or ``bf16``.

    Returns:
        ``pictures_per_second`` and ``milliseconds_per_picture`` of fakes, ``peak_memory_mb``, and
        ``milliseconds_by_part``, each a fake.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = load_model(find_model(model), device=device)
    size = networks.config.image_size
    batch = batch or fitting_batch(device, size)
    # without heads: their share would depend on which domains are people
    judges = load_judges(protocol, device, weights_dir, fusion=only is None)
    backend = backend or backend_for(device, WORTH)
    generator = generator_of(networks, backend, precision)
    if backend == "openvino":
        judges.compile(size)
    random = np.random.default_rng(0)
    shape = (2, sources, size, size, 3)
    pictures = random.integers(0, 256, shape, np.uint8)
    critics = others = None
    if only is None:
        critics = _critics(judges, pictures, device)
        rows = rows_of_others(sources, 2)
        others = layouts_of(judges.look, {0: (rows, pictures[0][rows])}, device)
    scorer = PairScorer(
        networks,
        judges,
        critics,
        others,
        protocol=protocol,
        people=(),
        outputs=2,
        seed=0,
        batch=batch,
        generator=generator,
    )
    reals = FeatureSet(random.random((_REALS, judges.inception.size), np.float32))
    names = networks.config.domains[:2]
    pair = [scorer.domain(n, i, p, reals) for i, (n, p) in enumerate(zip(names, pictures))]
    scorer.score(*pair, 2)  # the first pass allocates and chooses algorithms
    scorer.outputs = outputs
    scorer.clock.seconds.clear()
    began = time.monotonic()
    scorer.score(*pair, 2)
    seconds, fakes = time.monotonic() - began, len(MODES) * sources * outputs
    return {
        "pictures_per_second": fakes / seconds,
        "milliseconds_per_picture": 1000 * seconds / fakes,
        "peak_memory_mb": _peak_memory(device),
        "milliseconds_by_part": {n: 1000 * s / fakes for n, s in scorer.clock.seconds.items()},
        "fakes": fakes,
        "batch": batch,
        "image_size": size,
        "device": str(device),
        "backend": backend,
        "precision": precision,
        "only": only,
    }


@torch.no_grad()
def _critics(judges: Judges, pictures: np.ndarray, device: torch.device) -> Critics:
    """As an evaluation's, with a classifier fitted on these pictures of two domains."""
    rows = [judges.look(as_levels(p, device) / 127.5 - 1)[0] for p in pictures]
    labels = torch.arange(2, device=device).repeat_interleave(len(rows[0]))
    return Critics(judges.look, DomainClassifier(torch.cat(rows), labels, 2))


def _peak_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
