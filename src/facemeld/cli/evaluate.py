"""Commands that judge models: evaluate."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path

from facemeld.cli.app import app


@app.command
def evaluate(
    data: Path,
    reals: Path,
    model: str = "faces",
    fakes: int = 500,
    seed: int = 0,
    out: Path | None = None,
    weights_dir: Path | None = None,
) -> None:
    """Score a model by the light protocol; the result is JSON.

    Args:
        data: domain folders of held-out pictures: sources and references.
        reals: domain folders of real pictures to compare with.
        model: bundled model or model folder.
        fakes: fakes for each domain and mode.
        seed: of the choice of pictures and of the latent codes.
        out: file for the JSON; printed if not given.
        weights_dir: folder to look in first for published weights.
    """
    from facemeld.data.catalogue import find_weights
    from facemeld.data.folders import scan_domains
    from facemeld.networks.model_folder import find_model

    folder = find_model(model)
    for path in (data, reals):
        scan_domains(path)
    find_weights("mobilenet-v2", weights_dir)
    from facemeld.evaluation.light import evaluate as score
    from facemeld.evaluation.light import summary
    from facemeld.networks.bundle import load_model

    def progress(done: int, total: int) -> None:
        print(f"{done}/{total} domains and modes", file=sys.stderr)

    scores = score(
        load_model(folder),
        data,
        reals,
        fakes=fakes,
        seed=seed,
        weights_dir=weights_dir,
        progress=progress,
    )
    text = json_format.dumps(summary(scores), indent=2, ensure_ascii=False)
    if out is None:
        print(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
        print(out)
