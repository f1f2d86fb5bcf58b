# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Purity and fragmentation of tracks, on cases small enough to count by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lidal3d.tracks.quality import Overlaps, class_purity, track_quality


def table_of(*sweeps: list[tuple[int, int, int]]) -> np.ndarray:
    """An overlap table of sweeps, each a list of (track, instance, points)."""
    overlaps = Overlaps()
    for sweep in sweeps:
        track = np.concatenate([np.full(n, t) for t, _, n in sweep])
        instance = np.concatenate([np.full(n, i) for _, i, n in sweep])
        overlaps.add(track, instance)
    return overlaps.table()


def test_perfect_tracks() -> None:
    quality = track_quality(table_of(*[[(4, 1, 30), (5, 2, 20), (-1, 0, 99), (6, 0, 50)]] * 3))
    assert quality.things == 2
    assert (quality.purity, quality.thing_purity, quality.completeness, quality.covered) == (1, 1, 1, 1)
    assert (quality.fragments, quality.unbroken, quality.switches) == (1, 1, 0)


def test_a_track_that_holds_two_things_is_not_pure() -> None:
    quality = track_quality(table_of(*[[(4, 1, 30), (4, 2, 20)]] * 3))
    assert quality.purity == pytest.approx(0.6)
    assert quality.thing_purity == pytest.approx((0.6 + 0.4) / 2)
    assert quality.completeness == 1


def test_background_in_a_track_counts_against_it_and_tracks_without_a_thing_do_not_count() -> None:
    quality = track_quality(table_of(*[[(4, 1, 30), (4, 0, 10), (7, 0, 500)]] * 3))
    assert quality.purity == quality.thing_purity == pytest.approx(0.75)


def test_a_broken_track_is_two_fragments_and_a_switch() -> None:
    quality = track_quality(table_of([(4, 1, 30)], [(4, 1, 30)], [(8, 1, 30)], [(-1, 1, 30)]))
    assert (quality.fragments, quality.unbroken) == (2, 0)
    assert quality.switches == pytest.approx(100 / 4)
    assert quality.completeness == pytest.approx(0.5)
    assert quality.covered == pytest.approx(0.75)
    assert quality.purity == 1


def test_going_back_and_forth_is_two_fragments_and_two_switches() -> None:
    quality = track_quality(table_of([(4, 1, 30)], [(5, 1, 25), (4, 1, 5)], [(4, 1, 30)]))
    assert quality.fragments == 2
    assert quality.switches == pytest.approx(200 / 3)


def test_what_counts_as_a_thing() -> None:
    seen_briefly, seen_thinly = [(4, 1, 30)], [(5, 2, 19), (6, 3, 20)]
    table = table_of(seen_briefly + seen_thinly, seen_briefly + seen_thinly, seen_thinly)
    assert track_quality(table).things == 1
    assert track_quality(table, min_points=19).things == 2
    assert track_quality(table, min_sweeps=2).things == 2
    assert track_quality(table, among=lambda thing: thing != 3).things == 0


def test_nothing_to_measure_is_nan() -> None:
    for table in (table_of([(4, 0, 30)]), Overlaps().table()):
        quality = track_quality(table)
        assert quality.things == 0
        assert all(np.isnan(v) for name, v in vars(quality).items() if name != "things")
    assert np.isnan(class_purity(Overlaps().table()))


def test_a_thing_that_no_track_holds() -> None:
    quality = track_quality(table_of(*[[(-1, 1, 30)]] * 3))
    assert (quality.thing_purity, quality.completeness, quality.covered, quality.unbroken) == (0, 0, 0, 0)


def test_purity_agrees_with_counting() -> None:
    rng = np.random.default_rng(0)
    overlaps = Overlaps()
    counts: Counter[tuple[int, int]] = Counter()
    for _ in range(5):
        track, label = rng.integers(-1, 6, 2000), rng.integers(0, 4, 2000)
        overlaps.add(track, label)
        counts.update(zip(track.tolist(), label.tolist(), strict=True))
    known = {pair: n for pair, n in counts.items() if pair[0] >= 0 and pair[1] > 0}
    best = sum(max(known[t, c] for c in range(1, 4)) for t in range(6))
    assert class_purity(overlaps.table()) == pytest.approx(best / sum(known.values()))
    assert track_quality(overlaps.table()).purity == pytest.approx(
        sum(max(counts[t, c] for c in range(4)) for t in range(6))
        / sum(counts[t, c] for t in range(6) for c in range(4))
    )
