# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Loops down the columns of a (V, C) array for batch normalisation, some vectors of columns at a time.

Each column is summed from the first row to the last, in a register.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lidal3d.learn.backends.tiles import Emitter

_INDEX = ir.IntType(64)


def statistics_tile(vectors: int) -> Any:
    """tile(x, mean, squares, rows, width, column): means and Σ (x − mean)² of `vectors` × LANES columns."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e = Emitter(context, builder, signature, arguments)
        x, mean, squares, rows, width, column = e.arguments

        def line(row: Any) -> list[Any]:
            return e.vectors(e.row(x, row, width, column), vectors)

        def add(row: Any, sums: list[Any]) -> list[Any]:
            return [builder.fadd(s, v) for s, v in zip(sums, line(row), strict=True)]

        count = e.spread(builder.sitofp(rows, ir.FloatType()))
        means = [builder.fdiv(s, count) for s in e.loop(_INDEX(0), rows, vectors, add)]

        def add_squares(row: Any, sums: list[Any]) -> list[Any]:
            off = [builder.fsub(v, m) for v, m in zip(line(row), means, strict=True)]
            return [e.multiply_add(d, d, s) for d, s in zip(off, sums, strict=True)]

        e.put(builder.gep(mean, [column]), means)
        e.put(builder.gep(squares, [column]), e.loop(_INDEX(0), rows, vectors, add_squares))
        return context.get_dummy_value()

    @intrinsic
    def tile(typing_context, x, mean, squares, rows, width, column):  # type: ignore[no-untyped-def]
        return types.void(x, mean, squares, *(types.int64,) * 3), emit

    return tile


def slopes_tile(vectors: int) -> Any:
    """tile(x, dy, mean, total, slopes, rows, width, column): Σ dy and Σ (x − mean) dy of some columns."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e = Emitter(context, builder, signature, arguments)
        x, dy, mean, total, slopes, rows, width, column = e.arguments
        means = e.vectors(builder.gep(mean, [column]), vectors)

        def add(row: Any, sums: list[Any]) -> list[Any]:
            xs = e.vectors(e.row(x, row, width, column), vectors)
            pulls = e.vectors(e.row(dy, row, width, column), vectors)
            plain = [builder.fadd(s, g) for s, g in zip(sums[:vectors], pulls, strict=True)]
            off = [builder.fsub(v, m) for v, m in zip(xs, means, strict=True)]
            return plain + [e.multiply_add(d, g, s) for d, g, s in zip(off, pulls, sums[vectors:], strict=True)]

        found = e.loop(_INDEX(0), rows, 2 * vectors, add)
        e.put(builder.gep(total, [column]), found[:vectors])
        e.put(builder.gep(slopes, [column]), found[vectors:])
        return context.get_dummy_value()

    @intrinsic
    def tile(typing_context, x, dy, mean, total, slopes, rows, width, column):  # type: ignore[no-untyped-def]
        return types.void(x, dy, mean, total, slopes, *(types.int64,) * 3), emit

    return tile


def move_tile(vectors: int) -> Any:
    """tile(x, slope, shift, y, rows, width, column): y = x · slope + shift in some columns."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e = Emitter(context, builder, signature, arguments)
        x, slope, shift, y, rows, width, column = e.arguments
        slopes, shifts = (e.vectors(builder.gep(values, [column]), vectors) for values in (slope, shift))

        def move(row: Any, _: list[Any]) -> list[Any]:
            xs = e.vectors(e.row(x, row, width, column), vectors)
            moved = [e.multiply_add(v, a, b) for v, a, b in zip(xs, slopes, shifts, strict=True)]
            e.put(e.row(y, row, width, column), moved)
            return []

        e.loop(_INDEX(0), rows, 0, move)
        return context.get_dummy_value()

    @intrinsic
    def tile(typing_context, x, slope, shift, y, rows, width, column):  # type: ignore[no-untyped-def]
        return types.void(x, slope, shift, y, *(types.int64,) * 3), emit

    return tile


def pull_tile(vectors: int) -> Any:
    """tile(x, dy, mean, level, pull, scale, weight, dx, rows, width, column), in some columns:

    dx = (dy − level − (x − mean) · pull) · scale · weight
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e = Emitter(context, builder, signature, arguments)
        x, dy, *held, dx, rows, width, column = e.arguments
        constants = [e.vectors(builder.gep(values, [column]), vectors) for values in held]

        def pulled(row: Any, _: list[Any]) -> list[Any]:
            xs = e.vectors(e.row(x, row, width, column), vectors)
            pulls = e.vectors(e.row(dy, row, width, column), vectors)
            results = []
            for v, g, mean, level, pull, scale, weight in zip(xs, pulls, *constants, strict=True):
                off = e.subtract_product(builder.fsub(g, level), builder.fsub(v, mean), pull)
                results.append(builder.fmul(builder.fmul(off, scale), weight))
            e.put(e.row(dx, row, width, column), results)
            return []

        e.loop(_INDEX(0), rows, 0, pulled)
        return context.get_dummy_value()

    @intrinsic
    def tile(  # type: ignore[no-untyped-def]
        typing_context, x, dy, mean, level, pull, scale, weight, dx, rows, width, column
    ):
        return types.void(x, dy, mean, level, pull, scale, weight, dx, *(types.int64,) * 3), emit

    return tile
