# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution on a CPU in compiled loops: nothing is gathered into memory, no product leaves the registers.

Rows are cut into blocks that stay in the cache; blocks (and, for weights' gradients, weights) are shared out among
threads. Every sum runs in one order whatever the number of threads: the bytes never depend on it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit
from torch import Tensor
from torch.nn import functional

from lidal3d.learn.backends.tiles import LANES, outer_tile, product_tile
from lidal3d.learn.kernel_maps import KernelMap
from lidal3d.learn.threads import share_out

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
BLOCK_ROWS = 512
CHUNK_PAIRS = 64

_product_4x3, _product_4x2, _product_4x1 = (product_tile(4, v) for v in (3, 2, 1))
_product_1x3, _product_1x2, _product_1x1 = (product_tile(1, v) for v in (3, 2, 1))
_outer_4x3, _outer_4x2, _outer_4x1 = (outer_tile(4, v) for v in (3, 2, 1))
_outer_1x3, _outer_1x2, _outer_1x1 = (outer_tile(1, v) for v in (3, 2, 1))


def multiply_and_sum(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """y_o = Σ_k Σ_{(i, o) ∈ map_k} x_i W_k, (V_out, C_out) float32 on a CPU."""
    width = weight.shape[2]
    w = _padded(weight.detach())
    y = features.new_empty(kernel_map.rows, w.shape[2])
    blocks = block_begins(kernel_map)
    arrays = (_array(features), kernel_map.inputs.numpy(), w.numpy(), kernel_map.outputs.numpy(), y.numpy(), blocks)
    share_out(len(blocks) - 1, lambda first, last: sum_blocks(*arrays, first, last))
    return y if w.shape[2] == width else y[:, :width].contiguous()


def gradients(
    features: Tensor, grad: Tensor, weight: Tensor, kernel_map: KernelMap, features_wanted: bool
) -> tuple[Tensor | None, Tensor]:
    """dx_i = Σ_k Σ_{(i, o)} dy_o W_kᵀ or None, and dW_k = Σ_{(i, o) ∈ map_k} x_iᵀ dy_o."""
    width = weight.shape[2]
    dy = _padded(grad)
    dw = weight.new_zeros(weight.shape[0], weight.shape[1], dy.shape[1])
    begins = np.concatenate([[0], np.cumsum(kernel_map.counts)])
    arrays = (_array(features), kernel_map.inputs.numpy(), dy.numpy(), kernel_map.outputs.numpy(), dw.numpy(), begins)
    share_out(len(begins) - 1, lambda first, last: sum_weights(*arrays, first, last))
    grad_weight = dw if dw.shape[2] == width else dw[:, :, :width].contiguous()
    if not features_wanted:
        return None, grad_weight
    return multiply_and_sum(grad, weight.detach().transpose(1, 2), kernel_map.transposed), grad_weight


def block_begins(kernel_map: KernelMap) -> Int64:
    """(blocks + 1, K) the first pair of every weight whose output row lies in a block or after it; kept on the map."""
    held: Int64 | None = getattr(kernel_map, "_block_begins", None)
    if held is None:
        begins = np.concatenate([[0], np.cumsum(kernel_map.counts)])
        held = find_blocks(kernel_map.outputs.numpy(), begins, kernel_map.rows, BLOCK_ROWS)
        kernel_map._block_begins = held  # type: ignore[attr-defined]
    return held


def _padded(values: Tensor) -> Tensor:
    missing = -values.shape[-1] % LANES
    return functional.pad(values, (0, missing)) if missing else values.contiguous()


def _array(values: Tensor) -> Float32:
    return np.asarray(values.detach().contiguous().numpy())


@njit(cache=True, nogil=True)
def find_blocks(outputs: Int64, begins: Int64, rows: int, block_rows: int) -> Int64:
    """`block_begins` of pairs whose output rows ascend within every weight."""
    blocks = (rows + block_rows - 1) // block_rows
    found = np.empty((blocks + 1, len(begins) - 1), dtype=np.int64)
    for weight in range(len(begins) - 1):
        pair = begins[weight]
        for block in range(blocks + 1):
            while pair < begins[weight + 1] and outputs[pair] < block * block_rows:
                pair += 1
            found[block, weight] = pair
    return found


@njit(cache=True, nogil=True)
def sum_blocks(
    x: Float32, inputs: Int64, w: Float32, outputs: Int64, y: Float32, blocks: Int64, first: int, last: int
) -> None:
    """Write to y (V_out, C_out) the sums over pairs of products, in the blocks of rows `first` to `last`."""
    depth, width = w.shape[1], w.shape[2]
    for block in range(first, last):
        # Here, not when y is made: the block is in the cache when the first sums are added.
        y[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS] = 0
        for weight in range(w.shape[0]):
            begin, end = blocks[block, weight], blocks[block + 1, weight]
            if begin == end:
                continue
            column = 0
            while column < width:
                vectors = _next_panel(width - column)
                pair = begin
                if vectors == 3:
                    while pair + 4 <= end:
                        _product_4x3(x, inputs, w, outputs, y, pair, depth, weight, width, column)
                        pair += 4
                    while pair < end:
                        _product_1x3(x, inputs, w, outputs, y, pair, depth, weight, width, column)
                        pair += 1
                elif vectors == 2:
                    while pair + 4 <= end:
                        _product_4x2(x, inputs, w, outputs, y, pair, depth, weight, width, column)
                        pair += 4
                    while pair < end:
                        _product_1x2(x, inputs, w, outputs, y, pair, depth, weight, width, column)
                        pair += 1
                else:
                    while pair + 4 <= end:
                        _product_4x1(x, inputs, w, outputs, y, pair, depth, weight, width, column)
                        pair += 4
                    while pair < end:
                        _product_1x1(x, inputs, w, outputs, y, pair, depth, weight, width, column)
                        pair += 1
                column += vectors * 8


@njit(cache=True, nogil=True, inline="always")
def _next_panel(columns: int) -> int:
    """Vectors of the next panel: three, but two and two for four that are left."""
    vectors = columns // 8
    return 2 if vectors == 4 else min(vectors, 3)


@njit(cache=True, nogil=True)
def sum_weights(
    x: Float32, inputs: Int64, dy: Float32, outputs: Int64, dw: Float32, begins: Int64, first: int, last: int
) -> None:
    """Add to dw (K, C_in, C_out) the outer products of all pairs of the weights `first` to `last`."""
    depth, width = dw.shape[1], dw.shape[2]
    for weight in range(first, last):
        for begin in range(begins[weight], begins[weight + 1], CHUNK_PAIRS):
            end = min(begin + CHUNK_PAIRS, begins[weight + 1])
            column = 0
            while column < width:
                vectors = _next_panel(width - column)
                c = 0
                if vectors == 3:
                    while c + 4 <= depth:
                        _outer_4x3(x, inputs, dy, outputs, dw, begin, end, depth, weight, width, c, column)
                        c += 4
                    while c < depth:
                        _outer_1x3(x, inputs, dy, outputs, dw, begin, end, depth, weight, width, c, column)
                        c += 1
                elif vectors == 2:
                    while c + 4 <= depth:
                        _outer_4x2(x, inputs, dy, outputs, dw, begin, end, depth, weight, width, c, column)
                        c += 4
                    while c < depth:
                        _outer_1x2(x, inputs, dy, outputs, dw, begin, end, depth, weight, width, c, column)
                        c += 1
                else:
                    while c + 4 <= depth:
                        _outer_4x1(x, inputs, dy, outputs, dw, begin, end, depth, weight, width, c, column)
                        c += 4
                    while c < depth:
                        _outer_1x1(x, inputs, dy, outputs, dw, begin, end, depth, weight, width, c, column)
                        c += 1
                column += vectors * 8
