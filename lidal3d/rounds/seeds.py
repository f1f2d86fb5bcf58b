# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Seeds made from what they are for, so that nothing random depends on what ran before it."""

from __future__ import annotations

import hashlib

import numpy as np


def derived_seed(*purpose: str | int) -> int:
    """A seed below 2³² for a purpose: ("train", seed, round) is the same for every strategy, so runs are paired.

    >>> derived_seed("train", 0, 1) == derived_seed("train", 0, 1) != derived_seed("train", 1, 0)
    True
    """
    return int.from_bytes(hashlib.sha256("\0".join(map(str, purpose)).encode()).digest()[:4], "little")


def derived_rng(*purpose: str | int) -> np.random.Generator:
    """The generator of `derived_seed`."""
    return np.random.default_rng(derived_seed(*purpose))
