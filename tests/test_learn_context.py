# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Training on what lies near labels: which points stay, and how many sweeps then make a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from lidal3d.learn.batch import Sweep
from lidal3d.learn.context import near_labels
from lidal3d.learn.sampler import MOST_FRAMES, Portion, Sampler
from lidal3d.learn.sweeps import Sweeps

CLASSES = 3


@pytest.mark.parametrize("context_m", [0.5, 2.0, 7.0])
def test_near_points_stay_and_far_ones_go(context_m: float) -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(-20, 20, (800, 2)).astype(np.float32)
    labelled = rng.random(800) < 0.02
    kept = near_labels(xy, labelled, context_m)
    distance_m = cdist(xy, xy[labelled]).min(axis=1)
    assert kept[labelled].all()
    assert kept[distance_m < 0.64 * context_m].all()
    assert not kept[distance_m > 1.36 * context_m].any()
    assert kept.sum() < len(xy)


@pytest.mark.parametrize("all_labelled", [True, False])
def test_all_or_no_labels_leave_nothing_to_cut(all_labelled: bool) -> None:
    xy = np.zeros((5, 2), np.float32)
    assert near_labels(xy, np.full(5, all_labelled), 1.0).tolist() == [all_labelled] * 5


def sweep(rng: np.random.Generator, labelled: int) -> Sweep:
    """A thousand points of which the first few, in a corner, have labels."""
    points = rng.uniform(-10, 10, (1000, 4)).astype(np.float32)
    labels = np.full(1000, 255, np.uint8)
    points[:labelled, :2] = rng.uniform(9, 10, (labelled, 2))
    labels[:labelled] = rng.integers(0, CLASSES, labelled)
    return Sweep(points, labels)


def sampler_of(
    sweeps: list[Sweep], batch: int, seed: int = 0, context_m: float = 1.0, portions: Sequence[Portion] = ()
) -> Sampler:
    feed, rng = Sweeps(0.5, context_m=context_m), np.random.default_rng(seed)
    return Sampler(len(sweeps), sweeps.__getitem__, feed, batch, CLASSES, rng, torch.device("cpu"), portions=portions)


def test_a_cut_sweep_keeps_its_labels_and_knows_its_shares() -> None:
    whole = sweep(np.random.default_rng(1), 30)
    cut = whole.around_labels(1.0)
    assert (whole.share, whole.labelled_share) == (1.0, 0.03)
    assert (cut.share, cut.labelled_share) == (len(cut.points) / 1000, 0.03)
    assert sorted(cut.labels[cut.labels != 255].tolist()) == sorted(whole.labels[:30].tolist())
    assert 30 <= len(cut.points) < 100


@pytest.mark.parametrize("batch", [1, 3])
def test_a_step_holds_as_many_labels_as_whole_sweeps_have_points(batch: int) -> None:
    rng = np.random.default_rng(2)
    sweeps = [sweep(rng, 150).around_labels(0.5) for _ in range(20)]
    assert all(one.share < 2 * one.labelled_share for one in sweeps)
    assert len(sampler_of(sweeps, batch)._draw()) == round(batch / 0.15)


def test_scattered_labels_end_at_twice_the_points() -> None:
    rng = np.random.default_rng(2)
    sweeps = [Sweep(s.points[:500], s.labels[:500], None, 1000) for s in (sweep(rng, 10) for _ in range(20))]
    assert len(sampler_of(sweeps, 1)._draw()) == 4


def test_whole_sweeps_are_drawn_one_by_one_and_each_once_a_round() -> None:
    sweeps = [sweep(np.random.default_rng(n), 40) for n in range(5)]
    sampler = sampler_of(sweeps, 1, context_m=0.0)
    drawn = [sampler._draw() for _ in range(5)]
    assert [len(one) for one in drawn] == [1] * 5
    assert sorted(one[0] for one in drawn) == list(range(5))


def test_parts_have_their_share_of_the_steps_and_share_none() -> None:
    rng = np.random.default_rng(3)
    sweeps = [sweep(rng, 150).around_labels(0.5) for _ in range(12)] + [sweep(rng, 1000).around_labels(0.5)] * 4
    sampler = sampler_of(sweeps, 1, portions=(Portion(12, 0.75), Portion(0, 5.0), Portion(4, 0.25)))
    drawn = [sampler._draw() for _ in range(400)]
    whole = [one for one in drawn if one[0] >= 12]
    assert all(len(one) == 1 for one in whole)
    assert all(max(one) < 12 and len(one) == 7 for one in drawn if one[0] < 12)
    assert 70 < len(whole) < 130
    assert {index for one in drawn for index in one} == set(range(16))


def test_one_part_is_no_part() -> None:
    sweeps = [sweep(np.random.default_rng(n), 60) for n in range(5)]
    one, none = (sampler_of(sweeps, 2, portions=portions) for portions in ((Portion(5, 0.1), Portion(0, 0.9)), ()))
    assert [one._draw() for _ in range(20)] == [none._draw() for _ in range(20)]


def test_sweeps_of_nothing_do_not_fill_a_step_for_ever() -> None:
    empty = Sweep(np.empty((0, 4), np.float32), np.empty(0, np.uint8), None, 0)
    assert len(sampler_of([empty], 1)._draw()) == MOST_FRAMES


def test_a_restored_sampler_goes_on_alike() -> None:
    sweeps = [sweep(np.random.default_rng(n), 60).around_labels(2.0) for n in range(7)]
    portions = (Portion(4, 0.5), Portion(3, 0.5))
    sampler = sampler_of(sweeps, 1, portions=portions)
    for _ in range(3):
        state = sampler.next().state
    other = sampler_of(sweeps, 1, seed=9, portions=portions)
    other.restore(state)
    torch.testing.assert_close(sampler.next().inputs[0], other.next().inputs[0], rtol=0, atol=0)
