# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Disjoint sets in compiled loops, and labels renumbered without gaps."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, inline="always")
def root_of(parent, a):  # type: ignore[no-untyped-def]
    """The root of element `a` of a forest of parents (N,), in which a root is its own; halves the paths it walks."""
    while parent[a] != a:
        parent[a] = parent[parent[a]]
        a = parent[a]
    return a


@njit(cache=True, nogil=True)
def close_ranks(labels):  # type: ignore[no-untyped-def]
    """Labels renumbered 0, 1, … in order of first appearance, and how many there are."""
    number = np.full(max(labels.max() + 1, 0) if len(labels) else 0, -1, np.int32)
    closed = np.empty(len(labels), np.int32)
    count = 0
    for i in range(len(labels)):
        if number[labels[i]] < 0:
            number[labels[i]] = count
            count += 1
        closed[i] = number[labels[i]]
    return closed, count
