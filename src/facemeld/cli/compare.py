"""Commands that report on several runs: compare."""

from __future__ import annotations

from pathlib import Path

import tyro

from facemeld.cli.app import app
from facemeld.errors import UserError


@app.command
def compare(
    run: tyro.conf.Positional[list[str]],
    out: Path,
    data: Path | None = None,
    seed: int = 0,
    weights_dir: Path | None = None,
) -> None:
    """Compare runs in one report: samples, scores, sizes, speed, losses at equal cost, options.

    Args:
        run: run folders or model folders; one is enough for a report on it alone.
        out: folder for report.html, report.md and their pictures.
        data: domain folders of the pictures on the sample sheets; the bundled faces if not given.
        seed: of the choice of pictures and of the latent codes.
        weights_dir: folder to look in first for the landmark network of masked skips.
    """
    from facemeld.data.folders import bundled_faces, scan_domains
    from facemeld.reports.plots import check_plotting
    from facemeld.reports.runs import read_runs

    if seed < 0:
        raise UserError(f"seed is {seed}, but must not be negative", where="--seed")
    check_plotting()
    runs = read_runs(run)
    known = {domain for r in runs for domain in r.network.domains}
    files: dict[str, list[Path]] = {}
    if data is None:
        for path in bundled_faces():
            files.setdefault(path.stem.partition("_")[0], []).append(path)
    else:
        folders = scan_domains(data, at_least=1)
        files = {d: list(pictures) for d, pictures in zip(folders.domains, folders.files)}
    if not known & files.keys():
        raise UserError(
            f"no run knows a domain of these pictures ({', '.join(sorted(files))}); "
            f"the runs know {', '.join(sorted(known))}",
            where=str(data or "the bundled faces"),
            fix="name domain folders that the runs know with --data",
        )
    from facemeld.reports.compare import write_comparison
    from facemeld.reports.samples import choose_faces

    faces = choose_faces({d: f for d, f in files.items() if d in known}, seed)
    for path in write_comparison(runs, faces, out, weights_dir)[:2]:
        print(path)
