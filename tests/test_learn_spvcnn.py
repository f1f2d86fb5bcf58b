# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The point branch against loops over points, and the network made of it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lidal3d.errors import DataError, UsageError
from lidal3d.learn.batch import VOXEL_FEATURES
from lidal3d.learn.minkunet import Architecture
from lidal3d.learn.model import Model, load_model
from lidal3d.learn.networks import NETWORKS, build
from lidal3d.learn.points import Mixing, to_points, to_voxels
from lidal3d.learn.sparse import Level
from lidal3d.learn.spvcnn import SPVCNN, SeededDropout
from lidal3d.learn.voxels import pack, unpack


def some_level(count: int, size: int = 12) -> tuple[Level, torch.Tensor]:
    """Voxels on both sides of the origin, in two sweeps, and a point in each."""
    rng = np.random.default_rng(count)
    batch, *cells = np.unravel_index(rng.choice(2 * size**3, count, replace=False), (2, size, size, size))
    keys = torch.sort(pack(torch.from_numpy(np.stack(cells, 1) - size // 2), torch.from_numpy(batch)))[0]
    offset = rng.uniform(-0.5, 0.5, size=(count, 3))
    offset[0] = (-0.5, 0.5, 0.0)
    return Level(keys), torch.from_numpy(offset)


def rows_of(level: Level) -> dict[tuple[int, ...], int]:
    cells, batch = unpack(level.keys)
    return {(int(b), *map(int, c)): row for row, (b, c) in enumerate(zip(batch, cells, strict=True))}


def coarser(level: Level, levels: int) -> Level:
    for _ in range(levels):
        level = level.coarser
    return level


@pytest.mark.parametrize("levels", [0, 1, 2, 4])
def test_a_voxel_is_the_mean_of_its_points(levels: int) -> None:
    level, _ = some_level(700)
    x = torch.randn(700, 5, generator=torch.Generator().manual_seed(0))
    found = to_voxels(level, levels)(x)
    rows = rows_of(coarser(level, levels))
    points: dict[int, list[int]] = {}
    for (batch, *cell), point in rows_of(level).items():
        points.setdefault(rows[(batch, *(c // 2**levels for c in cell))], []).append(point)
    expected = torch.stack([x[points[row]].mean(0) for row in range(len(rows))])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("levels", [0, 1, 2, 4])
@pytest.mark.parametrize("count", [1, 60, 700])
def test_a_point_interpolates_between_the_centres_of_the_occupied_voxels_around(levels: int, count: int) -> None:
    level, offset = some_level(count)
    coarse = coarser(level, levels)
    values = torch.randn(len(coarse), 4, generator=torch.Generator().manual_seed(1))
    found = to_points(level, levels, offset)(values)
    rows, edge = rows_of(coarse), 2**levels
    for (batch, *cell), point in rows_of(level).items():
        place = np.array(cell) + 0.5 + offset[point].numpy()
        total, weight_sum = np.zeros(4), 0.0
        for around in itertools.product((-1, 0, 1), repeat=3):
            other = np.floor(place / edge).astype(int) + around
            row = rows.get((batch, *map(int, other)))
            # The hat function of a voxel's centre falls to zero one voxel away from it.
            weight = np.prod(np.maximum(0, 1 - np.abs(place / edge - (other + 0.5))))
            if row is not None and weight > 0:
                total += weight * values[row].numpy()
                weight_sum += weight
        np.testing.assert_allclose(found[point].numpy(), total / weight_sum, rtol=1e-4, atol=1e-5)


def test_mixing_has_the_gradient_of_its_dense_matrix() -> None:
    level, offset = some_level(60)
    for mixing in (to_points(level, 2, offset), to_voxels(level, 2)):
        assert torch.autograd.gradcheck(mixing, torch.randn(mixing.width, 2, dtype=torch.float64, requires_grad=True))
        dense = mixing.product(torch.eye(mixing.width))
        torch.testing.assert_close(mixing.transposed.product(torch.eye(len(mixing.starts))), dense.t())


def test_an_empty_matrix_mixes_nothing() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert Mixing(none, torch.zeros(0), none, 0)(torch.zeros(0, 3)).shape == (0, 3)


def point_network(width: float = 0.125) -> SPVCNN:
    net = build(Architecture(5, VOXEL_FEATURES, width, 1, "spvcnn"))
    assert isinstance(net, SPVCNN)
    return net


def test_the_network_has_the_papers_shape() -> None:
    net = build(Architecture(19, 4, 1.0, 2, "spvcnn"))
    linear = [transform[0] for transform in net.point_transforms]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(32, 256), (256, 128), (128, 96)]
    assert [dropout.share for dropout in net.dropouts] == [0.3, 0.3]
    parameters = {
        name: sum(p.numel() for p in build(Architecture(19, 4, 1.0, 2, name)).parameters()) for name in NETWORKS
    }
    assert 21.5e6 < parameters["minkunet"] < parameters["spvcnn"] < 22e6


def test_logits_features_and_gradients_reach_everything() -> None:
    level, offset = some_level(1500, 16)
    x = torch.cat([offset.float(), torch.randn(1500, 3, generator=torch.Generator().manual_seed(0))], dim=1)
    net = point_network()
    logits, features = net(x, level.keys)
    assert logits.shape == (1500, 5)
    assert features.shape == (1500, 12)
    functional.cross_entropy(logits, torch.arange(1500) % 5).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_sweep_is_seen_alike_alone_and_in_a_batch() -> None:
    level, offset = some_level(1500, 16)
    x = torch.cat([offset.float(), torch.randn(1500, 3, generator=torch.Generator().manual_seed(0))], dim=1)
    net = point_network().eval()
    together, _ = net(x, level.keys)
    for number in range(2):
        mine = unpack(level.keys)[1] == number
        alone, _ = net(x[mine], level.keys[mine])
        torch.testing.assert_close(alone, together[mine], rtol=1e-4, atol=1e-5)


def test_one_voxel_and_none_pass_through() -> None:
    net = point_network()
    for count in (1, 2):
        level, offset = some_level(count)
        logits, _ = net(torch.cat([offset.float(), torch.ones(count, 3)], dim=1), level.keys)
        assert torch.isfinite(logits).all()


def test_dropout_repeats_after_a_seed_and_keeps_the_mean() -> None:
    dropout = SeededDropout(0.3)
    ones = torch.ones(4000, 8)
    dropout.reseed(5)
    first, second = dropout(ones), dropout(ones)
    dropout.reseed(5)
    assert torch.equal(dropout(ones), first)
    assert not torch.equal(first, second)
    assert float((first == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(first.mean()) == pytest.approx(1.0, abs=0.03)
    assert torch.equal(dropout.eval()(ones), ones)


def test_models_of_one_network_are_not_read_as_another(tmp_path: Path) -> None:
    net = point_network()
    Model(net, ("a", "b", "c", "d", "e"), "tiny", 0.25).save(tmp_path)
    back = load_model(tmp_path)
    assert isinstance(back.network, SPVCNN)
    assert back.name.startswith("spvcnn ")
    assert all(torch.equal(a, b) for a, b in zip(back.network.parameters(), net.parameters(), strict=True))
    with pytest.raises(DataError, match="has name spvcnn, but name minkunet was asked for"):
        load_model(tmp_path, architecture=Architecture(5, VOXEL_FEATURES, 0.125, 1))
    with pytest.raises(UsageError, match=r"no network 'cylinder' \(known: minkunet, spvcnn, unet2d\)"):
        build(Architecture(5, VOXEL_FEATURES, 0.125, 1, "cylinder"))
