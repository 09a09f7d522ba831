"""What a student keeps and loses of its teacher, side by side on the same pictures and styles.

``Comparison`` needs no weights but the models' own: how far the student's pictures are from the
teacher's, how well either keeps the source and follows the style, and what either costs. The light
protocol can be added (see ``light_of``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import facemeld
from facemeld.data.catalogue import locate
from facemeld.data.folders import of_domains
from facemeld.data.sampling import Batch, BatchSampler
from facemeld.data.store import PictureStore, load_pictures
from facemeld.evaluation.fusion_scores import structure_kept
from facemeld.evaluation.judges import load_head_geometry, load_mobilenet
from facemeld.evaluation.light import LightScorer, summary
from facemeld.evaluation.light_target import FileRows, LightJudges, Rows
from facemeld.evaluation.plan import hash_model, people_among
from facemeld.fusion.skip_masks import Masker, load_masker
from facemeld.images.sheet import sheet
from facemeld.images.tensors import to_pictures
from facemeld.networks.bundle import Networks, load_model
from facemeld.networks.costs import network_costs
from facemeld.networks.model_folder import find_model

MODES = ("reference", "latent", "own style")
SOURCES = 480
"""Over all domains, each with one style of each mode."""
_AT_ONCE = 8
_PASSES = 30
_SHOWN = 8


@dataclass(frozen=True)
class Pair:
    """A teacher and its student, in eval mode on one device.

    Args:
        teacher, student: of the same domains and style codes.
        masker: of ``masked`` skips.
    """

    teacher: Networks
    student: Networks
    masker: Masker | None = None

    def paint(self, sources: Tensor, styles: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's and the student's pictures. B 3 H W and B S -> B 3 H W each"""
        masks = None if self.masker is None else self.masker(sources)
        models = (self.teacher, self.student)
        return tuple(m.generator(sources, styles, masks).float() for m in models)

    def styles(self, batch: Batch, mode: str) -> tuple[Tensor, Tensor]:
        """One style a source, and its domain. -> n S and n"""
        encoder = self.teacher.style_encoder
        if mode == "own style":
            return encoder(batch.sources, batch.source_domains), batch.source_domains
        if mode == "latent":
            return self.teacher.mapping_network(batch.latents[::2], batch.targets), batch.targets
        return encoder(batch.references[::2], batch.targets), batch.targets


def compare(
    teacher: str | Path,
    student: str | Path,
    pictures: str | Path,
    reals: str | Path,
    *,
    fakes: int,
    seed: int,
    weights_dir: str | Path | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> tuple[dict, Image.Image]:
    """All that is compared, JSON-able, and a sheet of both models side by side.

    Args:
        teacher, student: bundled names or model folders.
        pictures: domain folders of sources and references.
        reals: domain folders of real pictures, for the light protocol.
        fakes: a domain, mode and model in the light protocol; 0 leaves it out.
        seed: of the choice of pictures and of the latent codes.
        weights_dir: where to look first for weights.
        progress: called with (fakes of the light protocol done, fakes in all).

    Raises:
        UserError: missing models, pictures or weights.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folders = find_model(teacher), find_model(student)
    models = [load_model(folder, device=device) for folder in folders]
    config = models[1].config
    masker = load_masker(weights_dir) if config.skips == "masked" else None
    pair = Pair(models[0], models[1], masker)
    found = of_domains(pictures, config.domains)
    store = load_pictures(found, config.image_size)
    result = {
        "facemeld": facemeld.__version__,
        "teacher": str(folders[0]),
        "teacher_sha256": hash_model(folders[0]),
        "student": str(folders[1]),
        "student_sha256": hash_model(folders[1]),
        "image_size": config.image_size,
        "widths": {"teacher": models[0].config.widths, "student": config.widths},
        "pictures": str(found.root),
        "sources": SOURCES,
        "fakes": fakes,
        "seed": seed,
        "costs": costs_of(pair),
        "imitation": imitation(pair, store, seed=seed, sources=SOURCES),
        "light": None,
    }
    if fakes:
        real = of_domains(reals, config.domains)
        rows = [FileRows(real.root, files, config.image_size) for files in real.files]
        how = dict(fakes=fakes, seed=seed, weights_dir=weights_dir, progress=progress)
        result["light"] = light_of(pair, store, rows, **how)
    return result, side_by_side(pair, store, seed=seed)


@torch.no_grad()
def imitation(pair: Pair, store: PictureStore, *, seed: int, sources: int = SOURCES) -> dict:
    """Means over random sources and styles, by mode.

    - ``l1`` and ``psnr``: of the student's picture to the teacher's, on a scale of 0 to 1, and in
      decibels; ``l1_of_source``: of the untouched source to the teacher's picture.
    - ``structure``: correlation of luminance gradients with the source.
    - ``style``: cosine of the picture's own style code with the one that was asked for.
    - ``rebuilt``: L1 of the picture under the source's own style to the source.

    Args:
        pair: the models.
        store: pictures of their domains, in their order.
        seed: of the choice.
        sources: how many.
    """
    device = next(pair.student.parameters()).device
    sampler = BatchSampler(
        store,
        sources=_AT_ONCE,
        latent_size=pair.teacher.config.latent_size,
        seed=seed,
        device=device,
    )
    found: dict[str, list[dict[str, Tensor]]] = {mode: [] for mode in MODES}
    for step in range(-(-sources // _AT_ONCE)):
        batch = sampler.batch(step)
        for mode in MODES:
            styles, domains = pair.styles(batch, mode)
            painted = [p.clamp(-1, 1) for p in pair.paint(batch.sources, styles)]
            found[mode].append(_scores(pair, mode, batch.sources, painted, styles, domains))
    return {
        mode: {n: float(torch.cat([s[n] for s in scores]).mean()) for n in scores[0]}
        for mode, scores in found.items()
    }


def _scores(
    pair: Pair, mode: str, sources: Tensor, painted: list[Tensor], styles: Tensor, domains: Tensor
) -> dict[str, Tensor]:
    """A number for each picture and score."""
    by_teacher, by_student = painted
    halves = (by_student - by_teacher) / 2  # on a scale of 0 to 1
    scores = {
        "l1": halves.abs().mean(dim=(1, 2, 3)),
        "psnr": -10 * torch.log10(halves.square().mean(dim=(1, 2, 3)) + 1e-10),
        "l1_of_source": (sources - by_teacher).abs().mean(dim=(1, 2, 3)) / 2,
    }
    for name, pictures in (("teacher", by_teacher), ("student", by_student)):
        scores[f"structure_{name}"] = structure_kept(pictures, sources)
        own = pair.teacher.style_encoder(pictures, domains)
        scores[f"style_{name}"] = F.cosine_similarity(own, styles, dim=1)
        if mode == "own style":
            scores[f"rebuilt_{name}"] = (pictures - sources).abs().mean(dim=(1, 2, 3)) / 2
    return scores


def light_of(
    pair: Pair,
    held_out: PictureStore,
    reals: Sequence[Rows],
    *,
    fakes: int,
    seed: int,
    weights_dir: str | Path | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[str, dict]:
    """Means of the light protocol by model and mode, of the same sources, references and codes.

    Head pose is compared if there are two domains of people, and its network is at hand.

    Args:
        pair: the models.
        held_out: sources and references.
        reals: real pictures of the same domains.
        fakes: a domain, mode and model.
        seed: of the choice of pictures and of the latent codes.
        weights_dir: where to look first for weights.
        progress: called with (fakes done, fakes in all).

    Raises:
        UserError: missing weights, unreadable pictures.
    """
    device = next(pair.student.parameters()).device
    head, people = None, people_among(held_out.domains)
    if len(people) > 1 and locate("head-pose", weights_dir) is not None:
        head = load_head_geometry(device, weights_dir)[0]
    judges = LightJudges(*load_mobilenet(device, weights_dir), head, people)
    scorer = LightScorer(judges, held_out, reals, fakes=fakes, seed=seed, masker=pair.masker)
    total, means = 2 * scorer.total, {}
    for first, name in ((0, "teacher"), (scorer.total, "student")):
        scores = scorer.score(
            getattr(pair, name), lambda done, _, first=first: progress(first + done, total)
        )
        means[name] = summary(scores)
    return means


def costs_of(pair: Pair) -> dict[str, dict[str, float]]:
    """Of either generator: parameters, multiply-adds, and the time of a decoder's pass here.

    The passes, of one picture in PyTorch, take turns, so that other work disturbs both alike;
    their median is told.
    """
    milliseconds = _decoder_milliseconds(pair)
    found = {}
    for name in ("teacher", "student"):
        config = getattr(pair, name).config
        costs = {cost.part: cost for cost in network_costs(config)}
        whole = costs["generator"]
        decoder = sum(
            costs[f"generator/{p}"].gmac for p in ("decoder", "skips") if f"generator/{p}" in costs
        )
        found[name] = {
            "gmac": whole.gmac,
            "decoder_gmac": decoder,
            "parameters": whole.parameters,
            "decoder_milliseconds": milliseconds[name],
        }
    return found


@torch.inference_mode()
def _decoder_milliseconds(pair: Pair) -> dict[str, float]:
    device = next(pair.student.parameters()).device
    size, styles = pair.teacher.config.image_size, pair.teacher.config.style_size
    source, style = (
        torch.zeros(1, 3, size, size, device=device),
        torch.ones(1, styles, device=device),
    )
    masks = None if pair.masker is None else pair.masker(source)
    models = {"teacher": pair.teacher, "student": pair.student}
    contents = {name: m.generator.encode(source) for name, m in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(_PASSES):
        for name, model in models.items():
            began = time.perf_counter()
            model.generator.decode(contents[name], style, masks).cpu()
            times[name].append(time.perf_counter() - began)
    return {name: 1000 * float(np.median(found)) for name, found in times.items()}


@torch.no_grad()
def side_by_side(pair: Pair, store: PictureStore, *, seed: int) -> Image.Image:
    """A source of each domain under a reference of the next one and a latent code of it, by both.

    Args:
        pair: the models.
        store: pictures of their domains, in their order.
        seed: of the choice.
    """
    config, device = pair.teacher.config, next(pair.student.parameters()).device
    random = np.random.default_rng(seed)
    count = min(len(store.domains), _SHOWN)
    rows = []
    for place in range(count):
        target = (place + 1) % count
        pictures = [
            store.pictures[k][random.integers(len(store.pictures[k]))] for k in (place, target)
        ]
        shown = [Image.fromarray(p) for p in pictures]
        both = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
        source, reference = both.to(device).split(1)
        label = torch.tensor([target], device=device)
        code = torch.from_numpy(random.standard_normal((1, config.latent_size))).float()
        styles = [
            pair.teacher.style_encoder(reference, label),
            pair.teacher.mapping_network(code.to(device), label),
        ]
        painted = [p for style in styles for p in pair.paint(source, style)]
        rows.append(shown + to_pictures(torch.nan_to_num(torch.cat(painted))))
    titles = ["source", "reference", "teacher", "student", "teacher *", "student *"]
    names = [f"{store.domains[k]} to {store.domains[(k + 1) % count]}" for k in range(count)]
    return sheet(rows, row_labels=names, column_labels=titles)
