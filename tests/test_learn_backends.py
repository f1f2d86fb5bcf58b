# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""All backends of the sparse convolution against dense `conv3d`, against each other, and under several threads."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional

from lidal3d.errors import MissingDependency, UsageError
from lidal3d.learn.backends import convolve, gather, using_backend
from lidal3d.learn.kernel_maps import KernelMap, identity_map, strided_map, submanifold_map
from lidal3d.learn.minkunet import Architecture
from lidal3d.learn.networks import build
from lidal3d.learn.voxels import pack, unpack

HAS_SPCONV = importlib.util.find_spec("spconv") is not None
needs_spconv = pytest.mark.skipif(not HAS_SPCONV, reason='spconv is not installed: pip install "lidal3d[spconv]"')
BACKENDS = ["torch", pytest.param("spconv", marks=needs_spconv)]
SIZE = 10


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def some_keys(count: int, size: int = SIZE) -> torch.Tensor:
    rng = np.random.default_rng(count)
    batch, x, y, z = np.unravel_index(rng.choice(2 * size**3, count, replace=False), (2, size, size, size))
    return torch.sort(pack(torch.from_numpy(np.stack([x, y, z], 1)), torch.from_numpy(batch)))[0]


def to_dense(features: torch.Tensor, keys: torch.Tensor, size: int) -> torch.Tensor:
    cells, batch = unpack(keys)
    grid = features.new_zeros(2, size, size, size, features.shape[1])
    return grid.index_put((batch, *cells.T), features).permute(0, 4, 1, 2, 3)


def at(dense: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    cells, batch = unpack(keys)
    return dense.permute(0, 2, 3, 4, 1)[(batch, *cells.T)]


def case(kind: str, count: int) -> tuple[KernelMap, int, torch.Tensor, torch.Tensor, int, int]:
    """A map, its number of weights, keys it reads and writes, and the sizes of their grids."""
    keys = some_keys(count)
    if kind == "submanifold":
        return submanifold_map(keys), 27, keys, keys, SIZE, SIZE
    if kind == "identity":
        return identity_map(keys), 1, keys, keys, SIZE, SIZE
    coarse, down = strided_map(keys)
    if kind == "strided":
        return down, 8, keys, coarse, SIZE, SIZE // 2
    return down.transposed, 8, coarse, keys, SIZE // 2, SIZE


def dense_result(kind: str, x: torch.Tensor, weight: torch.Tensor, keys: torch.Tensor, size: int) -> torch.Tensor:
    edge = round(weight.shape[0] ** (1 / 3))
    kernel = weight.view(edge, edge, edge, *weight.shape[1:])
    grid = to_dense(x, keys, size)
    if kind == "inverse":
        return functional.conv_transpose3d(grid, kernel.permute(3, 4, 0, 1, 2), stride=2)
    return functional.conv3d(
        grid, kernel.permute(4, 3, 0, 1, 2), stride=1 + (kind == "strided"), padding=int(kind == "submanifold")
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["submanifold", "strided", "inverse", "identity"])
@pytest.mark.parametrize("channels", [(5, 7), (8, 8), (6, 24), (17, 33), (16, 48)])
def test_float32_is_dense_convolution_forward_and_backward(backend: str, kind: str, channels: tuple[int, int]) -> None:
    for count in (1, 60, 900):
        kernel_map, weights, read, written, size, _ = case(kind, count)
        generator = torch.Generator().manual_seed(count)
        x = torch.randn(len(read), channels[0], generator=generator, requires_grad=True)
        weight = torch.randn(weights, *channels, generator=generator, requires_grad=True)
        dense = at(dense_result(kind, x, weight, read, size), written)
        direction = torch.randn(dense.shape, generator=generator)
        with using_backend(backend), threads(2):
            ours = convolve(x, weight, kernel_map)
            with torch.no_grad():
                assert torch.equal(convolve(x, weight, kernel_map), ours)
            gradients = torch.autograd.grad((ours * direction).sum(), [x, weight])
        torch.testing.assert_close(ours, dense, rtol=1e-4, atol=1e-4)
        expected = torch.autograd.grad((dense * direction).sum(), [x, weight])
        for found, wanted in zip(gradients, expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_voxels_give_no_rows_and_no_gradient(backend: str) -> None:
    keys = torch.zeros(0, dtype=torch.int64)
    x, weight = torch.zeros(0, 4, requires_grad=True), torch.ones(27, 4, 9, requires_grad=True)
    with using_backend(backend):
        y = convolve(x, weight, submanifold_map(keys))
        y.sum().backward()
    assert y.shape == (0, 9)
    assert weight.grad is not None
    assert not weight.grad.any()


def test_compiled_loops_give_the_same_bytes_on_any_number_of_threads() -> None:
    keys = some_keys(12000, 30)
    kernel_map = submanifold_map(keys)
    x = torch.randn(12000, 24, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(27, 24, 32, generator=torch.Generator().manual_seed(1), requires_grad=True)
    results = []
    for number in (1, 2, 3):
        with threads(number):
            y = convolve(x, weight, kernel_map)
            results.append((y, *torch.autograd.grad(y.square().sum(), [x, weight])))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_compiled_loops_agree_with_plain_torch() -> None:
    kernel_map = strided_map(some_keys(900))[1]
    x, weight = torch.randn(900, 12), torch.randn(8, 12, 20)
    grad = torch.randn(len(kernel_map.starts), 20)
    torch.testing.assert_close(convolve(x, weight, kernel_map), gather.multiply_and_sum(x, weight, kernel_map))
    leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
    found = torch.autograd.grad(convolve(*leaves, kernel_map), leaves, grad)
    for a, b in zip(found, gather.gradients(x, grad, weight, kernel_map, True), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_two_threads_may_convolve_at_once() -> None:
    kernel_map = submanifold_map(some_keys(900))
    x, weight = torch.randn(900, 16), torch.randn(27, 16, 16)
    expected = convolve(x, weight, kernel_map)
    found: list[torch.Tensor] = []
    workers = [threading.Thread(target=lambda: found.append(convolve(x, weight, kernel_map))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    assert all(torch.equal(y, expected) for y in found)


def test_mixed_precision_computes_in_the_narrow_type() -> None:
    kernel_map = submanifold_map(some_keys(400))
    x, weight = torch.randn(400, 8), torch.randn(27, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = convolve(x, weight, kernel_map)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
    exact = convolve(x, weight.detach(), kernel_map)
    torch.testing.assert_close(y.float(), exact, rtol=0.05, atol=0.3)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'magic' \(known: torch, spconv\)"), using_backend("magic"):
        pass


@pytest.mark.skipif(HAS_SPCONV, reason="spconv is installed")
def test_without_spconv_its_backend_says_what_to_install() -> None:
    with pytest.raises(MissingDependency, match=r'pip install "lidal3d\[spconv\]"'), using_backend("spconv"):
        convolve(torch.zeros(3, 4), torch.zeros(27, 4, 4), submanifold_map(some_keys(3)))


@needs_spconv
def test_networks_move_between_backends() -> None:
    keys = some_keys(1500, 16)
    x = torch.randn(1500, 3, generator=torch.Generator().manual_seed(0))
    architecture = Architecture(classes=4, channels_in=3, width=0.25, blocks=1)
    net = build(architecture)
    results = {}
    for backend in ("torch", "spconv"):
        other = build(architecture, seed=9)
        other.load_state_dict(net.state_dict())
        with using_backend(backend), threads(2):
            logits, _ = other(x, keys)
            functional.cross_entropy(logits, torch.arange(1500) % 4).backward()
        results[backend] = (logits, [p.grad for p in other.parameters()])
    torch.testing.assert_close(results["spconv"][0], results["torch"][0], rtol=1e-3, atol=1e-3)
    for found, wanted in zip(results["spconv"][1], results["torch"][1], strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-4)


@needs_spconv
def test_spconv_on_a_cpu_runs_on_one_thread_and_gives_torch_its_own_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from lidal3d.learn.backends import spconv_backend

    ops = spconv_backend.operations()
    seen: list[int] = []
    for name in ("indice_conv", "indice_conv_backward"):

        def spied(*args: object, original: object = getattr(ops, name), **options: object) -> object:
            seen.append(torch.get_num_threads())
            return original(*args, **options)  # type: ignore[operator]

        monkeypatch.setattr(ops, name, spied)
    kernel_map = submanifold_map(some_keys(900))
    weight = torch.randn(27, 8, 8, requires_grad=True)
    with threads(3), using_backend("spconv"):
        convolve(torch.randn(900, 8), weight, kernel_map).sum().backward()
        assert torch.get_num_threads() == 3
    assert seen == [1, 1]


@needs_spconv
@pytest.mark.parametrize("number", [2, 4])
def test_spconv_under_many_threads_gives_the_right_sums_every_time(number: int) -> None:
    # Without the guard this fails on two threads with errors as large as the values.
    kernel_map = strided_map(some_keys(7000, 20))[1]
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(7000, 64, generator=generator), torch.randn(8, 64, 64, generator=generator)
    down = convolve(x, weight, kernel_map)
    up = convolve(down, weight, kernel_map.transposed)
    with threads(number), using_backend("spconv"):
        for _ in range(3):
            torch.testing.assert_close(convolve(x, weight, kernel_map), down, rtol=1e-4, atol=1e-3)
            torch.testing.assert_close(convolve(down, weight, kernel_map.transposed), up, rtol=1e-4, atol=1e-2)


@needs_spconv
def test_spconv_refuses_types_it_does_not_compute() -> None:
    with using_backend("spconv"), pytest.raises(UsageError, match=r"no torch\.float64 on a cpu"):
        convolve(torch.zeros(3, 4).double(), torch.zeros(27, 4, 4).double(), submanifold_map(some_keys(3)))
