"""What an evaluation will do, with everything checked that can be before long work; no torch."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import facemeld
from facemeld.config import NetworkConfig
from facemeld.data.catalogue import WEIGHTS, find_weights
from facemeld.data.folders import DomainFolders, scan_domains
from facemeld.data.shards import ShardPicture
from facemeld.errors import UserError, did_you_mean
from facemeld.evaluation.distances import NEIGHBOURS
from facemeld.images.read import DEFAULT_LIMITS, open_header, read_file, shown
from facemeld.networks.model_folder import find_model, read_network_config

PROTOCOLS = ("light", "clean", "starganv2")
PRECISIONS = ("fp32", "bf16")
OUTPUTS = 10
"""Fakes a source and mode, as in the paper."""
FEWEST = 2 * NEIGHBOURS
"""Pictures that every set needs: the neighbourhood scores look at NEIGHBOURS others."""
PEOPLE = frozenset(
    "face faces female females human humans male males man men people person woman women".split()
)
"""Names of domains that are taken for people if nobody says otherwise."""
FORMAT = 2
"""Of what is written; a part of another format is not gone on with."""
# Names in the catalogue of files that hold the same network; the first that is there is taken.
INCEPTION = {
    "fid": ("inception-2015", "inception-2015-torchscript"),
    "torchvision": ("inception-torchvision",),
}
INCEPTION_OF = {"clean": "fid", "starganv2": "torchvision"}
"""Which of them a protocol takes."""
PERCEPTUAL = ("lpips-alexnet", "lpips-alexnet-flax")


@dataclass(frozen=True)
class Plan:
    """One evaluation of one model by the protocol ``clean`` or ``starganv2``."""

    protocol: str
    model: Path
    held_out: DomainFolders
    """Sources and references."""
    pool: DomainFolders
    """All held-out pictures, from which the light protocol draws."""
    reals: DomainFolders
    """What the fakes are compared with: the training pictures, in the paper."""
    outputs: int
    sources: int | None
    """Sources a domain; None for all, which the protocols ask for."""
    seed: int
    people: tuple[str, ...]
    """Domains whose head pose and landmarks are compared."""
    only: str | None
    """``distances``: without the fusion scores, which is what the paper's code measures."""
    precision: str
    """Of the generator; what judges computes in fp32."""
    weights_dir: Path | None
    hashes: dict[str, str] = field(repr=False)
    """SHA-256 of the model's weights and of the pictures of each set and domain."""
    judges: dict[str, str] = field(repr=False)
    """SHA-256 of the weights of each judging network."""

    @property
    def domains(self) -> tuple[str, ...]:
        return self.held_out.domains

    @property
    def whole(self) -> bool:
        """Whether the protocol is carried out in full."""
        return self.sources is None and self.outputs == OUTPUTS

    @property
    def fusion(self) -> bool:
        """Whether fusion is scored, too."""
        return self.only is None

    @property
    def fingerprint(self) -> str:
        """The same for two plans that give the same numbers."""
        parts = [self.protocol, self.domains, self.outputs, self.sources, self.seed, self.only]
        parts.append(self.precision)
        parts += [self.people, self.hashes, self.judges, FORMAT, facemeld.__version__]
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def make_plan(
    protocol: str,
    model: str | Path,
    data: str | Path,
    reals: str | Path | None = None,
    *,
    outputs: int = OUTPUTS,
    sources: int | None = None,
    seed: int = 0,
    people: tuple[str, ...] | None = None,
    only: str | None = None,
    precision: str = "fp32",
    weights_dir: str | Path | None = None,
) -> Plan:
    """Checks everything and reads every picture's header.

    Args:
        protocol: ``clean`` or ``starganv2``.
        model: bundled name or model folder.
        data: domain folders of held-out pictures, or a folder of ``val/`` and ``train/``.
        reals: domain folders to compare with; ``data/train`` if not given.
        outputs: fakes a source and mode, at least 2.
        sources: at most so many sources a domain, evenly spread; all if not given.
        seed: of latent codes, references and subsets.
        people: domains of people; those with such names if not given.
        only: ``distances`` leaves out the fusion scores.
        precision: of the generator: ``fp32``, or ``bf16``, which some processors and all recent
            GPUs compute faster.
        weights_dir: where to look first for the weights of the judging networks.

    Raises:
        UserError: unknown domains, too few pictures, pictures of several sizes or unreadable
            ones, impossible numbers, a missing network.
    """
    _check_numbers(outputs, sources, seed)
    if precision not in PRECISIONS:
        raise UserError(
            f"there is no precision '{precision}'",
            where="--precision",
            fix=did_you_mean(precision, PRECISIONS),
        )
    if only is not None and people is not None:
        raise UserError(
            f"heads are not compared with --only {only}", where="--people", fix="leave out either"
        )
    folder = find_model(model)
    config = read_network_config(folder)
    held_out_root, real_root = find_splits(data, reals)
    pool, real_folders = scan_both(held_out_root, real_root, config.domains)
    people = people_among(pool.domains, people) if only is None else ()
    judges = find_judges(protocol, weights_dir, fusion=only is None, heads=len(people) > 1)
    check_masks(config, weights_dir)
    held_out = _evenly(pool, sources)
    _check_counts(held_out, real_folders)
    return Plan(
        protocol,
        folder,
        held_out,
        pool,
        real_folders,
        outputs,
        sources,
        seed,
        people,
        only,
        precision,
        Path(weights_dir) if weights_dir else None,
        {"model": hash_model(folder)} | hash_pictures(pool, real_folders),
        judges,
    )


def find_judges(
    protocol: str, weights_dir: str | Path | None, *, fusion: bool = True, heads: bool = False
) -> dict[str, str]:
    """SHA-256 of the weights of each judging network.

    Raises:
        UserError: they are missing or damaged.
    """
    check_weights_dir(weights_dir)
    needed = {"inception": INCEPTION[INCEPTION_OF[protocol]], "lpips": PERCEPTUAL}
    needed |= {"mobilenet_v2": ("mobilenet-v2",)} if fusion else {}
    needed |= {"head_geometry": ("head-pose",)} if fusion and heads else {}
    found = {}
    for judge, names in needed.items():
        name, _ = first_weights(names, weights_dir)
        if name == "lpips-alexnet":
            find_weights("alexnet", weights_dir)
        found[judge] = WEIGHTS[name].sha256
    return found


def find_splits(data: str | Path, reals: str | Path | None) -> tuple[Path, Path]:
    """Folders of held-out and of real pictures: as named, or ``val`` and ``train`` in ``data``.

    Raises:
        UserError: there are none.
    """
    data = Path(data)
    for folder in (data, Path(reals or data)):
        if not folder.is_dir():
            raise UserError("there is no such folder", where=shown(folder), fix="check the path")
    if reals is not None:
        return data, Path(reals)
    if (data / "train").is_dir() and (data / "val").is_dir():
        return data / "val", data / "train"
    raise UserError(
        "no real pictures to compare with",
        where=shown(data),
        fix="name a folder that holds train/ and val/, or the training pictures with --reals",
    )


def scan_both(
    held_out: Path, reals: Path, known: tuple[str, ...]
) -> tuple[DomainFolders, DomainFolders]:
    """Both folders, of the same domains, all of which the model knows.

    Raises:
        UserError: they are not.
    """
    found = scan_domains(held_out), scan_domains(reals)
    for folders in found:
        _check_domains(folders, known)
    if found[0].domains != found[1].domains:
        raise UserError(
            "the two folders have different domains",
            where=", ".join(f"{shown(f.root)} ({', '.join(f.domains)})" for f in found),
        )
    return found


def _check_domains(folders: DomainFolders, known: tuple[str, ...]) -> None:
    for domain in folders.domains:
        if domain not in known:
            raise UserError(
                f"the model has no domain '{shown(domain)}'",
                where=shown(folders.root),
                fix=did_you_mean(domain, known),
            )


def first_weights(names: tuple[str, ...], weights_dir: str | Path | None) -> tuple[str, Path]:
    """Name and file of the first of several files with the same network that are here.

    Raises:
        UserError: there is none, or the one there is damaged. With none the error is about the
            last, which a package carries if one does.
    """
    for name in names[:-1]:
        try:
            return name, find_weights(name, weights_dir)
        except UserError as error:
            if error.where != WEIGHTS[name].file:  # it is there, but damaged
                raise
    return names[-1], find_weights(names[-1], weights_dir)


def _check_numbers(outputs: int, sources: int | None, seed: int) -> None:
    if outputs < 2:
        raise UserError(f"outputs is {outputs}, but diversity needs at least 2", where="--outputs")
    if sources is not None and sources < FEWEST:
        raise UserError(f"sources is {sources}, but must be at least {FEWEST}", where="--sources")
    if seed < 0:
        raise UserError(f"seed is {seed}, but must not be negative", where="--seed")


def check_weights_dir(weights_dir: str | Path | None) -> None:
    """Raises a UserError if a folder is named that is not there: the next best would be taken."""
    if weights_dir is not None and not Path(weights_dir).is_dir():
        raise UserError(
            "there is no such folder", where=shown(Path(weights_dir)), fix="check --weights-dir"
        )


def check_masks(config: NetworkConfig, weights_dir: str | Path | None) -> None:
    """Raises a UserError for a masked model if no landmark network is at hand."""
    if config.skips == "masked":
        from facemeld.fusion.skip_masks import load_masker  # needs torch

        load_masker(weights_dir)


def people_among(domains: tuple[str, ...], named: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """The domains of people: those named, or those with such names.

    Raises:
        UserError: a named one is not there, or only one is named.
    """
    if named is None:
        return tuple(d for d in domains if d.lower() in PEOPLE)
    for domain in named:
        if domain not in domains:
            raise UserError(
                f"there is no domain '{shown(domain)}'",
                where="--people",
                fix=did_you_mean(domain, domains),
            )
    if len(set(named)) < 2:
        raise UserError(
            "heads are compared between domains of people, and fewer than two are named",
            where="--people",
            fix="name two or more, or leave it out",
        )
    return tuple(d for d in domains if d in named)


def _evenly(folders: DomainFolders, most: int | None) -> DomainFolders:
    if most is None:
        return folders
    files = tuple(
        f if len(f) <= most else tuple(f[i * len(f) // most] for i in range(most))
        for f in folders.files
    )
    return DomainFolders(folders.root, folders.domains, files)


def _check_counts(held_out: DomainFolders, reals: DomainFolders) -> None:
    for folders, kind in ((held_out, "held-out"), (reals, "real")):
        few = [
            f"{shown(domain)} ({len(files)})"
            for domain, files in zip(folders.domains, folders.files)
            if len(files) < FEWEST
        ]
        if few:
            raise UserError(
                f"fewer than {FEWEST} {kind} pictures: {', '.join(few)}",
                where=shown(folders.root),
                fix="add pictures",
            )


def hash_model(model: Path) -> str:
    """SHA-256 of a model's weights; UserError where they are missing."""
    weights = model / "model.safetensors"
    if not weights.is_file():
        raise UserError("the weights are missing", where=shown(weights))
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_pictures(held_out: DomainFolders, reals: DomainFolders) -> dict[str, str]:
    """SHA-256 of the pictures of each set and domain.

    Raises:
        UserError: pictures of several sizes, or one whose header cannot be read.
    """
    found: dict[str, str] = {}
    sets = (held_out, reals)
    sizes: Counter[tuple[int, int]] = Counter()
    with ThreadPoolExecutor() as pool:
        for name, folders in zip(("held_out", "reals"), sets, strict=True):
            for domain, files in zip(folders.domains, folders.files):
                whole = hashlib.sha256()
                for digest, size in pool.map(_look_at, files):
                    whole.update(digest)
                    sizes[size] += 1
                found[f"{name}/{domain}"] = whole.hexdigest()
    _check_sizes(sizes, sets)
    return found


def _look_at(file: Path | ShardPicture) -> tuple[bytes, tuple[int, int]]:
    if isinstance(file, ShardPicture):
        content = file.read_bytes()
    else:
        content = read_file(file, max_bytes=DEFAULT_LIMITS.max_bytes)
    with open_header(content, where=shown(file)) as image:
        return hashlib.sha256(content).digest(), image.size


def _check_sizes(sizes: Counter[tuple[int, int]], sets: tuple[DomainFolders, ...]) -> None:
    if len(sizes) == 1:
        return
    common = ", ".join(f"{n} of {w} x {h}" for (w, h), n in sizes.most_common(4))
    more = ", …" if len(sizes) > 4 else ""
    raise UserError(
        f"the pictures have {len(sizes)} different sizes ({common}{more}): a distance would "
        "measure how they were resized",
        where=", ".join(shown(folders.root) for folders in sets),
        fix="bring them to one size first: facemeld prepare IN OUT --size N",
    )
