"""How fast fakes are made and judged, and where the time goes."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from facemeld.evaluation.compiled import WORTH, CompiledGenerator, backend_for
from facemeld.evaluation.distances import FeatureSet
from facemeld.evaluation.fusion_scores import DomainClassifier
from facemeld.evaluation.judges import load_inception, load_lpips, load_mobilenet
from facemeld.evaluation.pairs import MODES, Domain, Judges, PairScorer
from facemeld.evaluation.pictures import as_levels
from facemeld.evaluation.run import fitting_batch
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

    Returns:
        ``pictures_per_second`` and ``milliseconds_per_picture`` of fakes, ``peak_memory_mb``, and
        ``milliseconds_by_part``, each a fake.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = load_model(find_model(model), device=device)
    size = networks.config.image_size
    batch = batch or fitting_batch(device, size)
    kind = "fid" if protocol == "clean" else "torchvision"
    judges = Judges(
        load_inception(kind, device, weights_dir)[0],
        load_lpips(device, weights_dir)[0],
        light=load_mobilenet(device, weights_dir)[0],
        head=None,  # its share would depend on which domains are people
    )
    backend = backend or backend_for(device, WORTH)
    generator = None
    if backend == "openvino":
        judges.compile(size)
        generator = CompiledGenerator(networks)
    random = np.random.default_rng(0)
    domains = []
    for place, name in enumerate(networks.config.domains[:2]):
        held_out = random.integers(0, 256, (sources, size, size, 3), np.uint8)
        pictures = as_levels(held_out, device) / 127.5 - 1
        labels = torch.full((sources,), place, device=device)
        with torch.inference_mode():
            styles = networks.style_encoder(pictures, labels)
            features = judges.light_features(pictures)
        reals = FeatureSet(random.random((_REALS, judges.inception.size), np.float32))
        domains.append(Domain(name, place, place, held_out, styles, features, reals, reals))
    labels = torch.arange(2, device=device).repeat_interleave(sources)
    seen = torch.cat([domain.light for domain in domains]).clone()
    judges.classifier = DomainClassifier(seen, labels, 2)
    scorer = PairScorer(
        networks,
        judges,
        protocol=protocol,
        people=(),
        outputs=outputs,
        seed=0,
        batch=batch,
        generator=generator,
    )
    scorer.outputs = 2
    scorer.score(domains[0], domains[1], 2)  # the first pass allocates and chooses algorithms
    scorer.outputs = outputs
    judges.seconds.clear()
    began = time.monotonic()
    scorer.score(domains[0], domains[1], 2)
    seconds, fakes = time.monotonic() - began, len(MODES) * sources * outputs
    return {
        "pictures_per_second": fakes / seconds,
        "milliseconds_per_picture": 1000 * seconds / fakes,
        "peak_memory_mb": _peak_memory(device),
        "milliseconds_by_part": {n: 1000 * s / fakes for n, s in judges.seconds.items()},
        "fakes": fakes,
        "batch": batch,
        "image_size": size,
        "device": str(device),
        "backend": backend,
    }


def _peak_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
