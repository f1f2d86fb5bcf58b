# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Masks that were drawn with Label Studio's brush: a stream of bits, packed in runs as thi.ng's rle-pack does.

    32 bits   how many values
    5 bits    bits of a value - 1: 8 for Label Studio
    4 × 4     bits of a run's length - 1, in four sizes
    then      1 bit: whether it is one value again and again, 2 bits: which size, the length - 1, the value or values

The values are red, green, blue and alpha of the picture's pixels, row by row; where alpha is 0 nothing was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

VALUE_BITS = 8
CHANNELS = 4


def brush_mask(rle: Sequence[int], width: int, height: int) -> npt.NDArray[np.bool_]:
    """(height, width) where the brush has been. Raises ValueError saying how `rle` is damaged."""
    values = decode(rle, CHANNELS * width * height)
    return values.reshape(height, width, CHANNELS)[..., CHANNELS - 1] > 0


def decode(rle: Sequence[int], count: int) -> npt.NDArray[np.uint8]:
    """The `count` values of a packed stream of bytes. Raises ValueError saying how it is damaged."""
    stream = _Bits(rle)
    held = stream.take(32)
    if held != count:  # before anything of that size is made
        raise ValueError(f"holds {held} values, the picture has {count}")
    bits = stream.take(5) + 1
    if bits != VALUE_BITS:
        raise ValueError(f"has values of {bits} bits, not {VALUE_BITS}")
    sizes = [stream.take(4) + 1 for _ in range(4)]
    values = np.empty(count, np.uint8)
    place = 0
    while place < count:
        same = stream.take(1)
        end = place + 1 + stream.take(sizes[stream.take(2)])
        if end > count:
            raise ValueError(f"goes on to value {end} of {count}")
        values[place:end] = stream.take(VALUE_BITS) if same else stream.take_bytes(end - place)
        place = end
    return values


class _Bits:
    """Numbers out of a stream of bits, the highest bit first."""

    def __init__(self, rle: Sequence[int]) -> None:
        try:
            self._bytes = bytes(iter(rle))
        except (TypeError, ValueError):
            raise ValueError("is no list of bytes") from None
        self._place = 0

    def take(self, bits: int) -> int:
        held, end = self._held(bits)
        return int.from_bytes(held, "big") >> (-end % 8) & ((1 << bits) - 1)

    def take_bytes(self, count: int) -> npt.NDArray[np.uint8]:
        start = self._place % 8
        held, _ = self._held(8 * count)
        return np.packbits(np.unpackbits(np.frombuffer(held, np.uint8))[start : start + 8 * count])

    def _held(self, bits: int) -> tuple[bytes, int]:
        start, end = self._place, self._place + bits
        if end > 8 * len(self._bytes):
            raise ValueError(f"ends after {len(self._bytes)} bytes, in the middle of a run")
        self._place = end
        return self._bytes[start // 8 : -(-end // 8)], end
