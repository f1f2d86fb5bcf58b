# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Explicit vector code for the two inner loops of the inter-frame measure, as LLVM IR that numba inlines.

LLVM's loop vectoriser handles neither an arg-min nor runs of a dozen elements well; eight lanes written out do, and
LLVM maps them to whatever the machine has (AVX-512, AVX2, NEON, SSE2), with the same results everywhere.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8

_I32, _I64, _F32, _F64 = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()
_VI64, _VF64, _VF32 = (ir.VectorType(element, LANES) for element in (_I64, _F64, _F32))


def _array_pointer(context: Any, builder: Any, array_type: Any, value: Any) -> Any:
    return context.make_array(array_type)(context, builder, value).data


def _splat(builder: Any, scalar: Any) -> Any:
    vector_type = ir.VectorType(scalar.type, LANES)
    seed = builder.insert_element(ir.Constant(vector_type, ir.Undefined), scalar, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(seed, ir.Constant(vector_type, ir.Undefined), zeros)


def _load_lanes(builder: Any, pointer: Any, element: Any) -> Any:
    """Eight neighbouring elements, read without any alignment."""
    return builder.load(builder.bitcast(pointer, ir.VectorType(element, LANES).as_pointer()), align=4)


@intrinsic
def nearest_in_blocks(  # type: ignore[no-untyped-def]
    typingctx, x, y, z, blocks, block_count, qx, qy, qz, index_mask
):
    """Smallest key over blocks of LANES points: bits of the squared distance, low bits replaced by the position.

    Positive float64 order like their bits, so one integer minimum finds the distance and the place at once. The
    last block of a run may reach beyond its end: the further points are real ones, and looking at them cannot make
    the nearest wrong. The arrays need LANES entries of padding at their end.

    Args:
        x, y, z: (N + padding,) float64 coordinates, metres.
        blocks: (K,) int32 or longer, first position of each block.
        block_count: K.
        qx, qy, qz: the query point.
        index_mask: int64, 2^b − 1 with 2^b > N + padding.

    Returns:
        int64 key; key & index_mask is the position. 2^63 − 1 when there is no block.
    """
    f64, i64 = types.float64, types.int64
    signature = types.int64(x, y, z, blocks, i64, f64, f64, f64, i64)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointers = [_array_pointer(context, builder, signature.args[i], args[i]) for i in range(3)]
        blocks_pointer = _array_pointer(context, builder, signature.args[3], args[3])
        query = [_splat(builder, args[i]) for i in (5, 6, 7)]
        mask = _splat(builder, args[8])
        keep = builder.xor(mask, _integers(-1))
        lanes = ir.Constant(_VI64, list(range(LANES)))
        best = cgutils.alloca_once(builder, _VI64)
        builder.store(_integers(2**63 - 1), best)
        with cgutils.for_range(builder, args[4], intp=_I64) as loop:
            start = builder.sext(builder.load(builder.gep(blocks_pointer, [loop.index])), _I64)
            squared = None
            for pointer, q in zip(pointers, query, strict=True):
                difference = builder.fsub(_load_lanes(builder, builder.gep(pointer, [start]), _F64), q)
                square = builder.fmul(difference, difference)
                squared = square if squared is None else builder.fadd(squared, square)
            places = builder.add(_splat(builder, start), lanes)
            key = builder.or_(builder.and_(builder.bitcast(squared, _VI64), keep), places)
            current = builder.load(best)
            builder.store(builder.select(builder.icmp_signed("<", key, current), key, current), best)
        reduce_type = ir.FunctionType(_I64, [_VI64])
        reduce = cgutils.get_or_insert_function(builder.module, reduce_type, f"llvm.vector.reduce.smin.v{LANES}i64")
        return builder.call(reduce, [builder.load(best)])

    return signature, codegen


def _load_probabilities(builder: Any, address: Any, element: Any, offset: Any) -> Any:
    """Eight probabilities as float64; `element` is float32, or the 16-bit integer that carries a float16."""
    pointer = builder.gep(builder.inttoptr(address, element.as_pointer()), [offset])
    lanes = _load_lanes(builder, pointer, element)
    if element is not _F32:
        lanes = builder.fpext(builder.bitcast(lanes, ir.VectorType(ir.HalfType(), LANES)), _VF32)
    return builder.fpext(lanes, _VF64)


def _vector(value: float) -> Any:
    return ir.Constant(_VF64, [value] * LANES)


def _integers(value: int) -> Any:
    return ir.Constant(_VI64, [value] * LANES)


def _log(builder: Any, x: Any) -> Any:
    """Natural logarithm of eight positive, normal float64, to 4e-11: ln x = e·ln 2 + 2·artanh((m − 1)/(m + 1))."""
    bits = builder.bitcast(x, _VI64)
    # m lies in [√½, √2), so that the series is short; e is what is left of the exponent.
    exponent = builder.ashr(builder.sub(bits, _integers(0x3FE6A09E667F3BCD)), _integers(52))
    m = builder.bitcast(builder.sub(bits, builder.shl(exponent, _integers(52))), _VF64)
    s = builder.fdiv(builder.fsub(m, _vector(1.0)), builder.fadd(m, _vector(1.0)))
    squared = builder.fmul(s, s)
    series = _vector(2.0 / 11)
    for power in (9, 7, 5, 3, 1):
        series = builder.fadd(builder.fmul(series, squared), _vector(2.0 / power))
    whole = builder.fmul(builder.sitofp(exponent, _VF64), _vector(0.6931471805599453))
    return builder.fadd(whole, builder.fmul(s, series))


def _horizontal(builder: Any, name: str, *arguments: Any) -> Any:
    function_type = ir.FunctionType(_F64, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.vector.reduce.{name}.v{LANES}f64")
    return builder.call(function, arguments)


@intrinsic
def score_point(typingctx, like, own, rows, row_count, classes, epsilon, result):  # type: ignore[no-untyped-def]
    """Divergence, entropy and consensus of one point from its own probabilities and those of its matches.

    The logarithms of all matches are one logarithm of their product, in float64: at most 48 factors of at least 1e-5
    stay far above the smallest normal number. A block of classes reads past its row into the next; those lanes are
    dropped, and every frame's rows end with LANES entries of padding.

    Args:
        like: an array of the probabilities' type: float32, or uint16 that carries float16; its contents are not used.
        own: int64, address of the point's own row of `classes` entries.
        rows: (J,) int64 or longer, addresses of the matched rows, at most 48.
        row_count: J.
        classes: C.
        epsilon: added to every probability in the divergence.
        result: (4,) float64, written: Σ_j KL(own ‖ row_j) with ε on both sides; entropy of the mean of all J + 1
            rows, nats; the mean's largest probability; its class.
    """
    i64, f64 = types.int64, types.float64
    signature = types.void(like, i64, rows, i64, i64, f64, result)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        element = _F32 if signature.args[0].dtype == types.float32 else ir.IntType(16)
        rows_pointer = _array_pointer(context, builder, signature.args[2], args[2])
        result_pointer = _array_pointer(context, builder, signature.args[6], args[6])
        own, row_count, classes = args[1], args[3], args[4]
        epsilon = _splat(builder, args[5])
        count = _splat(builder, builder.sitofp(row_count, _F64))
        share = builder.fdiv(_vector(1.0), builder.fadd(count, _vector(1.0)))
        slots = {name: cgutils.alloca_once(builder, _VF64) for name in ("product", "sum", "divergence", "entropy")}
        top, top_class = cgutils.alloca_once(builder, _F64), cgutils.alloca_once(builder, _I64)
        builder.store(_vector(0.0), slots["divergence"])
        builder.store(_vector(0.0), slots["entropy"])
        builder.store(ir.Constant(_F64, -1.0), top)
        builder.store(ir.Constant(_I64, 0), top_class)
        zero, step = ir.Constant(_I64, 0), ir.Constant(_I64, LANES)
        with cgutils.for_range_slice(builder, zero, classes, step, intp=_I64) as (block, _):
            p = _load_probabilities(builder, own, element, block)
            builder.store(_vector(1.0), slots["product"])
            builder.store(p, slots["sum"])
            with cgutils.for_range(builder, row_count, intp=_I64) as loop:
                row = builder.load(builder.gep(rows_pointer, [loop.index]))
                q = _load_probabilities(builder, row, element, block)
                builder.store(builder.fmul(builder.load(slots["product"]), builder.fadd(q, epsilon)), slots["product"])
                builder.store(builder.fadd(builder.load(slots["sum"]), q), slots["sum"])
            lane_class = builder.add(_splat(builder, block), ir.Constant(_VI64, list(range(LANES))))
            real = builder.icmp_signed("<", lane_class, _splat(builder, classes))
            own_p = builder.fadd(p, epsilon)
            own_log = builder.fmul(_log(builder, own_p), count)
            # Σ_j KL = Σ_c p_c (J ln p_c − ln Π_j q_jc) − J p_c + Σ_j q_jc. The linear terms are 0 in sum for rows that
            # sum to 1; rounded to float16 they do not quite, and without these terms D could turn negative.
            gap = builder.fmul(own_p, builder.fsub(own_log, _log(builder, builder.load(slots["product"]))))
            others = builder.fsub(builder.load(slots["sum"]), p)
            gap = builder.fadd(gap, builder.fsub(others, builder.fmul(p, count)))
            mean = builder.fmul(builder.load(slots["sum"]), share)
            positive = builder.fcmp_ordered(">", mean, _vector(1e-300))
            safe = builder.select(positive, mean, _vector(1e-300))
            entropy = builder.fmul(mean, _log(builder, safe))
            for name, value in (("divergence", gap), ("entropy", entropy)):
                kept = builder.select(real, value, _vector(0.0))
                builder.store(builder.fadd(builder.load(slots[name]), kept), slots[name])
            candidates = builder.select(real, mean, _vector(-1.0))
            largest = _horizontal(builder, "fmax", candidates)
            with builder.if_then(builder.fcmp_ordered(">", largest, builder.load(top))):
                builder.store(largest, top)
                hits = builder.bitcast(builder.fcmp_ordered("==", candidates, _splat(builder, largest)), ir.IntType(8))
                first = builder.cttz(hits, ir.Constant(ir.IntType(1), 1))
                builder.store(builder.add(block, builder.zext(first, _I64)), top_class)
        start = ir.Constant(_F64, 0.0)
        divergence = _horizontal(builder, "fadd", start, builder.load(slots["divergence"]))
        entropy = builder.fsub(start, _horizontal(builder, "fadd", start, builder.load(slots["entropy"])))
        values = (divergence, entropy, builder.load(top), builder.sitofp(builder.load(top_class), _F64))
        for place, value in enumerate(values):
            builder.store(value, builder.gep(result_pointer, [ir.Constant(_I64, place)]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def prefetch(typingctx, address):  # type: ignore[no-untyped-def]
    """Ask for the cache line that holds the byte at `address`, and the one 64 bytes on."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        byte = ir.IntType(8).as_pointer()
        function_type = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
        flags = [ir.Constant(_I32, value) for value in (0, 3, 1)]
        for offset in (0, 64):
            line = builder.inttoptr(builder.add(args[0], ir.Constant(_I64, offset)), byte)
            builder.call(function, [line, *flags])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
