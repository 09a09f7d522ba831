"""Batches as a pure function of (seed, step): balanced, in range, and about the right pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from facemeld.data.framing import framed, framed_at_once
from facemeld.data.randomness import random_at
from facemeld.data.sampling import Batch, BatchSampler, as_tensor
from facemeld.data.store import PictureStore

COUNTS = (40, 3, 11)
LABELS = torch.arange(3).repeat_interleave(torch.tensor(COUNTS))  # of each row


@pytest.fixture(scope="module")
def store() -> PictureStore:
    """Three domains of very different sizes; no picture is like another, nor its own mirror."""
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8) for n in COUNTS]
    return PictureStore(("a", "b", "c"), pictures)


def sampler(store: PictureStore, **changes) -> BatchSampler:
    return BatchSampler(store, **{"sources": 12, "latent_size": 5, "seed": 7} | changes)


def fields(batch: Batch) -> dict[str, Tensor]:
    values = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    return {name: v for name, v in values.items() if isinstance(v, Tensor)}


def equal(a: Batch, b: Batch) -> bool:
    mine, theirs = fields(a), fields(b)
    return all(torch.equal(mine[n], theirs[n]) for n in mine) and a.from_latents == b.from_latents


@pytest.mark.parametrize("crop_probability", [0.0, 0.5])
def test_a_batch_follows_from_seed_and_step_alone(
    store: PictureStore, crop_probability: float
) -> None:
    first = sampler(store, crop_probability=crop_probability)
    expected = first.batch(5)
    for step in (0, 6):
        assert not torch.equal(first.batch(step).sources, expected.sources)
    np.random.seed(3)
    torch.manual_seed(3)
    assert equal(sampler(store, crop_probability=crop_probability).batch(5), expected)
    assert not torch.equal(sampler(store, seed=8).batch(5).latents, expected.latents)


def test_streams_of_one_step_are_independent() -> None:
    draws = {
        (seed, step, stream): random_at(seed, step, stream).random()
        for seed in (0, 1, 2**63 - 1)
        for step in (0, 1, 2**40)
        for stream in (0, 1)
    }
    assert len(set(draws.values())) == len(draws)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_one_global_batch(store: PictureStore, ranks: int) -> None:
    whole = sampler(store, crop_probability=0.5, reference_share=0.5)
    shares = [
        sampler(store, crop_probability=0.5, reference_share=0.5, rank=r, ranks=ranks)
        for r in range(ranks)
    ]
    for step in range(4):
        batches = [share.batch(step) for share in shares]
        for name, expected in fields(whole.batch(step)).items():
            assert torch.equal(torch.cat([fields(b)[name] for b in batches]), expected), name
        assert {b.from_latents for b in batches} == {whole.batch(step).from_latents}


def test_shapes_and_kinds(store: PictureStore) -> None:
    batch = sampler(store).batch(0)
    assert batch.sources.shape == (12, 3, 8, 8) and batch.references.shape == (24, 3, 8, 8)
    assert batch.latents.shape == (24, 5) and batch.latents.dtype == torch.float32
    for name in ("source_domains", "targets", "source_rows", "reference_rows"):
        assert getattr(batch, name).dtype == torch.int64
    for pictures in (batch.sources, batch.references):
        assert pictures.is_contiguous(memory_format=torch.channels_last)


def test_rows_are_of_the_right_domain_and_name_the_right_picture(store: PictureStore) -> None:
    everything = as_tensor(np.concatenate(store.pictures), "cpu")
    mirrored = 0
    for step in range(10):
        batch = sampler(store).batch(step)
        assert torch.equal(LABELS[batch.source_rows], batch.source_domains)
        assert torch.equal(LABELS[batch.reference_rows], batch.targets.repeat_interleave(2))
        for pictures, rows in (
            (batch.sources, batch.source_rows),
            (batch.references, batch.reference_rows),
        ):
            for picture, original in zip(pictures, everything[rows], strict=True):
                is_mirrored = torch.equal(picture, original.flip(2))
                assert is_mirrored or torch.equal(picture, original)
                mirrored += is_mirrored
    assert 130 < mirrored < 230  # of 360: half of them, within five deviations


def test_domains_are_balanced_whatever_their_sizes(store: PictureStore) -> None:
    batches = [sampler(store).batch(step) for step in range(250)]  # 3000 sources
    for drawn in (
        torch.cat([b.source_domains for b in batches]),
        torch.cat([b.targets for b in batches]),
        LABELS[torch.cat([b.reference_rows for b in batches])],
    ):
        shares = torch.bincount(drawn, minlength=3) / len(drawn)
        assert (shares - 1 / 3).abs().max() < 0.045  # five deviations
    rows = torch.cat([b.source_rows for b in batches])
    of_the_smallest = torch.bincount(rows, minlength=54)[40:43] / 3000
    assert (of_the_smallest - 1 / 9).abs().max() < 0.03
    assert len(rows.unique()) == sum(COUNTS)


def test_favoured_domains_are_targets_more_often_and_no_more_often_sources(
    store: PictureStore,
) -> None:
    batches = [sampler(store, favoured=[2, 0, 2]).batch(step) for step in range(250)]
    for drawn, expected in (
        (torch.cat([b.targets for b in batches]), (2 / 6, 1 / 6, 3 / 6)),
        (torch.cat([b.source_domains for b in batches]), (1 / 3, 1 / 3, 1 / 3)),
    ):
        shares = torch.bincount(drawn, minlength=3) / len(drawn)
        assert (shares - torch.tensor(expected)).abs().max() < 0.045


def test_styles_come_from_references_as_often_as_asked(store: PictureStore) -> None:
    for share, low, high in ((0.0, 400, 400), (0.6, 110, 210), (1.0, 0, 0)):
        sampled = sampler(store, sources=1, reference_share=share)
        assert low <= sum(sampled.batch(step).from_latents for step in range(400)) <= high


def test_crops_stay_inside_and_keep_the_range() -> None:
    side = 64
    across = np.linspace(20, 220, side)[None, :].repeat(side, 0)
    # red rises from left to right, green from top to bottom
    ramp = np.stack([across, across.T, np.full((side, side), 90)], axis=2).round().astype(np.uint8)
    store = PictureStore(("a", "b"), [ramp[None], ramp[None]])
    batches = [sampler(store, crop_probability=1.0).batch(step) for step in range(4)]
    pictures = torch.cat([torch.cat([b.sources, b.references]) for b in batches])
    whole = as_tensor(ramp[None], "cpu")[0]
    assert pictures.min() >= whole.min() - 1e-5 and pictures.max() <= whole.max() + 1e-5
    span = whole[0, 0, -1] - whole[0, 0, 0]
    width = ((pictures[:, 0, 32, -1] - pictures[:, 0, 32, 0]) / span).abs()
    height = (pictures[:, 1, -1, 32] - pictures[:, 1, 0, 32]) / span
    assert width.max() <= 1.001 and height.max() <= 1.001
    # a crop that reached over the edge would mirror it there, and the ramp would turn
    assert ((width * height) > 0.78).all() and (width * height).min() < 0.86
    assert ((width / height) > 0.88).all() and ((width / height) < 1.13).all()
    steps = pictures[:, 1, 1:, 32] - pictures[:, 1, :-1, 32]
    assert (steps > -0.002).all()


def test_the_share_of_crops_is_as_asked() -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (n, 64, 64, 3), dtype=np.uint8) for n in COUNTS]
    store = PictureStore(("a", "b", "c"), pictures)
    originals = as_tensor(np.concatenate(store.pictures), "cpu")
    whole = 0
    for step in range(30):
        batch = sampler(store, crop_probability=0.5).batch(step)
        expected = originals[batch.source_rows]
        for flip in (False, True):
            candidate = expected.flip(3) if flip else expected
            gap = (batch.sources - candidate).abs().amax(dim=(1, 2, 3))
            whole += int((gap < 1e-3).sum())
    assert 150 < whole < 230  # of 360; crops are by whole pixels, and some round to all


def test_rows_of_a_domain_are_all_of_it_and_no_other(store: PictureStore) -> None:
    for domain in range(3):
        rows = sampler(store).rows_of_domain(domain, random_at(0, 0, 1), 500)
        assert torch.equal(rows.unique(), torch.nonzero(LABELS == domain).flatten())


def test_bytes_fill_the_range_exactly() -> None:
    pixels = np.array([[[[0, 255, 51]]]], np.uint8)
    assert as_tensor(pixels, "cpu").flatten().tolist() == pytest.approx([-1, 1, -0.6], abs=1e-6)


def test_all_at_once_on_a_device_is_what_bytes_on_a_processor_are() -> None:
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8))
    boxes = np.array([[0, 0, 32, 32]] * 2 + [[3, 5, 29, 27], [0, 1, 30, 31], [4, 0, 28, 32]] * 2)
    mirror = np.arange(8) % 2 == 1
    expected = framed(pixels.clone(), boxes, mirror)
    assert expected.dtype == torch.uint8
    found = framed_at_once(pixels.clone(), boxes, mirror)
    assert torch.equal(found[0], pixels[0].float())
    assert torch.equal(found[1], pixels[1].flip(1).float())
    assert (found - expected).abs().max() <= 1
    # nothing from outside the box: around it, all is white
    inside = torch.full((1, 32, 32, 3), 255, dtype=torch.uint8)
    inside[:, 5:32, 3:32] = 9
    assert (framed_at_once(inside, boxes[2:3], mirror[:1]) == 9).all()
    assert (framed(inside.clone(), boxes[2:3], mirror[:1]) == 9).all()
