# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Learning Loss: the ranking loss and its pairs, pooling over units, the head and where its gradients go."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lidal3d.errors import UsageError
from lidal3d.learn.architecture import Architecture
from lidal3d.learn.batch import VOXEL_FEATURES, network_input
from lidal3d.learn.beside import JointNetwork
from lidal3d.learn.feed import Feed
from lidal3d.learn.images.pictures import PICTURE_FEATURES, Pictures
from lidal3d.learn.loss_prediction.ask import Asked, ask
from lidal3d.learn.loss_prediction.head import build_head
from lidal3d.learn.loss_prediction.held_out import hold_out
from lidal3d.learn.loss_prediction.part import LossPart
from lidal3d.learn.loss_prediction.pooling import BatchUnits, FrameUnits, batch_units, pooled, unit_losses
from lidal3d.learn.loss_prediction.quality import quality_of, ranking_accuracy, spearman
from lidal3d.learn.loss_prediction.ranking import disjoint_pairs, pair_losses, pairs_across
from lidal3d.learn.loss_prediction.taps import Tap, tappable, tapping
from lidal3d.learn.networks import NETWORKS, build
from lidal3d.learn.sampler import Batch
from lidal3d.learn.sparse import Level
from lidal3d.learn.sweeps import Sweeps
from lidal3d.learn.voxels import unpack
from lidal3d.scene.labels import IGNORE
from lidal3d.settings.learning_loss import LearningLossConfig

SEEDS = st.integers(0, 10**6)


def one_pair(predicted: tuple[float, float], losses: tuple[float, float], released: bool = False) -> float:
    pairs = torch.tensor([[0, 1]])
    return float(pair_losses(torch.tensor(predicted), torch.tensor(losses), pairs, 1.0, released))


# --- the loss ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(gap=st.floats(-3, 3, width=32), larger=st.booleans())
def test_a_pair_costs_nothing_only_where_it_is_ordered_right_by_the_margin(gap: float, larger: bool) -> None:
    cost = one_pair((gap, 0.0), (2.0, 1.0) if larger else (1.0, 2.0))
    right_by = gap if larger else -gap
    assert cost == pytest.approx(max(0.0, 1.0 - right_by), abs=1e-6)
    assert (cost == 0) == (right_by >= 1)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, shift=st.integers(-8, 8))
def test_a_constant_added_to_all_predictions_changes_nothing(seed: int, shift: int) -> None:
    rng = np.random.default_rng(seed)
    # Eighths: exact in float32 whatever is added.
    predicted = torch.from_numpy(rng.integers(-16, 16, 12) / 8).float()
    losses, pairs = torch.from_numpy(rng.random(12)), torch.from_numpy(disjoint_pairs(rng.permutation(12)))
    torch.testing.assert_close(
        pair_losses(predicted + shift, losses, pairs, 1.0), pair_losses(predicted, losses, pairs, 1.0)
    )


def test_no_gradient_goes_through_the_losses() -> None:
    predicted, losses = torch.randn(6, requires_grad=True), torch.rand(6, requires_grad=True)
    pair_losses(predicted, losses, torch.from_numpy(disjoint_pairs(np.arange(6))), 1.0).sum().backward()
    assert losses.grad is None
    assert predicted.grad is not None


def test_equal_losses_cost_nothing_unless_asked_to_as_in_the_released_code() -> None:
    assert one_pair((0.2, 0.7), (1.5, 1.5)) == 0
    assert one_pair((0.2, 0.7), (1.5, 1.5), released=True) == pytest.approx(1 + (0.2 - 0.7))
    for losses in ((1.0, 2.0), (2.0, 1.0)):
        assert one_pair((0.2, 0.7), losses) == one_pair((0.2, 0.7), losses, released=True)


# --- pairs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [0, 1, 2, 3, 7, 8])
def test_pairs_are_disjoint_and_an_odd_one_stays_alone(units: int) -> None:
    pairs = disjoint_pairs(np.arange(units))
    assert pairs.shape == (units // 2, 2)
    assert len(set(pairs.ravel())) == 2 * (units // 2)
    assert all(pair.sum() == units - 1 for pair in pairs)


@settings(max_examples=80, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), seed=SEEDS)
def test_pairs_lie_across_frames_as_far_as_the_largest_frame_lets_them(sizes: list[int], seed: int) -> None:
    frame = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    pairs = pairs_across(frame, np.random.default_rng(seed))
    assert pairs.shape == (len(frame) // 2, 2)
    assert len(set(pairs.ravel())) == pairs.size
    inside = int((frame[pairs[:, 0]] == frame[pairs[:, 1]]).sum())
    largest, others = max(sizes), sum(sizes) - max(sizes)
    assert inside == max(0, len(pairs) - others if largest > others else 0)


def test_pairs_are_drawn_anew_and_from_the_generator_alone() -> None:
    frame = np.repeat(np.arange(4), 5)
    drawn = [pairs_across(frame, np.random.default_rng(seed)).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


# --- taps and pooling ----------------------------------------------------------------------------------------------


def input_of(seed: int, sizes: tuple[int, ...] = (160, 90)) -> tuple[torch.Tensor, Level, torch.Tensor]:
    """Features, finest level and each point's voxel of random sweeps."""
    rng = np.random.default_rng(seed)
    views = [torch.from_numpy(rng.uniform((-4, -4, -1, 0), (4, 4, 1, 1), (n, 4)).astype(np.float32)) for n in sizes]
    data = network_input(views, 0.5)
    return data.features, Level(data.voxels.keys), data.voxels.point_voxel


def units_of(seed: int, element: torch.Tensor, sizes: tuple[int, ...] = (160, 90), whole: bool = False) -> BatchUnits:
    """Three units a sweep, or each sweep one; a third of the points without a label."""
    rng = np.random.default_rng(seed)
    sweep = np.repeat(np.arange(len(sizes)), sizes)
    unit = sweep if whole else 3 * sweep + rng.integers(0, 3, len(sweep))
    label = rng.choice([0, 1, 2, IGNORE], len(sweep)).astype(np.int64)
    return BatchUnits(
        element, torch.from_numpy(unit), torch.from_numpy(label), torch.ones(len(sweep)),
        np.arange(len(sizes)) if whole else np.repeat(np.arange(len(sizes)), 3),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["minkunet", "spvcnn"])
def test_a_tap_stands_for_every_finest_voxel_with_the_cell_around_it(name: str) -> None:
    features, level, _ = input_of(0)
    network = build(Architecture(3, VOXEL_FEATURES, 0.125, 1, name)).eval()
    with tapping(network) as caught, torch.no_grad():
        network(features, level)
    taps = [network.tap(output, (features, level)) for output in caught]
    assert tuple(tap.values.shape[1] for tap in taps) == network.tap_channels()
    cells, batch = unpack(level.keys)
    for tap, halvings in zip(taps, (4, 3, 2, 1, 0), strict=True):
        coarse = level
        for _ in range(halvings):
            coarse = coarse.coarser
        assert len(tap.values) == len(coarse)
        around, owner = unpack(coarse.keys[tap.row])
        assert torch.equal(around, torch.div(cells, 2**halvings, rounding_mode="floor"))
        assert torch.equal(owner, batch)
        assert torch.equal(tap.owner[tap.row], batch)


def test_outside_of_tapping_nothing_is_caught() -> None:
    features, level, _ = input_of(0)
    network = build(Architecture(3, VOXEL_FEATURES, 0.125, 1)).eval()
    with tapping(network) as caught:
        pass
    network(features, level)
    assert caught == []
    assert not any(module._forward_hooks for module in network.modules())


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, whole=st.booleans())
def test_pooling_is_a_mean_over_points_or_over_a_frame_s_voxels(seed: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    _, level, point_voxel = input_of(seed)
    units = units_of(seed, point_voxel, whole=whole)
    batch = unpack(level.keys)[1]
    row = torch.from_numpy(rng.integers(0, 20, len(level))) + 20 * batch
    tap = Tap(torch.randn(40, 5, dtype=torch.float32), row, torch.arange(40) // 20)
    found = pooled(tap, units, whole)
    for u in range(len(units)):
        rows = torch.arange(40) // 20 == u if whole else row[point_voxel[units.unit == u]]
        torch.testing.assert_close(found[u], tap.values[rows].mean(0))


def test_only_some_frames_of_a_batch_can_be_units() -> None:
    tap = Tap(torch.arange(6.0)[:, None], torch.arange(6), torch.tensor([0, 0, 1, 1, 2, 2]))
    none = torch.empty(0, dtype=torch.int64)
    units = BatchUnits(none, none, none, torch.empty(0), np.array([2, 1]))
    assert pooled(tap, units, whole=True).squeeze(1).tolist() == [4.5, 2.5]


def test_the_loss_of_a_unit_is_the_mean_over_its_labelled_points() -> None:
    _, level, point_voxel = input_of(4)
    units = units_of(4, point_voxel)
    logits = torch.randn(len(level), 3)
    found = unit_losses(logits, units)
    for u in range(len(units)):
        points = torch.nonzero((units.unit == u) & (units.label != IGNORE)).squeeze(1)
        by_hand = torch.nn.functional.cross_entropy(logits[point_voxel[points]], units.label[points])
        assert float(found[u]) == pytest.approx(float(by_hand), rel=1e-5)


# --- the head and its gradients ------------------------------------------------------------------------------------


def joint(name: str = "minkunet", detach_after: float = 1.0, whole: bool = False) -> tuple[JointNetwork, LossPart]:
    inputs = PICTURE_FEATURES if name == "unet2d" else VOXEL_FEATURES
    network = build(Architecture(3, inputs, 0.125, 1, name), seed=1)
    head = build_head(network.tap_channels(), 16, seed=2)
    part = LossPart(head, LearningLossConfig(weight=1, detach_after=detach_after), steps=10, seed=0, whole=whole)
    return JointNetwork(network, [part]).train(), part


def batch_of(seed: int, name: str = "minkunet", whole: bool = False, none: bool = False) -> Batch:
    """Three sweeps or pictures, a third of their points without a label."""
    rng = np.random.default_rng(seed)
    feed: Feed = Pictures() if name == "unet2d" else Sweeps(0.5)
    items = []
    for count in (160, 90, 70):
        if name == "unet2d":
            points, count = pixels(rng, 20, 24), 480
        else:
            points = rng.uniform((-4, -4, -1, 0), (4, 4, 1, 1), (count, 4)).astype(np.float32)
        unit = np.zeros(count, np.int32) if whole else rng.integers(0, 3, count).astype(np.int32)
        label = np.full(count, IGNORE) if none else rng.choice([0, 1, 2, IGNORE], count)
        items.append(feed.item(points, label.astype(np.uint8), None, unit))
    fed = feed.batch(items, [feed.draw(rng) for _ in items], 3, torch.device("cpu"))
    return Batch(fed.inputs, fed.targets, fed.weights, {}, units=fed.units)


def pixels(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    row, column = np.mgrid[:height, :width]
    return np.column_stack([column.ravel(), row.ravel(), rng.random((height * width, 3))]).astype(np.float32)


def ranking_gradients(model: JointNetwork, part: LossPart, batch: Batch, number: int) -> tuple[list, list]:
    """Of the network and of the head, from the ranking loss alone."""
    logits, predicted = model(batch, number)
    term = part.term(predicted, logits, batch, number)
    (term.loss / term.weight.clamp_min(1)).backward()
    return [p.grad for p in model.network.parameters()], [p.grad for p in part.parameters()]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("number", "reaches"), [(6, True), (7, False)])
def test_after_the_detach_nothing_of_the_ranking_reaches_the_network(
    name: str, whole: bool, number: int, reaches: bool
) -> None:
    model, part = joint(name, 0.6, whole)
    network, head = ranking_gradients(model, part, batch_of(5, name, whole), number)
    assert any(grad is not None and bool(grad.any()) for grad in network) == reaches
    assert all(grad is not None and torch.isfinite(grad).all() for grad in head)
    assert any(bool(grad.any()) for grad in head)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_with_a_head_gives_the_logits_of_the_one_without(name: str) -> None:
    model, _ = joint(name)
    batch = batch_of(6, name)
    with torch.no_grad():
        logits, predicted = model.eval()(batch, 1)
        alone = model.network(*batch.inputs)[0]
    assert torch.equal(logits, alone)
    assert predicted.shape == (9,)


@pytest.mark.parametrize("name", NETWORKS)
def test_asked_of_a_frame_a_head_says_what_it_says_in_training_of_the_same_view(name: str) -> None:
    rng = np.random.default_rng(3)
    model, part = joint(name)
    pictures = name == "unet2d"
    feed: Feed = Pictures("none") if pictures else Sweeps(0.5, "none")
    points = pixels(rng, 21, 30) if pictures else rng.uniform((-4, -4, -1, 0), (4, 4, 1, 1), (300, 4))
    points = points.astype(np.float32)
    unit = rng.integers(0, 4, len(points)).astype(np.int32)
    label = rng.choice([0, 1, IGNORE], len(points)).astype(np.uint8)
    item = feed.item(points, label, None, unit)
    fed = feed.batch([item], [feed.draw(rng)], 3, torch.device("cpu"))
    batch = Batch(fed.inputs, fed.targets, fed.weights, {}, units=fed.units)
    with torch.no_grad():
        logits, predicted = model.eval()(batch, 1)
    said, true = ask(model.network, part.head, feed, Asked(points, FrameUnits(unit, label)), whole=False)
    # A picture in training goes through 8 bits.
    tolerance = 5e-3 if pictures else 1e-5
    np.testing.assert_allclose(said, predicted.numpy(), atol=tolerance)
    np.testing.assert_allclose(true, unit_losses(logits, fed.units).numpy(), atol=tolerance)


@pytest.mark.parametrize("whole", [False, True])
def test_a_batch_without_labelled_units_costs_nothing_and_leaves_no_nan(whole: bool) -> None:
    model, part = joint(whole=whole)
    batch = batch_of(7, whole=whole, none=True)
    logits, predicted = model(batch, 1)
    term = part.term(predicted, logits, batch, 1)
    assert predicted.shape == (0,)
    assert float(term.loss.detach()) == float(term.weight) == 0
    (term.loss + 0 * logits.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in part.parameters())


@pytest.mark.parametrize("whole", [False, True])
def test_units_of_a_batch_are_those_with_a_label_and_have_all_their_points(whole: bool) -> None:
    rng = np.random.default_rng(0)
    frames, element = [], torch.arange(150)
    for _ in range(3):
        unit = np.zeros(50, np.int32) if whole else rng.integers(-1, 6, 50).astype(np.int32)
        label = np.where(rng.random(50) < 0.08, rng.integers(0, 3, 50), IGNORE).astype(np.uint8)
        frames.append(FrameUnits(unit, label, rng.choice([0, 0.5, 1], 50).astype(np.float32)))
    units = batch_units(frames, element)
    wanted = [
        (i, np.flatnonzero(f.unit == u) + 50 * i)
        for i, f in enumerate(frames)
        for u in range(6)
        if ((f.unit == u) & (f.label != IGNORE) & (f.weight > 0)).any()
    ]
    assert len(units) == len(wanted) > 0
    for number, (i, points) in enumerate(wanted):
        assert units.frame[number] == i
        assert units.element[units.unit == number].tolist() == points.tolist()
    assert (np.concatenate([f.weight for f in frames])[units.element][units.label != IGNORE] > 0).all()


@pytest.mark.parametrize("size", [(16, 32), (21, 45)])
def test_a_cell_of_a_picture_stands_for_the_pixels_in_it(size: tuple[int, int]) -> None:
    network = build(Architecture(3, 4, 0.125, 1, "unet2d")).eval()
    pictures = torch.rand(2, 4, *size)
    with tapping(network) as caught, torch.no_grad():
        network(pictures)
    taps = [network.tap(output, (pictures,)) for output in caught]
    assert tuple(tap.values.shape[1] for tap in taps) == network.tap_channels()
    for tap, output, edge in zip(taps, caught, (16, 8, 4, 2, 1), strict=True):
        rows = tap.row.view(2, *size)
        for b, r, c in ((0, 0, 0), (1, size[0] - 1, size[1] - 1), (0, 7, 19)):
            assert torch.equal(tap.values[rows[b, r, c]], output[b, :, r // edge, c // edge])
            assert int(tap.owner[rows[b, r, c]]) == b
        margin = set(range(len(tap.values))) - set(tap.row.tolist())
        assert all(int(tap.owner[cell]) == -1 for cell in margin)
        assert bool(margin) == (edge < 16 and size == (21, 45))


def test_a_network_without_taps_is_refused() -> None:
    with pytest.raises(UsageError, match="Linear has no taps that a loss head could read"):
        tappable(torch.nn.Linear(2, 2))


# --- what is held out ----------------------------------------------------------------------------------------------


def test_runs_of_frames_are_held_out_whole_and_stay_so_when_others_come() -> None:
    keys = [("a", i) for i in range(100)] + [("b", i) for i in range(100)]
    held = hold_out(keys, 0.1, whole=False)
    assert held.by == "frames"
    assert 10 <= len(held.frames) <= 40
    for scene, index in held.frames:
        assert all((scene, 10 * (index // 10) + i) in held.frames for i in range(10))
    assert held.units(("a", next(iter(held.frames))[1]), 3).tolist() in ([True] * 3, [False] * 3)
    again = hold_out(keys[::-1] + keys, 0.1, whole=False)
    assert again == held
    fewer = hold_out(keys[:150], 0.1, whole=False)
    assert len(fewer.frames & held.frames) >= 10


def test_of_few_frames_units_are_held_out_each_for_itself() -> None:
    held = hold_out([("a", 0), ("a", 1), ("b", 5)], 0.25, whole=False)
    assert (held.by, held.frames) == ("units", frozenset())
    found = held.units(("a", 1), 4000)
    assert 0.2 < found.mean() < 0.3
    assert np.array_equal(found, held.units(("a", 1), 4000))
    assert not np.array_equal(found, held.units(("a", 0), 4000))


@pytest.mark.parametrize("frames", [1, 3, 4, 12, 20, 60])
def test_of_whole_frames_enough_are_held_out_to_compare_but_never_many(frames: int) -> None:
    held = hold_out([("a", 7 * i) for i in range(frames)], 0.1, whole=True)
    assert held.by == "frames"
    assert len(held.frames) <= frames // 2
    assert len(held.frames) >= min(5, frames // 4)


def test_one_long_run_is_not_held_out_for_a_few_short_ones() -> None:
    keys = [("a", i) for i in range(10)] + [("a", 20 * i) for i in range(1, 5)]
    held = hold_out(keys, 0.1, whole=False)
    assert 1 <= len(held.frames) <= 2


def test_no_share_holds_nothing_out() -> None:
    held = hold_out([("a", i) for i in range(100)], 0.0, whole=True)
    assert not held.frames
    assert not held.units(("a", 3), 5).any()


# --- how good it is ------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, units=st.integers(5, 40))
def test_the_ranking_accuracy_is_that_of_a_loop_over_pairs(seed: int, units: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, losses = rng.integers(0, 9, units).astype(float), rng.integers(0, 9, units).astype(float)
    pairs = [(i, j) for i in range(units) for j in range(i) if losses[i] != losses[j]]
    right = [0.5 + 0.5 * np.sign((losses[i] - losses[j]) * (predicted[i] - predicted[j])) for i, j in pairs]
    found = ranking_accuracy(predicted, losses)
    assert found == (pytest.approx(np.mean(right)) if pairs else None)


def test_spearman_is_a_correlation_of_mean_ranks() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(30)
    assert spearman(values, np.exp(values)) == pytest.approx(1)
    assert spearman(values, -values) == pytest.approx(-1)
    assert spearman(np.array([1.0, 1, 2]), np.array([3.0, 5, 4])) == pytest.approx(0)
    assert spearman(np.ones(5), values[:5]) is None


def test_too_few_units_say_nothing() -> None:
    few = quality_of(np.arange(4.0), np.arange(4.0), "units")
    assert (few.units, few.accuracy, few.spearman) == (4, None, None)
    assert quality_of(np.arange(5.0), np.arange(5.0), "units").accuracy == 1
    assert quality_of(np.arange(5.0), np.ones(5), "units").accuracy is None
