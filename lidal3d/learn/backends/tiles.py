# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Register tiles for the compiled convolution: a few rows times a few vectors of channels, summed without leaving
the registers.

A compiler sees that three arrays might overlap, and so neither keeps sums in registers nor vectorises a loop of 8 to 32
channels. Here the inner loops are emitted as vector instructions, which any processor's own set carries out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 8  # float32 of a 256 bit register; channels are padded to a multiple of it
_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INDEX = ir.IntType(64)
# Multiply and add may fuse where the processor can.
_FUSE = ("contract",)


class _Emitter:
    """Pointers, loads and stores of one call of a tile."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.builder = builder
        self.arguments = list(arguments)
        for place, kind in enumerate(signature.args):
            if isinstance(kind, types.Array):
                array = context.make_array(kind)(context, builder, arguments[place])
                self.arguments[place] = array.data

    def row(self, base: Any, index: Any, stride: Any, column: Any) -> Any:
        place = self.builder.add(self.builder.mul(index, stride), column)
        return self.builder.gep(base, [place])

    def entry(self, base: Any, index: Any) -> Any:
        return self.builder.load(self.builder.gep(base, [index]))

    def vector_at(self, pointer: Any, number: int) -> Any:
        moved = self.builder.gep(pointer, [_INDEX(number * LANES)])
        return self.builder.bitcast(moved, _VECTOR.as_pointer())

    def vector(self, pointer: Any, number: int) -> Any:
        return self.builder.load(self.vector_at(pointer, number), align=4)

    def splat(self, pointer: Any, index: Any) -> Any:
        first = self.builder.insert_element(
            ir.Constant(_VECTOR, ir.Undefined), self.entry(pointer, index), ir.IntType(32)(0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), zeros)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.fadd(self.builder.fmul(a, b, flags=_FUSE), c, flags=_FUSE)

    def add_to(self, pointer: Any, number: int, value: Any) -> None:
        place = self.vector_at(pointer, number)
        self.builder.store(self.builder.fadd(self.builder.load(place, align=4), value), place, align=4)

    def loop(self, first: Any, last: Any, sums: int, body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
        """for index in first..last: sums = body(index, sums), all zero at first; what they are in the end."""
        builder = self.builder
        before = builder.block
        head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(_INDEX)
        held = [builder.phi(_VECTOR) for _ in range(sums)]
        builder.cbranch(builder.icmp_signed("<", index, last), inside, after)
        builder.position_at_end(inside)
        updated = body(index, held)
        following = builder.add(index, _INDEX(1))
        index.add_incoming(first, before)
        index.add_incoming(following, builder.block)
        for old, new in zip(held, updated, strict=True):
            old.add_incoming(ir.Constant(_VECTOR, [0.0] * LANES), before)
            old.add_incoming(new, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return held


def product_tile(rows: int, vectors: int) -> Any:
    """tile(x, inputs, w, outputs, y, pair, depth, weight, width, column): for `rows` pairs from `pair` on,

        y[outputs[p], column:] += x[inputs[p]] @ w[weight, :, column:]      over `vectors` × LANES columns.

    x is (·, depth), w (·, depth, width), y (·, width); the pairs' output rows differ.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e = _Emitter(context, builder, signature, arguments)
        x, inputs, w, outputs, y, pair, depth, weight, width, column = e.arguments
        pairs = [builder.add(pair, _INDEX(r)) for r in range(rows)]
        sources = [e.row(x, e.entry(inputs, p), depth, _INDEX(0)) for p in pairs]
        panel = e.row(w, builder.mul(weight, depth), width, column)

        def body(channel: Any, sums: list[Any]) -> list[Any]:
            line = builder.gep(panel, [builder.mul(channel, width)])
            loaded = [e.vector(line, v) for v in range(vectors)]
            values = [e.splat(source, channel) for source in sources]
            return [
                e.multiply_add(values[r], loaded[v], sums[r * vectors + v]) for r in range(rows) for v in range(vectors)
            ]

        sums = e.loop(_INDEX(0), depth, rows * vectors, body)
        for r, p in enumerate(pairs):
            target = e.row(y, e.entry(outputs, p), width, column)
            for v in range(vectors):
                e.add_to(target, v, sums[r * vectors + v])
        return context.get_dummy_value()

    @intrinsic
    def tile(typing_context, x, inputs, w, outputs, y, pair, depth, weight, width, column):  # type: ignore[no-untyped-def]
        numbers = (types.int64,) * 5
        return types.void(x, inputs, w, outputs, y, *numbers), emit

    return tile


def outer_tile(rows: int, vectors: int) -> Any:
    """tile(x, inputs, dy, outputs, dw, first, last, depth, weight, width, channel, column): for `rows` channels c,

        dw[weight, c, column:] += Σ_{first ≤ p < last} x[inputs[p], c] dy[outputs[p], column:]

    over `vectors` × LANES columns. x is (·, depth), dy (·, width), dw (·, depth, width).
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e = _Emitter(context, builder, signature, arguments)
        x, inputs, dy, outputs, dw, first, last, depth, weight, width, channel, column = e.arguments

        def body(pair: Any, sums: list[Any]) -> list[Any]:
            source = e.row(x, e.entry(inputs, pair), depth, channel)
            line = e.row(dy, e.entry(outputs, pair), width, column)
            loaded = [e.vector(line, v) for v in range(vectors)]
            values = [e.splat(source, _INDEX(r)) for r in range(rows)]
            return [
                e.multiply_add(values[r], loaded[v], sums[r * vectors + v]) for r in range(rows) for v in range(vectors)
            ]

        sums = e.loop(first, last, rows * vectors, body)
        top = builder.add(builder.mul(weight, depth), channel)
        for r in range(rows):
            target = e.row(dw, builder.add(top, _INDEX(r)), width, column)
            for v in range(vectors):
                e.add_to(target, v, sums[r * vectors + v])
        return context.get_dummy_value()

    @intrinsic
    def tile(  # type: ignore[no-untyped-def]
        typing_context, x, inputs, dy, outputs, dw, first, last, depth, weight, width, channel, column
    ):
        numbers = (types.int64,) * 7
        return types.void(x, inputs, dy, outputs, dw, *numbers), emit

    return tile
