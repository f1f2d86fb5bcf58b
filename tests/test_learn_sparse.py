# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Voxels, kernel maps and sparse convolution against dense `conv3d` and loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from lidal3d.errors import DataError
from lidal3d.learn.backends import convolve
from lidal3d.learn.kernel_maps import (
    NEIGHBOURS,
    KernelMap,
    searched_submanifold_map,
    strided_map,
    submanifold_map,
    walked_submanifold_map,
)
from lidal3d.learn.minkunet import Architecture
from lidal3d.learn.networks import build
from lidal3d.learn.sparse import Level, SparseTensor, SubmanifoldConv
from lidal3d.learn.voxels import CELL_LIMIT, coarser, pack, unpack, voxelise

SIZE = 10
MakeMap = Callable[[torch.Tensor], KernelMap]


def random_cells(seed: int, count: int, batches: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    flat = rng.choice(batches * SIZE**3, size=count, replace=False)
    batch, x, y, z = np.unravel_index(flat, (batches, SIZE, SIZE, SIZE))
    return torch.from_numpy(np.stack([x, y, z], 1)), torch.from_numpy(batch)


def sorted_keys(seed: int, count: int) -> torch.Tensor:
    return torch.sort(pack(*random_cells(seed, count)))[0]


def to_dense(features: torch.Tensor, keys: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    cells, batch = unpack(keys)
    grid = features.new_zeros(2, size, size, size, features.shape[1])
    grid = grid.index_put((batch, *cells.T), features)
    return grid.permute(0, 4, 1, 2, 3)


def at(dense: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    cells, batch = unpack(keys)
    return dense.permute(0, 2, 3, 4, 1)[(batch, *cells.T)]


def test_keys_come_back_and_sort_as_batch_x_y_z() -> None:
    rng = np.random.default_rng(0)
    cells = torch.from_numpy(rng.integers(-CELL_LIMIT, CELL_LIMIT + 1, size=(500, 3)))
    cells[:2] = torch.tensor([[-CELL_LIMIT] * 3, [CELL_LIMIT] * 3])
    batch = torch.from_numpy(rng.integers(0, 7, size=500))
    keys = pack(cells, batch)
    back, back_batch = unpack(keys)
    assert torch.equal(back, cells)
    assert torch.equal(back_batch, batch)
    rows = [(int(b), *map(int, c)) for b, c in zip(batch, cells, strict=True)]
    assert [rows[i] for i in torch.argsort(keys)] == sorted(rows)


def test_coarser_is_floor_division_at_every_level() -> None:
    rng = np.random.default_rng(1)
    cells = torch.from_numpy(rng.integers(-CELL_LIMIT, CELL_LIMIT + 1, size=(500, 3)))
    batch = torch.from_numpy(rng.integers(0, 500, size=500))
    keys = pack(cells, batch)
    for _ in range(4):
        keys, child = coarser(keys)
        expected_child = (cells % 2) @ torch.tensor([4, 2, 1])
        cells = torch.div(cells, 2, rounding_mode="floor")
        assert torch.equal(keys, pack(cells, batch))
        assert torch.equal(child, expected_child)


def test_voxelise_gives_every_point_its_cell() -> None:
    rng = np.random.default_rng(2)
    xyz = torch.from_numpy(rng.uniform(-2, 2, size=(400, 3)).astype(np.float32))
    batch = torch.from_numpy(rng.integers(0, 3, size=400))
    voxels = voxelise(xyz, 0.5, batch)
    expected = [(int(b), *map(int, np.floor(p.numpy() / 0.5))) for b, p in zip(batch, xyz, strict=True)]
    assert len(voxels) == len(set(expected))
    cells, owner = unpack(voxels.keys)
    found = [(int(owner[row]), *map(int, cells[row])) for row in voxels.point_voxel]
    assert found == expected


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e9])
def test_voxelise_refuses_points_that_have_no_cell(bad: float) -> None:
    xyz = torch.zeros(3, 3)
    xyz[1, 2] = bad
    with pytest.raises(DataError, match="1 of 3 points"):
        voxelise(xyz, 0.1)


def test_voxelise_of_nothing_is_nothing() -> None:
    assert len(voxelise(torch.zeros(0, 3), 0.1)) == 0


@pytest.mark.parametrize("make", [walked_submanifold_map, searched_submanifold_map])
@pytest.mark.parametrize("count", [0, 1, 40, 900])
def test_submanifold_map_holds_every_neighbour_once(count: int, make: MakeMap) -> None:
    keys = sorted_keys(count, count)
    kernel_map = make(keys)
    cells, batch = unpack(keys)
    row = {(int(b), *map(int, c)): i for i, (b, c) in enumerate(zip(batch, cells, strict=True))}
    expected = {
        (row[b, x + dx, y + dy, z + dz], output, weight)
        for (b, x, y, z), output in row.items()
        for weight, (dx, dy, dz) in enumerate(NEIGHBOURS)
        if (b, x + dx, y + dy, z + dz) in row
    }
    for found in (kernel_map, kernel_map.transposed.transposed):
        weights = np.repeat(np.arange(27), found.counts)
        triples = list(zip(found.inputs.tolist(), found.outputs.tolist(), weights, strict=True))
        assert len(triples) == len(expected)
        assert set(triples) == expected


@pytest.mark.parametrize("make", [walked_submanifold_map, searched_submanifold_map, lambda keys: strided_map(keys)[1]])
def test_orders_run_by_row_in_both_directions(make: MakeMap) -> None:
    kernel_map = make(sorted_keys(3, 300))
    for m in (kernel_map, kernel_map.transposed):
        assert sorted(m.by_output.tolist()) == list(range(len(m.inputs)))
        rows = m.outputs[m.by_output]
        sizes = torch.diff(torch.cat([m.starts, torch.tensor([len(rows)])]))
        assert torch.equal(rows, torch.repeat_interleave(torch.arange(len(m.starts)), sizes))


def check_against_dense(sparse: torch.Tensor, dense: torch.Tensor, parameters: list[torch.Tensor]) -> None:
    torch.testing.assert_close(sparse, dense)
    direction = torch.randn(sparse.shape, generator=torch.Generator().manual_seed(1), dtype=sparse.dtype)
    ours = torch.autograd.grad((sparse * direction).sum(), parameters)
    theirs = torch.autograd.grad((dense * direction).sum(), parameters)
    for a, b in itertools.zip_longest(ours, theirs):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("count", [1, 60, 900])
@pytest.mark.parametrize("make", [walked_submanifold_map, searched_submanifold_map])
def test_submanifold_convolution_is_conv3d_on_the_occupied_cells(count: int, make: MakeMap) -> None:
    generator = torch.Generator().manual_seed(count)
    keys = sorted_keys(count, count)
    x = torch.randn(count, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(27, 5, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    kernel = weight.view(3, 3, 3, 5, 7).permute(4, 3, 0, 1, 2)
    dense = at(functional.conv3d(to_dense(x, keys), kernel, padding=1), keys)
    check_against_dense(convolve(x, weight, make(keys)), dense, [x, weight])


@pytest.mark.parametrize("count", [1, 60, 900])
def test_strided_convolution_is_conv3d_with_stride_two(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    keys = sorted_keys(count, count)
    coarse, down = strided_map(keys)
    x = torch.randn(count, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, 5, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    kernel = weight.view(2, 2, 2, 5, 7).permute(4, 3, 0, 1, 2)
    dense = at(functional.conv3d(to_dense(x, keys), kernel, stride=2), coarse)
    check_against_dense(convolve(x, weight, down), dense, [x, weight])


@pytest.mark.parametrize("count", [1, 60, 900])
def test_inverse_convolution_is_conv_transpose3d_on_the_fine_cells(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    keys = sorted_keys(count, count)
    coarse, down = strided_map(keys)
    x = torch.randn(len(coarse), 5, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, 5, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    kernel = weight.view(2, 2, 2, 5, 7).permute(3, 4, 0, 1, 2)
    dense = at(functional.conv_transpose3d(to_dense(x, coarse, SIZE // 2), kernel, stride=2), keys)
    check_against_dense(convolve(x, weight, down.transposed), dense, [x, weight])


def test_convolution_without_gradients_is_the_same() -> None:
    keys = sorted_keys(7, 500)
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(27, 4, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)
    tracked = convolve(x, weight, submanifold_map(keys))
    with torch.inference_mode():
        assert torch.equal(convolve(x, weight, submanifold_map(keys)), tracked)
    assert torch.equal(convolve(x, weight, submanifold_map(keys)), tracked)


def test_normalisation_folded_into_weights_equals_the_layer() -> None:
    torch.manual_seed(0)
    layer = SubmanifoldConv(4, 6)
    level = Level(sorted_keys(8, 400))
    x = SparseTensor(torch.randn(400, 4), level)
    for _ in range(3):
        layer(x)
    layer.eval()
    plain = layer.norm(convolve(x.features, layer.weight, level.neighbours))
    torch.testing.assert_close(layer(x).features, plain)


def test_a_network_sees_a_sweep_alike_alone_and_in_a_batch() -> None:
    cells, batch = random_cells(9, 1200)
    keys = torch.sort(pack(cells, batch))[0]
    x = torch.randn(1200, 3, generator=torch.Generator().manual_seed(0))
    net = build(Architecture(classes=5, channels_in=3, width=0.125, blocks=1)).eval()
    together, features = net(x, keys)
    assert together.shape == (1200, 5)
    assert features.shape == (1200, 12)
    for number in range(2):
        mine = unpack(keys)[1] == number
        alone, _ = net(x[mine], keys[mine])
        torch.testing.assert_close(alone, together[mine], rtol=1e-4, atol=1e-5)


def test_a_network_of_one_seed_is_one_network() -> None:
    architecture = Architecture(classes=3, channels_in=2, width=0.125, blocks=1)
    one, same, other = (build(architecture, seed) for seed in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.stem[0].weight, other.stem[0].weight)


def test_the_default_network_has_the_published_size() -> None:
    net = build(Architecture(classes=19, channels_in=4, width=0.25, blocks=1))
    assert net.architecture.channels == (8, 8, 16, 32, 64, 64, 32, 24, 24)
    assert 0.70e6 < sum(p.numel() for p in net.parameters()) < 0.76e6


def test_every_parameter_of_the_network_gets_a_gradient() -> None:
    keys = sorted_keys(11, 1500)
    net = build(Architecture(classes=4, channels_in=3, width=0.125, blocks=1))
    logits, _ = net(torch.randn(1500, 3, generator=torch.Generator().manual_seed(0)), keys)
    functional.cross_entropy(logits, torch.arange(1500) % 4).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
